"""Many missions on all cores: a worker is handed the next one when it is free.

A worker that is interrupted goes on with whatever already lies in its pool's queue. So nothing
waits there: after Ctrl-C, or when a mission fails, no further mission begins. A worker whose
program was killed would wait for its next mission for ever: it watches the program and ends with
it.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Hashable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Executor, Future, ProcessPoolExecutor, wait
from contextlib import contextmanager
from itertools import islice
from multiprocessing import connection, get_context, parent_process
from typing import Any, TypeVar

K = TypeVar("K", bound=Hashable)
R = TypeVar("R")

ORPHANED_EXIT = 1
"""Exit code of a worker whose program is gone; nobody is left to read it."""


def call_each(
    function: Callable[..., R],
    calls: Mapping[K, tuple[Any, ...]],
    take: Callable[[K, R], None],
    *,
    workers: int = 0,
    executor: Executor | None = None,
) -> None:
    """Call a function with each set of arguments in worker processes; stop at the first failure.

    Parameters
    ----------
    function : callable
        A function of a module, because workers import it.
    calls : mapping of key to tuple
        Arguments by a key of the caller's.
    take : callable
        ``take(key, result)``, called here, as results come.
    workers : int
        Processes; 0 for one per core.
    executor : concurrent.futures.Executor, optional
        Takes the place of these processes. How many workers it has is its own affair, so it is
        handed all calls at once.
    """
    count = len(calls) if executor else workers or os.cpu_count() or 1
    waiting = iter(calls)
    under_way: dict[Future[R], K] = {}
    with _processes(count) if executor is None else _of_caller(executor, under_way) as pool:
        for key in islice(waiting, count):
            under_way[pool.submit(function, *calls[key])] = key
        while under_way:
            ended = wait(under_way, return_when=FIRST_COMPLETED).done
            for future in sorted(ended, key=_failed):  # what was done counts before a failure does
                take(under_way.pop(future), future.result())
            for key in islice(waiting, len(ended)):
                under_way[pool.submit(function, *calls[key])] = key


def _failed(future: Future[Any]) -> bool:
    return future.exception() is not None


@contextmanager
def _processes(count: int) -> Iterator[Executor]:
    """Worker processes; whoever is interrupted or fails does not wait for them."""
    pool = ProcessPoolExecutor(
        count, mp_context=get_context("spawn"), initializer=_end_with_the_program
    )
    try:
        yield pool
    except BaseException:
        pool.shutdown(wait=False, cancel_futures=True)
        raise
    pool.shutdown()


def _end_with_the_program() -> None:
    """Have this worker end, whatever it is doing, when the program that started it has."""
    program = parent_process()
    if program is None:
        return

    def watch() -> None:
        connection.wait([program.sentinel])
        os._exit(ORPHANED_EXIT)  # sys.exit would end this thread alone

    threading.Thread(target=watch, name="watch the program", daemon=True).start()


@contextmanager
def _of_caller(executor: Executor, under_way: Mapping[Future[Any], Any]) -> Iterator[Executor]:
    """The caller's own workers, which are left as they are but for calls not begun."""
    try:
        yield executor
    finally:
        for future in under_way:
            future.cancel()
