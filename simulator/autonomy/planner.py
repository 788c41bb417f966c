"""What to image next: planners choose captures from accesses, one interface for all.

A planning problem is a list of `Opportunity` (an access of an open task, with its expected value
under the forecast), where the satellite points and from when it is free, and the limits that
power and storage set (`CaptureLimit`). A plan is a time-ordered list of `PlannedCapture` that
breaks none of them. ``greedy`` places the most valuable opportunity first and keeps what fits
(after the on-board rescheduler of Chien & Troesch 2015); ``fifo`` takes accesses as they come;
``optimal`` is the reference both are measured against (`simulator.autonomy.optimal`).
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol

from simulator.geometry import Access
from simulator.geometry.lvlh import Pointing
from simulator.spacecraft.attitude import Agility, Attitude

POINTINGS_KEPT = 32_768


@dataclass(frozen=True)
class Opportunity:
    """A way to image one target: an access, and what it is expected to bring.

    `period` says for which of the target's periods; a capture is planned for each at most once.
    """

    target: str
    access: Access
    earliest_s: float
    latest_s: float
    value: float
    forecast_cover: float
    period: int = 0

    @property
    def key(self) -> tuple[str, int]:
        """What is imaged once: target and period."""
        return self.target, self.period


@dataclass(frozen=True)
class CaptureLimit:
    """At most `captures` may be taken in [start_s, end_s); `reason` names the scarce thing.

    Where `targets` are named, only captures of these count.
    """

    start_s: float
    end_s: float
    captures: int
    reason: str
    targets: frozenset[str] | None = None

    def counts(self, target: str, capture_s: float) -> bool:
        """Whether a capture of the target at that time falls under the limit."""
        return self.start_s <= capture_s < self.end_s and (
            self.targets is None or target in self.targets
        )


@dataclass(frozen=True)
class PlannedCapture:
    """One capture of the plan: when, where it points, and what it is expected to bring."""

    target: str
    capture_s: float
    attitude: Attitude
    off_nadir_deg: float
    sun_elevation_deg: float
    value: float
    forecast_cover: float
    access_start_s: float
    period: int = 0

    @property
    def view(self) -> tuple[str, float]:
        """Target and start of the access, which name the access."""
        return self.target, self.access_start_s

    @property
    def key(self) -> tuple[str, int]:
        """What is imaged once: target and period."""
        return self.target, self.period


@dataclass(frozen=True)
class PlanningProblem:
    """Everything a planner may use.

    Attributes
    ----------
    opportunities : sequence of Opportunity
        At most one capture per target and period is planned.
    free_s : float
        The satellite is committed before this time.
    attitude : Attitude
        Where it points at `free_s`.
    agility : Agility
    exposure_s : float
        Time from one exposure to the earliest start of the next slew, s.
    limits : sequence of CaptureLimit
    """

    opportunities: Sequence[Opportunity]
    free_s: float
    attitude: Attitude
    agility: Agility
    exposure_s: float
    limits: Sequence[CaptureLimit] = ()


@dataclass(frozen=True)
class Solution:
    """A plan, and what is known of better ones.

    Attributes
    ----------
    captures : tuple of PlannedCapture
        In time order.
    bound : float or None
        No plan of the problem has more value; None where the planner cannot tell.
    ended : str
        Why the search ended: ``proved`` (nothing better exists), ``work limit``, ``wall limit``, or
        ``complete`` for planners that do not search.
    """

    captures: tuple[PlannedCapture, ...]
    bound: float | None = None
    ended: str = "complete"

    @property
    def value(self) -> float:
        """Expected value of all captures together."""
        return math.fsum(capture.value for capture in self.captures)

    @property
    def gap_fraction(self) -> float | None:
        """How much of the bound the plan may be short of; None without a bound."""
        if self.bound is None:
            return None
        return (self.bound - self.value) / self.bound if self.bound > 0.0 else 0.0


class Planner(Protocol):
    """Turns a problem into a plan."""

    def solve(self, problem: PlanningProblem) -> Solution:
        """Return captures in time order that respect slew, exposure and limits."""


class Schedule:
    """Captures in time order under construction: `insert` keeps what fits."""

    def __init__(self, problem: PlanningProblem) -> None:
        self._problem = problem
        self._captures: list[PlannedCapture] = []
        self._times: list[float] = []
        self._left = [limit.captures for limit in problem.limits]

    @property
    def captures(self) -> tuple[PlannedCapture, ...]:
        """The plan so far, in time order."""
        return tuple(self._captures)

    def insert(self, opportunity: Opportunity) -> bool:
        """Place a capture inside the opportunity if slews and limits allow it."""
        for capture_s in self._candidate_times(opportunity):
            if any(self._left[i] < 1 for i in self._limits_of(opportunity.target, capture_s)):
                continue
            capture = planned(opportunity, capture_s)
            if self._fits(capture):
                index = bisect_left(self._times, capture_s)
                self._captures.insert(index, capture)
                self._times.insert(index, capture_s)
                for i in self._limits_of(opportunity.target, capture_s):
                    self._left[i] -= 1
                return True
        return False

    def _candidate_times(self, opportunity: Opportunity) -> Iterable[float]:
        """Best view first, then as soon after or as late before the neighbours as may be."""
        low, high = opportunity.earliest_s, opportunity.latest_s
        best = min(max(opportunity.access.closest_s, low), high)
        yield best
        index = bisect_left(self._times, best)
        if index == 0 and best - self._problem.free_s < high - low + 180.0:
            yield from self._after(self._problem.free_s, self._problem.attitude, opportunity)
        if index > 0:
            before = self._captures[index - 1]
            ready_s = before.capture_s + self._problem.exposure_s
            yield from self._after(ready_s, before.attitude, opportunity)
        if index < len(self._captures):
            after = self._captures[index]
            if after.capture_s - best < high - low + 180.0:
                slew_s = self._problem.agility.slew_s(
                    planned(opportunity, best).attitude, after.attitude
                )
                capture_s = after.capture_s - slew_s - self._problem.exposure_s
                if low <= capture_s <= best:
                    yield capture_s
                yield low

    def _after(
        self, ready_s: float, attitude: Attitude, opportunity: Opportunity
    ) -> Iterable[float]:
        """Earliest capture after a slew from `attitude`; the target's direction moves meanwhile."""
        capture_s = max(ready_s, opportunity.earliest_s)
        for _ in range(3):
            if capture_s > opportunity.latest_s:
                break
            there = planned(opportunity, capture_s).attitude
            capture_s = max(
                ready_s + self._problem.agility.slew_s(attitude, there), opportunity.earliest_s
            )
        if capture_s <= opportunity.latest_s:
            yield capture_s
        if ready_s < opportunity.latest_s:
            yield opportunity.latest_s

    def _fits(self, capture: PlannedCapture) -> bool:
        problem = self._problem
        index = bisect_left(self._times, capture.capture_s)
        if index == 0:
            ready_s, attitude = problem.free_s, problem.attitude
        else:
            before = self._captures[index - 1]
            ready_s, attitude = before.capture_s + problem.exposure_s, before.attitude
        if not reaches(problem.agility, ready_s, attitude, capture):
            return False
        if index == len(self._captures):
            return True
        after = self._captures[index]
        ready_s = capture.capture_s + problem.exposure_s
        return reaches(problem.agility, ready_s, capture.attitude, after)

    def _limits_of(self, target: str, capture_s: float) -> list[int]:
        limits = enumerate(self._problem.limits)
        return [i for i, limit in limits if limit.counts(target, capture_s)]


