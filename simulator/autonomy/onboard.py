"""The on-board planner: tasks, forecast and plan of one satellite, and why the plan changed.

It holds which targets are still wanted, turns their accesses into opportunities valued under the
forecast last uplinked and what was seen since, asks a `Planner` for a plan, and reports each
difference from the plan before as a `PlanChange` with its trigger. A capture the satellite has
begun to slew for is committed: planning starts after it. An access is good for one image of a task:
a minute later the clouds are the same.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from simulator.autonomy.planner import (
    CaptureLimit,
    Opportunity,
    PlannedCapture,
    Planner,
    PlanningProblem,
    Solution,
)
from simulator.autonomy.prospects import Belief, Look, Prospects
from simulator.autonomy.tasking import Task, TaskKey, chances
from simulator.geometry import Access
from simulator.spacecraft.attitude import Agility, Attitude

HORIZON_S = 24 * 3600.0
"""Planning horizon; a forecast knows little beyond it."""

WORTH_A_LOOK = 0.15
"""Least chance of a satisfying image for which a capture is made. Below it waiting is better: cloud
persists for hours, and a cloudy frame costs energy, an attempt and room on the link."""

GLANCE_DECIMALS = 1
"""Decimals of the chance given to a target that a glance has seen. Finer differences are noise, and
to follow them would give up the next capture again and again for one a minute ahead."""

Forecast = Callable[[Sequence[tuple[str, float]], float], Sequence[float]]
"""``forecast([(target, t_s), ...], issued_s) -> cover``."""


@dataclass(frozen=True)
class PlanChange:
    """One difference between two plans."""

    change: str
    trigger: str
    capture: PlannedCapture
    planned_captures: int
    reason: str


class OnboardPlanner:
    """Tasks and plan of one satellite.

    Parameters
    ----------
    tasks : mapping of TaskKey to Task
        By target and period.
    accesses : sequence of Access
        Of these targets, by start.
    planner : Planner
    forecast : callable
        See `Forecast`.
    prospects : Prospects
    agility : Agility
    exposure_s : float
        Time an exposure blocks pointing.
    """

    def __init__(
        self,
        tasks: Mapping[TaskKey, Task],
        accesses: Sequence[Access],
        planner: Planner,
        forecast: Forecast,
        prospects: Prospects,
        agility: Agility,
        exposure_s: float,
    ) -> None:
        self.tasks = dict(tasks)
        self.offered = 0
        self.solution = Solution(())
        self.plan: tuple[PlannedCapture, ...] = ()
        self._planner, self._forecast, self._prospects = planner, forecast, prospects
        self._agility, self._exposure_s = agility, exposure_s
        self._chances = [(access, task.key) for access, task in chances(self.tasks, accesses)]
        self._starts = [access.start_s for access, _ in self._chances]
        longest_s = max((a.end_s - a.start_s for a, _ in self._chances), default=0.0)
        self._longest_access_s = longest_s
        self._last_start_s = {key: access.start_s for access, key in self._chances}
        self._issued_s = 0.0
        self._cover: dict[tuple[str, float], float] = {}
        self._glanced: dict[tuple[str, float], float] = {}
        self._looks: dict[str, Look] = {}
        self._used: set[tuple[TaskKey, float]] = set()
        self._keys: dict[tuple[str, float], list[TaskKey]] = {}
        for access, key in self._chances:
            self._keys.setdefault((access.target, access.start_s), []).append(key)

    def wanted(self, access: Access) -> TaskKey | None:
        """The open task that this access could serve, if there is one."""
        for key in self._keys.get((access.target, access.start_s), ()):
            task = self.tasks[key]
            used = (key, access.start_s) in self._used
            if task.open and task.met_by(access) and not used:
                return key
        return None

    def believed(self, access: Access) -> Belief | None:
        """What the plan reckons with for an access: a glance, or the forecast and the last look.

        None where no forecast was asked for yet.
        """
        name = access.target, access.start_s
        if name in self._glanced:
            return Belief(self._glanced[name], self._prospects.glance_sigma)
        if name not in self._cover:
            return None
        lead_s, look = access.closest_s - self._issued_s, self._looks.get(access.target)
        return self._prospects.believed(self._cover[name], lead_s, look, access.closest_s)

    def glanced(self, access: Access, cover: float) -> None:
        """The look-ahead camera saw the cover of an access: it stands in for the forecast."""
        self._glanced[access.target, access.start_s] = cover

    def looked(self, target: str, look: Look) -> None:
        """The payload found this cover over a target: what is believed of its later accesses."""
        self._looks[target] = look

    def new_forecast(self, issued_s: float) -> None:
        """A forecast issued at `issued_s` came up; older ones are forgotten."""
        self._issued_s = issued_s
        self._cover.clear()

    def replan(
        self,
        trigger: str,
        *,
        free_s: float,
        not_before_s: float,
        attitude: Attitude,
        limits: Sequence[CaptureLimit] = (),
    ) -> list[PlanChange]:
        """Make the plan anew and say what changed.

        Parameters
        ----------
        trigger : str
            Why the plan is made anew.
        free_s : float
            When the satellite may start to slew from `attitude`.
        not_before_s : float
            Earliest exposure (the imager has to warm up).
        limits : sequence of CaptureLimit
            What power and storage allow.
        """
        opportunities = self.opportunities(not_before_s)
        before = self.plan
        self.offered = len(opportunities)
        self.solution = self._planner.solve(
            PlanningProblem(
                opportunities,
                free_s,
                attitude,
                self._agility,
                self._exposure_s,
                _that_can_bind(limits, opportunities),
            )
        )
        self.plan = self.solution.captures
        return self._differences(before, trigger, opportunities)

    def commit(self, capture: PlannedCapture) -> None:
        """The satellite turns to this capture now: it leaves the plan, its task closes."""
        self.plan = tuple(c for c in self.plan if c is not capture)
        self.tasks[capture.key] = replace(self.tasks[capture.key], open=False)
        self._used.add((capture.key, capture.access_start_s))

    def give_up(self, capture: PlannedCapture) -> None:
        """A committed capture could not be taken: its task is open again."""
        self.tasks[capture.key] = replace(self.tasks[capture.key], open=True)
        self._used.discard((capture.key, capture.access_start_s))

    def opportunities(self, free_s: float) -> list[Opportunity]:
        """Accesses of open tasks within the horizon that are worth a capture."""
        candidates = []
        first = bisect_left(self._starts, free_s - self._longest_access_s)
        last = bisect_left(self._starts, free_s + HORIZON_S)
        for access, key in self._chances[first:last]:
            task = self.tasks[key]
            if not task.open or (key, access.start_s) in self._used:
                continue
            latest_s = access.end_s
            if task.deadline_s is not None:
                latest_s = min(latest_s, task.deadline_s)
            opens_s = max(access.start_s, task.opens_s)
            if latest_s > free_s and latest_s >= opens_s:
                candidates.append((access, task, max(opens_s, free_s), latest_s))
        beliefs = self._beliefs([access for access, *_ in candidates])
        offered = []
        for (access, task, earliest_s, latest_s), belief in zip(candidates, beliefs, strict=True):
            seen = (access.target, access.start_s) in self._glanced
            chance = self._prospects.chance(task, belief)
            if seen:
                chance = round(chance, GLANCE_DECIMALS)
            if chance >= WORTH_A_LOOK or (not seen and self._last_chance(task, access)):
                value = self._prospects.value(task, belief.cover, chance, earliest_s - free_s)
                offered.append(
                    Opportunity(
                        access.target,
                        access,
                        earliest_s,
                        latest_s,
                        value,
                        belief.cover,
                        task.period,
                    )
                )
        return offered

    def _last_chance(self, task: Task, access: Access) -> bool:
        """Whether to image although the forecast is poor: the target was never seen."""
        return task.attempts == 0 and access.start_s >= self._last_start_s[task.key]

    def _beliefs(self, accesses: Sequence[Access]) -> list[Belief]:
        """What is believed of each access; a forecast is asked for once per access and issue."""
        missing = [
            a
            for a in accesses
            if (a.target, a.start_s) not in self._cover
            and (a.target, a.start_s) not in self._glanced
        ]
        if missing:
            asked = [(a.target, a.closest_s) for a in missing]
            for access, cover in zip(missing, self._forecast(asked, self._issued_s), strict=True):
                self._cover[(access.target, access.start_s)] = float(cover)
        return [belief for access in accesses if (belief := self.believed(access))]

    def _differences(
        self, before: Sequence[PlannedCapture], trigger: str, offered: Sequence[Opportunity]
    ) -> list[PlanChange]:
        old = {(c.key, c.access_start_s): c for c in before}
        new = {(c.key, c.access_start_s): c for c in self.plan}
        planned = {c.key for c in self.plan}
        possible = {(o.key, o.access.start_s) for o in offered}
        changes = []
        for key, capture in old.items():
            if key not in new:
                if not self.tasks[capture.key].open:
                    reason = "no longer wanted"
                elif capture.key in planned:
                    reason = "moved to a better access"
                elif key not in possible and self._seen(capture):
                    reason = f"a glance ahead saw cover {self._glanced[capture.view]:.2f}"
                elif key not in possible:
                    reason = "the access is over, or expected to be too cloudy"
                else:
                    reason = "gave way to captures of more value, or to power and storage"
                changes.append(PlanChange("remove", trigger, capture, len(new), reason))
        for key, capture in new.items():
            if key not in old:
                task = self.tasks[capture.key]
                wanted = "reacquisition" if task.reacquisition else "first image"
                reason = f"{wanted}; {self._source(capture)} {capture.forecast_cover:.2f}"
                changes.append(PlanChange("add", trigger, capture, len(new), reason))
        return changes

    def _source(self, capture: PlannedCapture) -> str:
        """Who says what cover is expected of a capture."""
        if self._seen(capture):
            return "a glance ahead saw cover"
        if capture.target in self._looks:
            return "forecast and last look give cover"
        return "forecast cover"

    def _seen(self, capture: PlannedCapture) -> bool:
        """Whether the look-ahead camera has seen the clouds over this capture's access."""
        return capture.view in self._glanced


def _that_can_bind(
    limits: Sequence[CaptureLimit], offered: Sequence[Opportunity]
) -> list[CaptureLimit]:
    """Limits without those that allow more captures than there are opportunities in their time."""
    earliest_s = np.array([opportunity.earliest_s for opportunity in offered])
    latest_s = np.array([opportunity.latest_s for opportunity in offered])

    def offered_to(limit: CaptureLimit) -> int:
        within = (earliest_s < limit.end_s) & (latest_s >= limit.start_s)
        if limit.targets is not None:
            within &= np.array([o.target in limit.targets for o in offered], dtype=bool)
        return int(np.count_nonzero(within))

    return [limit for limit in limits if limit.captures < offered_to(limit)]
