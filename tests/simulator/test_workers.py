"""Worker processes are handed no more than they can begin."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from operator import truediv
from pathlib import Path

import psutil
import pytest

from simulator.workers import call_each

PATIENCE_S = 60.0
ORPHAN_S = 10.0
"""How long a worker may outlive its program: far less than its call takes."""

MANY_CALLS = """
import sys
from pathlib import Path
from test_workers import begin_and_wait
from simulator.workers import call_each
if __name__ == "__main__":
    calls = {n: (Path(sys.argv[1]), n) for n in range(9)}
    call_each(begin_and_wait, calls, lambda key, result: None, workers=2)
"""


def begin_and_wait(folder: Path, number: int) -> int:
    """Leave a file that says it has begun; the first two wait until they are interrupted."""
    (folder / str(number)).touch()
    if number < 2:
        time.sleep(PATIENCE_S)
    return number


def fail_at_three(number: int) -> int:
    """Fail at one of the numbers."""
    if number == 3:
        raise ValueError("three")
    return number


def begun(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def start_many_calls(folder: Path, script: Path) -> subprocess.Popen[bytes]:
    """A program of its own session whose two workers have begun and wait."""
    folder.mkdir()
    script.write_text(MANY_CALLS)
    paths = os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")])
    process = subprocess.Popen(
        [sys.executable, str(script), str(folder)],
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        env={**os.environ, "PYTHONPATH": paths},
    )
    deadline = time.monotonic() + PATIENCE_S
    while len(begun(folder)) < 2:
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return process


def at_work(processes: list[psutil.Process]) -> list[psutil.Process]:
    """Those that run; one that nobody has reaped yet does not."""
    running = []
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            if process.status() != psutil.STATUS_ZOMBIE:
                running.append(process)
    return running


@pytest.mark.usefixtures("ctrl_c_heeded")
def test_nothing_begins_after_an_interrupt(tmp_path: Path) -> None:
    folder = tmp_path / "begun"
    process = start_many_calls(folder, tmp_path / "many_calls.py")
    time.sleep(0.5)  # whatever else a pool would queue is in its queue by now
    os.killpg(process.pid, signal.SIGINT)
    process.wait(PATIENCE_S / 2)
    assert begun(folder) == ["0", "1"]


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_workers_of_a_killed_program_end_with_it(tmp_path: Path, how: signal.Signals) -> None:
    process = start_many_calls(tmp_path / "begun", tmp_path / "many_calls.py")
    workers = psutil.Process(process.pid).children(recursive=True)
    process.send_signal(how)
    process.wait(ORPHAN_S)
    try:
        assert len(workers) >= 2
        deadline = time.monotonic() + ORPHAN_S
        while at_work(workers) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert at_work(workers) == []
    finally:
        for left_over in at_work(workers):
            left_over.kill()


def test_every_call_is_made_once_and_results_keep_their_keys() -> None:
    taken: dict[str, float] = {}
    calls = {f"{n}": (float(n), 2.0) for n in range(7)}
    call_each(pow, calls, taken.__setitem__, workers=2)
    assert taken == {f"{n}": float(n**2) for n in range(7)}


def test_after_a_failure_nothing_more_is_handed_out() -> None:
    taken: dict[int, float] = {}
    calls = {n: (1.0, 3.0 - n) for n in range(50)}
    with pytest.raises(ZeroDivisionError):  # at the fourth
        call_each(truediv, calls, taken.__setitem__, workers=1)
    assert list(taken) == [0, 1, 2]


def test_workers_of_the_caller_outlive_a_failure() -> None:
    with ThreadPoolExecutor(1) as pool:
        with pytest.raises(ValueError, match="three"):
            call_each(fail_at_three, {n: (n,) for n in range(9)}, lambda *_: None, executor=pool)
        assert pool.submit(fail_at_three, 1).result() == 1
