"""Runs started from the dashboard: they finish, fail in words, and can be cancelled."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from dashboard import jobs
from dashboard.runs_folder import find_folders

WAIT_S = 180.0


def wait_until(done: Callable[[], bool]) -> None:
    end = time.monotonic() + WAIT_S
    while not done():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.2)


def start(root: Path, text: str, before: str, after: str) -> jobs.Job:
    assert before in text
    text = text.replace(before, after)
    return jobs.start(
        root,
        "a test",
        ["run", "{scenario}", "--out", "{out}", "--quiet"],
        scenario_text=text,
        scenario_name="short",
    )


def test_refused_scenario_fails_with_the_reason_in_its_log(
    tmp_path: Path, short_scenario: str
) -> None:
    root = tmp_path / "runs"
    job = start(root, short_scenario, "model: threshold", "model: no-such-model")
    wait_until(lambda: not jobs.is_alive(job))
    assert jobs.outcome(job, find_folders(root)) == "failed"
    assert "no-such-model" in jobs.log_tail(root, job)


def test_cancelled_run_stays_readable(tmp_path: Path, short_scenario: str) -> None:
    root = tmp_path / "runs"
    job = start(root, short_scenario, "duration_h: 8", "duration_h: 3000")
    wait_until(lambda: bool(jobs.runs_of(job, find_folders(root))))
    jobs.cancel(job)
    wait_until(lambda: not jobs.is_alive(job))
    assert jobs.outcome(job, find_folders(root)) == "interrupted"
    assert find_folders(root).runs[0].state == "interrupted"


def test_jobs_are_found_again_and_strangers_are_not(tmp_path: Path, short_scenario: str) -> None:
    root = tmp_path / "runs"
    job = start(root, short_scenario, "model: threshold", "model: no-such-model")
    (root / jobs.JOBS_FOLDER / "zzz").mkdir()
    (root / jobs.JOBS_FOLDER / "zzz" / "job.json").write_text("{")
    assert jobs.list_jobs(root) == [job]
    assert find_folders(root).runs == ()
    wait_until(lambda: not jobs.is_alive(job))


def test_nothing_is_flown_into_a_run(runs: Path, short_scenario: str) -> None:
    (run,) = runs.iterdir()
    before = sorted(run.rglob("*"))
    with pytest.raises(jobs.JobError, match="Open the dashboard on the folder above, ") as refused:
        start(run, short_scenario, "duration_h: 8", "duration_h: 1")
    assert str(runs) in str(refused.value)
    assert sorted(run.rglob("*")) == before


@pytest.mark.parametrize("later_s", [-86_400.0, 86_400.0])
def test_run_of_another_process_of_the_same_number_is_not_the_jobs(
    runs: Path, later_s: float
) -> None:
    found = find_folders(runs)
    manifest = found.runs[0].manifest
    assert manifest is not None
    its_own = jobs.Job(
        job_id="own",
        title="a test",
        arguments=("run",),
        out="",
        expected_runs=1,
        pid=manifest.pid,
        process_started_s=manifest.process_started_s,
        started=manifest.created,
    )
    assert jobs.runs_of(its_own, found) == list(found.runs)
    reused = dataclasses.replace(its_own, process_started_s=manifest.process_started_s + later_s)
    assert jobs.runs_of(reused, found) == []
    assert jobs.progress(reused, found) == 0.0
