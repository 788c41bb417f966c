"""Cages: a payload process may have so much memory and processor time, and not more.

Three kinds, strongest first:

``cgroup-v2``
    `memory.max`, `memory.peak`, `cpu.max`: the kernel counts and kills.
``cgroup-v1``
    `memory.limit_in_bytes`, `memory.max_usage_in_bytes`, `cpu.cfs_quota_us`: likewise.
``rlimit``
    Where no control group can be had: RLIMIT_AS bounds the address space, and resident memory is
    sampled every few milliseconds; a process found over its limit is killed with SIGKILL. What
    grows and shrinks between two samples is not seen, and processor time is not limited.

Each kind counts differently: a control group does not charge file pages that somebody else has
already read (shared libraries), resident memory includes them. A limit therefore means
something only together with its kind, and a run says which was enforced.

Over the limit the process dies. Whoever started it sees that in `oom_kills`, and starts it again.
"""

from __future__ import annotations

import contextlib
import math
import os
import resource
import signal
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

BYTES_PER_MIB = 2**20
CPU_PERIOD_US = 100_000
SAMPLE_S = 0.004
ADDRESS_SPACE_HEADROOM_MIB = 2048
"""Address space a Python process with NumPy and ONNX Runtime reserves without touching it."""

CGROUP_VARIABLE = "NEPHOSCOPE_CGROUP"
"""Environment variable naming a delegated cgroup v2 folder in which cages may be made."""

CageKind = Literal["cgroup-v2", "cgroup-v1", "rlimit"]
CAGE_KINDS: tuple[CageKind, ...] = ("cgroup-v2", "cgroup-v1", "rlimit")


class CageError(ValueError):
    """A cage cannot be had as asked."""


@dataclass(frozen=True)
class CageLimits:
    """What a caged process may have.

    Attributes
    ----------
    memory_mib : float or None
        Memory, MiB.
    cpu_cores : float or None
        Processor time per time: 0.5 is half a core.
    affinity : tuple of int
        Processors it may run on; empty for all.
    """

    memory_mib: float | None = None
    cpu_cores: float | None = None
    affinity: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        for name in ("memory_mib", "cpu_cores"):
            value = getattr(self, name)
            if value is not None and not 0 < value < math.inf:
                raise CageError(f"{name} is {value!r}, expected a finite number above 0")
        unknown = set(self.affinity) - os.sched_getaffinity(0)
        if unknown:
            raise CageError(
                f"affinity names processor {min(unknown)}, this process may use "
                f"{sorted(os.sched_getaffinity(0))}"
            )


class Cage:
    """A cage made for one process; `close` gives it back.

    Attributes
    ----------
    kind : str
        One of `CAGE_KINDS`.
    limits : CageLimits
    """

    kind: CageKind

    def __init__(self, limits: CageLimits) -> None:
        self.limits = limits

    def command(self, command: Sequence[str]) -> list[str]:
        """The command that runs `command` inside the cage."""
        return list(command)

    def hold(self, pid: int) -> None:
        """Apply to the started process what can only be applied from outside."""
        if self.limits.affinity:
            os.sched_setaffinity(pid, self.limits.affinity)

    def oom_kills(self) -> int:
        """How often the cage has killed for memory."""
        return 0

    def peak_mib(self) -> float:
        """Most memory counted so far, MiB."""
        return 0.0

    def enforced(self) -> str:
        """What is enforced, in words."""
        parts = []
        if self.limits.memory_mib is not None:
            parts.append(f"memory {self.limits.memory_mib:g} MiB by {self.kind}")
        if self.limits.cpu_cores is not None:
            by = "not enforced" if self.kind == "rlimit" else f"by {self.kind}"
            parts.append(f"{self.limits.cpu_cores:g} cores {by}")
        if self.limits.affinity:
            parts.append(f"processors {', '.join(map(str, self.limits.affinity))}")
        return "; ".join(parts) or "nothing limited"

    def close(self) -> None:
        """Kill what is left inside and remove the cage."""


