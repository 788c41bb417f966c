"""What the host measured while it simulated: wall time, resident memory, health, lateness.

These events stand beside those of the mission (`simulator.telemetry.events`) in the same form, but
in ``host_events/``, outside the promise of byte-identical logs: no decision of a mission rests on
them unless its scenario asks for measured timing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from simulator.telemetry.events import Event


@dataclass(frozen=True, slots=True, kw_only=True)
class HostEvent(Event):
    """Something the host measured; never byte-identical between runs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HostInference(HostEvent):
    """Wall time and memory of one frame's inference on the host."""

    kind_of_event: ClassVar[str] = "inference"
    capture: str
    wall_s: float
    model_calls: int
    peak_memory_mib: float
    memory_provenance: str
    rss_mib: float


@dataclass(frozen=True, slots=True, kw_only=True)
class HostRun(HostEvent):
    """Wall time of the phases of a run: ``geometry``, ``mission``, ``total``."""

    kind_of_event: ClassVar[str] = "run"
    phase: str
    wall_s: float
    rss_mib: float


@dataclass(frozen=True, slots=True, kw_only=True)
class HostPayload(HostEvent):
    """What a payload said of itself: at start and end, after a fault, after a restart."""

    kind_of_event: ClassVar[str] = "payload"
    moment: str
    link: str
    alive: bool
    rss_mib: float
    frames: int
    restarts: int
    enforced: str
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class HostPlanning(HostEvent):
    """What making one plan took, and how good it is known to be.

    `bound` is the most value any plan could have, `gap_fraction` how much of it the plan may be
    short of; both are -1 where the planner cannot tell. `ended` says why the search ended
    (`simulator.autonomy.planner.Solution`).
    """

    kind_of_event: ClassVar[str] = "planning"
    trigger: str
    opportunities: int
    captures: int
    value: float
    bound: float
    gap_fraction: float
    wall_s: float
    ended: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class HostAntennas(HostEvent):
    """What assigning the antennas of a rush took, and how good the assignment is.

    `value`, `bound` and `first_come_value` are in MiB, weighted
    (`simulator.ground.antennas.Assignment`).
    """

    kind_of_event: ClassVar[str] = "antennas"
    start_s: float
    end_s: float
    windows: int
    contacts: int
    value: float
    bound: float
    gap_fraction: float
    first_come_value: float
    wall_s: float
    ended: str


@dataclass(frozen=True, slots=True, kw_only=True)
class HostPace(HostEvent):
    """How late events were stepped under real-time pace, wall seconds."""

    kind_of_event: ClassVar[str] = "pace"
    events: int
    p50_s: float
    p99_s: float
    max_s: float
    factor: float


HOST_EVENT_TYPES: dict[str, type[Event]] = {
    cls.kind_of_event: cls
    for cls in (HostInference, HostRun, HostPayload, HostPlanning, HostAntennas, HostPace)
}
"""Event classes by file name."""
