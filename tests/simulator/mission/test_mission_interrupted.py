"""Ctrl-C and kill -9 in mid-run leave a readable folder that says it is incomplete."""

from __future__ import annotations

import dataclasses
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from simulator.mission import run_mission
from simulator.telemetry.audit import audit
from simulator.telemetry.events import Event
from simulator.telemetry.run_folder import RunFolder, RunWriter

PATIENCE_S = 120.0


@pytest.mark.usefixtures("ctrl_c_heeded")
@pytest.mark.parametrize(
    ("number", "state", "code"),
    [(signal.SIGINT, "interrupted", 130), (signal.SIGKILL, "incomplete", -signal.SIGKILL)],
)
def test_a_stopped_run_is_readable_and_says_so(tmp_path, small_scenario_file, number, state, code):
    command = [sys.executable, "-m", "simulator.cli", "run", str(small_scenario_file)]
    process = subprocess.Popen(
        [*command, "--out", str(tmp_path / "runs"), "--quiet"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "NO_COLOR": "1"},
        text=True,
    )
    folder = wait_for_progress(tmp_path / "runs", process)
    process.send_signal(number)
    _, errors = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == code, errors
    run = RunFolder.open(folder)
    assert run.manifest.state == state
    assert not run.complete
    assert run.events("power").num_rows > 0
    assert "Traceback" not in errors


def wait_for_progress(out: Path, process: subprocess.Popen[str]) -> Path:
    """Wait until the mission is under way and the first events are on disk."""
    until = time.monotonic() + PATIENCE_S
    while time.monotonic() < until and process.poll() is None:
        for folder in out.glob("*"):
            if (folder / "manifest.json").is_file():
                run = RunFolder.open(folder)
                if run.events("power").num_rows:
                    return folder
        time.sleep(0.05)
    raise AssertionError(f"no progress; exit code {process.poll()}")


def moments(run: RunFolder) -> dict[str, float]:
    """Moments at which something has begun that is written down only at its end."""
    capture = run.events("capture").to_pylist()[4]
    inference = next(
        row for row in run.events("inference").to_pylist() if row["capture"] == capture["capture"]
    )
    contact = run.events("pass").to_pylist()[1]
    return {
        "exposing": capture["t_s"],
        "inferring": (inference["start_s"] + inference["t_s"]) / 2,
        "in contact": (contact["aos_s"] + contact["los_s"]) / 2,
    }


def cut_short(run: RunFolder, t_s: float, place: Path) -> RunFolder:
    """A copy of a run as it would stand had it been stopped at `t_s`."""
    shutil.copytree(run.path, place)
    (place / "metrics.json").unlink()
    for path in [*place.glob("events/*.parquet"), *place.glob("host_events/*.parquet")]:
        rows = pq.read_table(path)
        path.unlink()
        path.with_suffix("").mkdir()
        written = rows.filter(pc.less_equal(rows["t_s"], t_s))
        pq.write_table(written, path.with_suffix("") / "part-00001.parquet")
    manifest = dataclasses.replace(
        run.manifest, status="interrupted", reason="Cut.", progress_s=t_s, files={}
    )
    (place / "manifest.json").write_text(manifest.to_json())
    return RunFolder.open(place)


@pytest.mark.parametrize("moment", ["exposing", "inferring", "in contact"])
def test_a_stopped_run_is_incomplete_to_the_auditor_and_not_wrong(fly, tmp_path, moment):
    whole = fly()
    report = audit(cut_short(whole, moments(whole)[moment], tmp_path / "cut"))
    assert report.findings == ()
    assert not report.passed
    assert [check.name for check in report.checks if check.unchecked] == ["integrity", "metrics"]
    assert "audit incomplete: the run is interrupted at" in report.text()


class StoppedWriter(RunWriter):
    """Is interrupted, as by Ctrl-C, when a decision is written and what follows it is not."""

    following = ""
    decided = False

    def write(self, event: Event) -> None:
        if self.decided and event.kind_of_event == self.following:
            raise KeyboardInterrupt
        super().write(event)
        self.decided = event.kind_of_event == "decision"


@pytest.mark.parametrize(("block_limit", "following"), [(0.5, "product"), (0.02, "storage")])
def test_a_run_stopped_between_a_decision_and_what_follows_is_not_wrong(
    small_scenario, tmp_path, monkeypatch, block_limit, following
):
    monkeypatch.setattr(StoppedWriter, "following", following)
    monkeypatch.setattr("simulator.mission.RunWriter", StoppedWriter)
    with pytest.raises(KeyboardInterrupt):
        run_mission(
            small_scenario(duration_h=6, autonomy__block_cloud_fraction=block_limit), tmp_path
        )
    (folder,) = tmp_path.iterdir()
    run = RunFolder.open(folder)
    assert run.manifest.state == "interrupted"
    assert run.events("decision")["t_s"].to_pylist()[-1] == run.manifest.progress_s
    assert audit(run).findings == ()


def test_a_run_stopped_before_anything_happened_is_not_wrong(fly, tmp_path):
    assert audit(cut_short(fly(), 0.0, tmp_path / "cut")).findings == ()