class CgroupCage(Cage):
    """A cage of one or two control group folders of its own.

    Parameters
    ----------
    kind : {"cgroup-v2", "cgroup-v1"}
    limits : CageLimits
    memory, cpu : Path or None
        Fresh folders; the same one under version 2. None where the resource is not limited.
    """

    def __init__(
        self, kind: CageKind, limits: CageLimits, memory: Path | None, cpu: Path | None
    ) -> None:
        super().__init__(limits)
        self.kind = kind
        self._memory = memory
        self._cpu = cpu
        self._folders = sorted({folder for folder in (memory, cpu) if folder is not None})
        try:
            self._set_memory()
            self._set_cpu()
        except OSError:
            self.close()
            raise

    def command(self, command: Sequence[str]) -> list[str]:
        """Enter the cage first, then become the command: no page is charged elsewhere."""
        joins = " && ".join(f'echo $$ > "{folder}/cgroup.procs"' for folder in self._folders)
        return ["/bin/sh", "-c", f'{joins} && exec "$@"', "cage", *command]

    def oom_kills(self) -> int:
        """The kernel's counter."""
        if self._memory is None:
            return 0
        name = "memory.events" if self.kind == "cgroup-v2" else "memory.oom_control"
        return _counter(self._memory / name, "oom_kill")

    def peak_mib(self) -> float:
        """The kernel's high-water mark."""
        if self._memory is None:
            return 0.0
        name = "memory.peak" if self.kind == "cgroup-v2" else "memory.max_usage_in_bytes"
        path = self._memory / name
        # memory.peak came with Linux 5.19; an older kernel counts without a high-water mark.
        return float(path.read_text()) / BYTES_PER_MIB if path.exists() else 0.0

    def close(self) -> None:
        """Kill what is left inside and remove the folders."""
        for folder in self._folders:
            deadline_s = time.monotonic() + 2.0
            while folder.exists() and time.monotonic() < deadline_s:
                _kill_all(folder)
                try:
                    folder.rmdir()
                except OSError:
                    time.sleep(0.01)

    def _set_memory(self) -> None:
        if self._memory is None or self.limits.memory_mib is None:
            return
        limit = str(int(self.limits.memory_mib * BYTES_PER_MIB))
        if self.kind == "cgroup-v2":
            (self._memory / "memory.max").write_text(limit)
            _write_if_there(self._memory / "memory.swap.max", "0")
        else:
            (self._memory / "memory.limit_in_bytes").write_text(limit)
            _write_if_there(self._memory / "memory.memsw.limit_in_bytes", limit)

    def _set_cpu(self) -> None:
        if self._cpu is None or self.limits.cpu_cores is None:
            return
        quota = str(max(1000, int(self.limits.cpu_cores * CPU_PERIOD_US)))
        if self.kind == "cgroup-v2":
            (self._cpu / "cpu.max").write_text(f"{quota} {CPU_PERIOD_US}")
        else:
            (self._cpu / "cpu.cfs_period_us").write_text(str(CPU_PERIOD_US))
            (self._cpu / "cpu.cfs_quota_us").write_text(quota)


class RlimitCage(Cage):
    """A cage of RLIMIT_AS and sampled resident memory.

    Parameters
    ----------
    limits : CageLimits
    resident_mib : callable, optional
        Resident memory of a process, MiB; raises ProcessLookupError when it is gone.
    """

    kind: CageKind = "rlimit"

    def __init__(
        self, limits: CageLimits, resident_mib: Callable[[int], float] | None = None
    ) -> None:
        super().__init__(limits)
        self._resident_mib = resident_mib or _resident_mib
        self._peak_mib = 0.0
        self._kills = 0
        self._stop = threading.Event()
        self._sampler: threading.Thread | None = None

    def hold(self, pid: int) -> None:
        """Bound the address space and watch resident memory."""
        super().hold(pid)
        if self.limits.memory_mib is None:
            return
        space = int((self.limits.memory_mib + ADDRESS_SPACE_HEADROOM_MIB) * BYTES_PER_MIB)
        resource.prlimit(pid, resource.RLIMIT_AS, (space, space))
        self._sampler = threading.Thread(target=self._watch, args=(pid,), daemon=True)
        self._sampler.start()

    def oom_kills(self) -> int:
        """How often the sampler has killed."""
        return self._kills

    def peak_mib(self) -> float:
        """Largest sample."""
        return self._peak_mib

    def close(self) -> None:
        """Stop watching."""
        self._stop.set()
        if self._sampler is not None:
            self._sampler.join()

    def _watch(self, pid: int) -> None:
        limit_mib = self.limits.memory_mib or float("inf")
        while not self._stop.wait(SAMPLE_S):
            try:
                resident_mib = self._resident_mib(pid)
                self._peak_mib = max(self._peak_mib, resident_mib)
                if resident_mib > limit_mib:
                    # Counted first: whoever sees the death must find its cause.
                    self._kills += 1
                    os.kill(pid, signal.SIGKILL)
                    return
            except (ProcessLookupError, FileNotFoundError):
                return


