"""Workers of other machines: missions go to a Dask cluster instead of this machine's cores.

A worker needs this version of nephoscope and sees the folders of scenario, scenes and campaign
under the same names. What a mission gives does not depend on where it is flown: a run folder of
a cluster is that of the same mission flown here.
"""

from __future__ import annotations

import logging
import socket
from collections.abc import Iterator
from concurrent.futures import CancelledError, Executor
from contextlib import contextmanager
from typing import TYPE_CHECKING

from simulator.telemetry.manifest import project_version

if TYPE_CHECKING:
    from distributed import Client

ANSWER_S = 10.0
"""A scheduler that does not answer within this is not there."""


class ClusterError(ValueError):
    """There is no cluster to fly on, or it lacks what a mission needs."""


@contextmanager
def cluster(address: str) -> Iterator[Executor]:
    """Executor of the cluster whose scheduler listens at `address`.

    Parameters
    ----------
    address : str
        Such as ``tcp://192.168.0.7:8786``, as ``dask scheduler`` says when it starts.

    Raises
    ------
    ClusterError
        The extra ``cluster`` is not installed, nobody answers, there is no worker, or a worker has
        another version of nephoscope or none.
    """
    try:
        from distributed import Client, KilledWorker
        from distributed.comm import get_address_host_port
    except ImportError:
        raise ClusterError(
            "--cluster: the extra `cluster` is not installed; give pip install '.[cluster]'"
        ) from None
    logging.getLogger("distributed").setLevel(logging.CRITICAL)  # what matters is said below
    try:
        # A client that finds nobody takes another 20 s to give up, and says so with a traceback.
        socket.create_connection(get_address_host_port(address, strict=True), ANSWER_S).close()
        client = Client(address, timeout=ANSWER_S, set_as_default=False)
    except (OSError, ValueError) as error:
        raise ClusterError(
            f"--cluster: no Dask scheduler answers at {address!r} ({error}); start one with `dask "
            "scheduler` and give the address that it tells"
        ) from None
    with client:
        _check_workers(address, client)
        try:
            yield client.get_executor()
        except KilledWorker as error:
            raise ClusterError(
                f"--cluster: worker after worker ended while it flew a mission, most likely for "
                f"want of memory (the last one at {error.last_worker.address}). What was flown is "
                "kept: give workers more memory and the same command again"
            ) from None
        except CancelledError:
            raise ClusterError(
                f"--cluster: the scheduler at {address!r} is gone. What was flown is kept: start "
                "it and its workers again and give the same command"
            ) from None


def _version() -> str:
    """Version of nephoscope that a worker flies with."""
    return project_version()


def _check_workers(address: str, client: Client) -> None:
    """Refuse workers that would fly something else, or two missions in one process."""
    threads_of = client.nthreads()
    if not threads_of:
        raise ClusterError(
            f"--cluster: the scheduler at {address!r} has no worker; start some with `dask worker "
            f"--nthreads 1 {address}`"
        )
    for worker, threads in threads_of.items():
        if threads != 1:
            raise ClusterError(
                f"--cluster: the worker at {worker} has {threads} threads, and a mission wants a "
                "process to itself; start workers with --nthreads 1, as many as there are cores"
            )
    for worker, version in client.run(_version, on_error="return").items():
        if version != project_version():
            raise ClusterError(
                f"--cluster: the worker at {worker} has not version {project_version()} of "
                f"nephoscope as this machine has ({version}); install the same one there"
            )
