"""Cages: what each kind writes, counts and kills, and what it says of itself."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from payload.limits import (
    BYTES_PER_MIB,
    CAGE_KINDS,
    CGROUP_VARIABLE,
    Cage,
    CageError,
    CageLimits,
    CgroupCage,
    RlimitCage,
    open_cage,
)

HUNGRY = "held = bytearray(200 << 20); held[::4096] = b'x' * len(held[::4096]); input()"
MODEST = "input()"


def run_in(cage: Cage, program: str) -> tuple[int, int]:
    """Exit code of a caged Python program that waits for a line, and its process number."""
    process = subprocess.Popen(cage.command([sys.executable, "-c", program]), stdin=subprocess.PIPE)
    cage.hold(process.pid)
    deadline_s = time.monotonic() + 20
    while process.poll() is None and cage.peak_mib() < 1 and time.monotonic() < deadline_s:
        time.sleep(0.01)
    time.sleep(0.3)
    if process.poll() is None:
        process.communicate(b"\n", timeout=20)
    return process.wait(20), process.pid


def open_or_skip(kind: str, limits: CageLimits) -> Cage:
    try:
        return open_cage(limits, kind)  # type: ignore[arg-type]
    except CageError as error:
        pytest.skip(f"no {kind} here: {error}")


@pytest.mark.parametrize("kind", CAGE_KINDS)
def test_over_the_limit_dies_and_is_counted_and_under_it_lives(kind: str) -> None:
    limits = CageLimits(memory_mib=100)
    for program, code, kills in ((HUNGRY, -9, 1), (MODEST, 0, 0)):
        cage = open_or_skip(kind, limits)
        try:
            assert run_in(cage, program)[0] == code
            assert min(cage.oom_kills(), 1) == kills
            assert cage.peak_mib() > 1
            assert cage.enforced() == f"memory 100 MiB by {kind}"
        finally:
            cage.close()


@pytest.mark.parametrize("kind", ["cgroup-v2", "cgroup-v1"])
def test_a_quarter_of_a_processor_is_a_quarter(kind: str) -> None:
    program = (
        "import time; end = time.monotonic() + 1.5; busy = time.process_time()\n"
        "while time.monotonic() < end: pass\n"
        "print(time.process_time() - busy)"
    )
    cage = open_or_skip(kind, CageLimits(cpu_cores=0.25))
    try:
        done = subprocess.run(
            cage.command([sys.executable, "-c", program]),
            capture_output=True,
            text=True,
            check=True,
        )
        assert float(done.stdout) < 0.25 * 1.5 + 0.1  # one period more at most
        assert cage.enforced() == f"0.25 cores by {kind}"
    finally:
        cage.close()


@pytest.fixture
def fake_kernel(tmp_path: Path) -> Path:
    """A `/proc/self` whose process is in a version 2 group, on a file system of plain files."""
    (tmp_path / "mount/own.scope").mkdir(parents=True)
    (tmp_path / "cgroup").write_text("0::/own.scope\n")
    line = f"30 20 0:26 / {tmp_path}/mount rw - cgroup2 cgroup2 rw\n"
    (tmp_path / "mountinfo").write_text(line)
    return tmp_path


def test_a_version_2_cage_writes_the_kernels_files(tmp_path: Path) -> None:
    folder = tmp_path / "cage"
    folder.mkdir()
    (folder / "memory.swap.max").touch()
    cage = CgroupCage("cgroup-v2", CageLimits(96.0, 0.5), folder, folder)
    assert (folder / "memory.max").read_text() == str(96 * BYTES_PER_MIB)
    assert (folder / "memory.swap.max").read_text() == "0"
    assert (folder / "cpu.max").read_text() == "50000 100000"
    (folder / "memory.events").write_text("low 0\noom 2\noom_kill 1\n")
    (folder / "memory.peak").write_text(str(90 * BYTES_PER_MIB))
    assert (cage.oom_kills(), cage.peak_mib()) == (1, 90.0)
    assert cage.enforced() == "memory 96 MiB by cgroup-v2; 0.5 cores by cgroup-v2"
    command = cage.command(["payload", "--model=a b"])
    assert command[-2:] == ["payload", "--model=a b"]
    assert f"{folder}/cgroup.procs" in command[2]


def test_what_is_not_handed_on_is_not_a_cage(
    fake_kernel: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(CGROUP_VARIABLE, raising=False)
    with pytest.raises(CageError, match=r"does not hand on memory\.max"):
        open_cage(CageLimits(memory_mib=10), "cgroup-v2", proc=fake_kernel)
    assert sorted(path.name for path in (fake_kernel / "mount").iterdir()) == ["own.scope"]
    monkeypatch.setenv(CGROUP_VARIABLE, str(fake_kernel / "nowhere"))
    with pytest.raises(CageError, match="nowhere"):
        open_cage(CageLimits(memory_mib=10), "cgroup-v2", proc=fake_kernel)
    fallback = open_cage(CageLimits(memory_mib=10), proc=fake_kernel)
    assert fallback.enforced() == "memory 10 MiB by rlimit"


def test_cages_left_behind_by_the_dead_are_swept(fake_kernel: Path) -> None:
    own = fake_kernel / "mount/own.scope"
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    (own / f"nephoscope-{gone.pid}-1").mkdir()
    (own / f"nephoscope-{os.getpid()}-1").mkdir()
    with pytest.raises(CageError):
        open_cage(CageLimits(memory_mib=10), "cgroup-v2", proc=fake_kernel)
    assert [path.name for path in own.iterdir()] == [f"nephoscope-{os.getpid()}-1"]


def test_sampling_kills_what_it_finds_over_the_limit() -> None:
    process = subprocess.Popen([sys.executable, "-c", MODEST], stdin=subprocess.PIPE)
    samples = iter([5.0, 9.0, 11.0])
    cage = RlimitCage(CageLimits(memory_mib=10), resident_mib=lambda _: next(samples))
    cage.hold(process.pid)
    assert process.wait(10) == -9
    cage.close()
    assert (cage.oom_kills(), cage.peak_mib()) == (1, 11.0)


def test_nothing_limited_says_so() -> None:
    cage = open_cage(CageLimits())
    assert cage.enforced() == "nothing limited"
    assert cage.command(["a"]) == ["a"]
    limited = open_cage(CageLimits(cpu_cores=1.0), "rlimit")
    assert limited.enforced() == "1 cores not enforced"


def test_limits_that_make_no_sense_are_refused() -> None:
    with pytest.raises(CageError, match="memory_mib is 0"):
        CageLimits(memory_mib=0)
    with pytest.raises(CageError, match="cpu_cores is -1"):
        CageLimits(cpu_cores=-1)
    with pytest.raises(CageError, match="affinity names processor 4096"):
        CageLimits(affinity=(4096,))
    with pytest.raises(CageError, match="valid: cgroup-v2"):
        open_cage(CageLimits(memory_mib=1), "jail")  # type: ignore[arg-type]


def test_affinity_holds() -> None:
    process = subprocess.Popen([sys.executable, "-c", MODEST], stdin=subprocess.PIPE)
    open_cage(CageLimits(affinity=(0,))).hold(process.pid)
    assert os.sched_getaffinity(process.pid) == {0}
    process.communicate(b"\n", timeout=10)