def open_cage(
    limits: CageLimits, kind: CageKind | None = None, proc: Path = Path("/proc/self")
) -> Cage:
    """The strongest cage this machine allows, or the kind asked for.

    Parameters
    ----------
    limits : CageLimits
    kind : str, optional
        One of `CAGE_KINDS`.
    proc : Path
        Where `cgroup` and `mountinfo` of this process are read.

    Raises
    ------
    CageError
        If the kind asked for is unknown or cannot be had.
    """
    if kind is not None and kind not in CAGE_KINDS:
        raise CageError(f"cage is {kind!r}; valid: {', '.join(CAGE_KINDS)}")
    if limits.memory_mib is None and limits.cpu_cores is None:
        return RlimitCage(limits)
    reasons = []
    for candidate in (kind,) if kind is not None else CAGE_KINDS:
        if candidate == "rlimit":
            return RlimitCage(limits)
        try:
            return _open_cgroup(candidate, limits, proc)
        except OSError as error:
            reasons.append(f"{candidate}: {error}")
    raise CageError(
        f"cage {kind!r} cannot be had here ({'; '.join(reasons)}); run with the rights to make "
        f"control groups, name a delegated one in {CGROUP_VARIABLE}, or use the cage 'rlimit'"
    )


def _open_cgroup(kind: CageKind, limits: CageLimits, proc: Path) -> Cage:
    name = f"nephoscope-{os.getpid()}-{time.monotonic_ns():x}"
    if kind == "cgroup-v2":
        folder = _make_v2(proc, limits, name)
        return CgroupCage(kind, limits, folder, folder)
    memory = cpu = None
    if limits.memory_mib is not None:
        memory = _make_v1(proc, "memory", name)
    if limits.cpu_cores is not None:
        try:
            cpu = _make_v1(proc, "cpu", name)
        except OSError:
            if memory is not None:
                memory.rmdir()
            raise
    return CgroupCage(kind, limits, memory, cpu)


def _make_v1(proc: Path, controller: str, name: str) -> Path:
    """A fresh folder under this process's own group: inside every limit it is itself under."""
    parent = _own_group(proc, controller)
    _sweep(parent)
    folder = parent / name
    folder.mkdir()
    return folder


def _sweep(parent: Path) -> None:
    """Remove the empty cages of processes that were killed before they could."""
    for folder in parent.glob("nephoscope-*-*"):
        owner = folder.name.split("-")[1]
        if not Path(f"/proc/{owner}").exists():
            with contextlib.suppress(OSError):  # Not empty: its process is about to end.
                folder.rmdir()


def _make_v2(proc: Path, limits: CageLimits, name: str) -> Path:
    named = os.environ.get(CGROUP_VARIABLE)
    own = _own_group(proc, "")
    # A group with processes of its own cannot hand memory on, so a cage is most often a sibling.
    parents = [own] if own == _mount_point(proc, "") else [own, own.parent]
    parents = [Path(named)] if named else parents
    needed = {"memory.max"} if limits.memory_mib is not None else set()
    needed |= {"cpu.max"} if limits.cpu_cores is not None else set()
    reasons = []
    for parent in parents:
        _sweep(parent)
        folder = parent / name
        try:
            folder.mkdir()
        except OSError as error:
            reasons.append(str(error))
            continue
        lacking = sorted(file for file in needed if not (folder / file).exists())
        if not lacking:
            return folder
        folder.rmdir()
        reasons.append(f"{parent} does not hand on {', '.join(lacking)}")
    raise OSError("; ".join(reasons))


def _own_group(proc: Path, controller: str) -> Path:
    """Folder of this process's group: of a version 1 controller, or of version 2 for ''."""
    for line in (proc / "cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        if controller in controllers.split(","):
            return _mount_point(proc, controller) / path.lstrip("/")
    raise OSError(f"this process is in no control group of {controller or 'version 2'}")


def _mount_point(proc: Path, controller: str) -> Path:
    wanted = "cgroup" if controller else "cgroup2"
    for line in (proc / "mountinfo").read_text().splitlines():
        before, _, after = line.partition(" - ")
        kind, _, options = after.split(" ", 2)
        if kind == wanted and (not controller or controller in options.split(",")):
            return Path(before.split(" ")[4])
    raise OSError(f"no {wanted} file system is mounted")


def _kill_all(folder: Path) -> None:
    try:
        pids = (folder / "cgroup.procs").read_text().split()
    except OSError:
        return
    for pid in pids:
        try:
            os.kill(int(pid), signal.SIGKILL)
        except ProcessLookupError:
            continue


def _counter(path: Path, name: str) -> int:
    for line in path.read_text().splitlines():
        key, _, value = line.partition(" ")
        if key == name:
            return int(value)
    return 0


def _write_if_there(path: Path, text: str) -> None:
    if path.exists():
        path.write_text(text)


def _resident_mib(pid: int) -> float:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * resource.getpagesize() / BYTES_PER_MIB