def reaches(agility: Agility, ready_s: float, attitude: Attitude, capture: PlannedCapture) -> bool:
    """Whether a satellite free at `ready_s` in `attitude` can turn to a capture in time."""
    gap_s = capture.capture_s - ready_s
    if gap_s < 0.0:
        return False
    # No slew is longer than half a turn: far-apart captures need no trigonometry.
    if gap_s > agility.longest_slew_s:
        return True
    return agility.slew_s(attitude, capture.attitude) <= gap_s


def planned(opportunity: Opportunity, capture_s: float) -> PlannedCapture:
    """The capture that images `opportunity` at `capture_s`."""
    pointing = _pointing(opportunity.access, capture_s)
    return PlannedCapture(
        target=opportunity.target,
        capture_s=capture_s,
        attitude=Attitude(pointing.roll_deg, pointing.pitch_deg),
        off_nadir_deg=pointing.off_nadir_deg,
        sun_elevation_deg=pointing.sun_elevation_deg,
        value=opportunity.value,
        forecast_cover=opportunity.forecast_cover,
        access_start_s=opportunity.access.start_s,
        period=opportunity.period,
    )


@lru_cache(maxsize=POINTINGS_KEPT)
def _pointing(access: Access, capture_s: float) -> Pointing:
    """Where to look; each replan asks for the same times of the same accesses again."""
    return access.pointing(capture_s)


def _place(problem: PlanningProblem, ordered: Iterable[Opportunity]) -> Solution:
    schedule, placed = Schedule(problem), set[tuple[str, int]]()
    for opportunity in ordered:
        if opportunity.key not in placed and schedule.insert(opportunity):
            placed.add(opportunity.key)
    return Solution(schedule.captures)


@dataclass(frozen=True)
class GreedyPlanner:
    """Most valuable opportunity first; ties by time, then by name."""

    def solve(self, problem: PlanningProblem) -> Solution:
        """See `Planner`."""
        return _place(
            problem,
            sorted(problem.opportunities, key=lambda o: (-o.value, o.access.closest_s, o.target)),
        )


@dataclass(frozen=True)
class FifoPlanner:
    """Accesses in the order they come, whatever they are worth."""

    def solve(self, problem: PlanningProblem) -> Solution:
        """See `Planner`."""
        return _place(
            problem,
            sorted(problem.opportunities, key=lambda o: (o.earliest_s, o.target)),
        )
