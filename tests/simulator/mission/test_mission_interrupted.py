"""Ctrl-C and kill -9 in mid-run leave a readable folder that says it is incomplete."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from simulator.telemetry.run_folder import RunFolder

PATIENCE_S = 120.0


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
