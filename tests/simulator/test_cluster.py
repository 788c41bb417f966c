"""A comparison on a Dask cluster gives what it gives here, and says what a cluster lacks."""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import simulator.cluster
from simulator.campaign import RunRecord, compare, read_campaign
from simulator.cli import app
from simulator.cluster import ClusterError, cluster
from simulator.comparison import CampaignError

REASON = "needs the extra `cluster`"


@pytest.fixture(scope="module")
def workers() -> Iterator[Any]:
    """A scheduler with one worker process of one thread, on this machine."""
    distributed = pytest.importorskip("distributed", reason=REASON)
    with distributed.LocalCluster(
        n_workers=1, threads_per_worker=1, dashboard_address=None, silence_logs=50
    ) as local:
        yield local


def told(*words: object) -> str:
    """What a refused command says, on one line."""
    result = CliRunner().invoke(app, ["compare", *map(str, words)])
    assert result.exit_code == 2, result.output
    return " ".join(result.output.split())


def test_a_cluster_flies_what_this_machine_flies(
    workers: Any, mission: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(mission)  # workers stand elsewhere: paths must be whole
    words = ["compare", "scenario.yaml", "--policies", "prune", "--seeds", "1", "--json"]
    there = ["--out", "../there", "--cluster", workers.scheduler_address]
    for where in (there, ["--out", "../here"]):
        result = CliRunner().invoke(app, [*words, *where])
        assert result.exit_code == 0, result.output
    (flown_there,), (flown_here,) = (read_campaign(tmp_path / n).runs for n in ("there", "here"))
    assert flown_there.folder == flown_here.folder
    assert event_sha256(tmp_path / "there" / flown_there.folder) == event_sha256(
        tmp_path / "here" / flown_here.folder
    )
    assert (flown_here.metrics["captures"] or 0) > 0


def event_sha256(run: Path) -> dict[str, str]:
    """Hash of each event file of a run."""
    files = sorted((run / "events").iterdir())
    return {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


def test_a_mission_flown_where_nobody_sees_it_is_told(
    mission: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fly_elsewhere(_scenario: str, variant: Any, seed: int, *_: object) -> RunRecord:
        return RunRecord(variant, seed, "on-another-disk", {})

    monkeypatch.setattr(simulator.campaign, "run_variant", fly_elsewhere)
    with (
        ThreadPoolExecutor(1) as pool,
        pytest.raises(CampaignError, match=r"on-another-disk: .* shared disk"),
    ):
        compare(str(mission / "scenario.yaml"), tmp_path / "out", seeds=1, executor=pool)


def test_workers_must_have_our_version(workers: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(simulator.cluster, "project_version", lambda: "99.0")
    with (
        pytest.raises(ClusterError, match=r"has not version 99\.0"),
        cluster(workers.scheduler_address),
    ):
        pass


@pytest.mark.parametrize(
    ("count", "threads", "problem"), [(0, 1, "has no worker"), (1, 2, "has 2 threads")]
)
def test_a_cluster_that_cannot_fly_is_refused_before_anything_is_flown(
    mission: Path, tmp_path: Path, count: int, threads: int, problem: str
) -> None:
    distributed = pytest.importorskip("distributed", reason=REASON)
    out = tmp_path / "out"
    with distributed.LocalCluster(
        n_workers=count,
        threads_per_worker=threads,
        processes=False,
        protocol="tcp://",
        dashboard_address=None,
    ) as local:
        words = (mission / "scenario.yaml", "--out", out, "--cluster", local.scheduler_address)
        message = told(*words)
    assert problem in message
    assert "--nthreads 1" in message
    assert not out.exists()


def test_a_worker_that_dies_over_a_mission_is_told(workers: Any) -> None:
    with (
        pytest.raises(ClusterError, match="want of memory"),
        cluster(workers.scheduler_address) as executor,
    ):
        executor.submit(os._exit, 9).result()


@pytest.mark.parametrize("address", ["nonsense", "127.0.0.1:8786", "tcp://127.0.0.1:1"])
def test_a_scheduler_that_is_not_there_is_told(mission: Path, address: str) -> None:
    pytest.importorskip("distributed", reason=REASON)
    message = told(mission / "scenario.yaml", "--cluster", address)
    assert "no Dask scheduler answers" in message
    assert "dask scheduler" in message


def test_without_the_extra_it_is_named(mission: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    assert "pip install '.[cluster]'" in told(
        mission / "scenario.yaml", "--cluster", "tcp://127.0.0.1:8786"
    )
