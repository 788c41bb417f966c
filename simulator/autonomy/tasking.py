"""What is still to be imaged: one task per target and period, open until an image is good enough.

A target is wanted once, or once in each period of its `repeat_days`, counted from the epoch. A task
is open while a capture is wanted. Imaging closes it; a cloudy result (seen on board, or learned on
the ground and uplinked) opens it again until its attempts are used up or its time is over.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from simulator.geometry import Access
from simulator.scenario.targets import Target

DAY_S = 86_400.0

TaskKey = tuple[str, int]
"""Target and period."""


@dataclass(frozen=True)
class Task:
    """The state of one target's tasking on board, for one period.

    Attributes
    ----------
    target : Target
    deadline_s : float or None
        Simulated time after which a capture is no longer wanted.
    period : int
        Number of the period, from 0; always 0 for a target that is wanted once.
    opens_s : float
        Simulated time before which a capture belongs to the period before.
    attempts : int
        Captures so far.
    open : bool
        Whether a capture is wanted.
    reacquisition : bool
        Whether the next capture repeats a cloudy one.
    """

    target: Target
    deadline_s: float | None
    period: int = 0
    opens_s: float = 0.0
    attempts: int = 0
    open: bool = True
    reacquisition: bool = False

    @property
    def key(self) -> TaskKey:
        """Target and period, which name the task."""
        return self.target.name, self.period

    def met_by(self, access: Access) -> bool:
        """Whether an access lies in the task's time, if only in part."""
        in_time = self.deadline_s is None or access.start_s < self.deadline_s
        return access.end_s > self.opens_s and in_time

    def imaged(self) -> Task:
        """After a capture: closed, one attempt more."""
        return replace(self, attempts=self.attempts + 1, open=False, reacquisition=False)

    def reopened(self) -> Task:
        """After a cloudy result."""
        return replace(self, open=True, reacquisition=True)

    def handed_over(self, attempts: int) -> Task:
        """The ground asks for another look after so many by any satellite."""
        return replace(self, attempts=attempts, open=True, reacquisition=True)

    def may_reopen(self, max_attempts: int, now_s: float) -> bool:
        """Whether another capture may still be asked for."""
        in_time = self.deadline_s is None or now_s < self.deadline_s
        return not self.open and self.attempts < max_attempts and in_time


def tasks_of(target: Target, duration_s: float) -> tuple[Task, ...]:
    """The tasks of a target in a mission: one, or one for each period that begins in time."""
    deadline_s = None if target.deadline_h is None else target.deadline_h * 3600.0
    if target.repeat_days is None:
        return (Task(target, deadline_s),)
    period_s = target.repeat_days * DAY_S
    until_s = duration_s if deadline_s is None else min(duration_s, deadline_s)
    return tuple(
        Task(
            target,
            (number + 1) * period_s
            if deadline_s is None
            else min((number + 1) * period_s, deadline_s),
            number,
            number * period_s,
        )
        for number in range(max(1, math.ceil(until_s / period_s)))
    )


def chances(tasks: Mapping[TaskKey, Task], accesses: Iterable[Access]) -> list[tuple[Access, Task]]:
    """Each access with each task of its target whose time it meets, in the order of accesses."""
    by_target: dict[str, list[Task]] = {}
    for task in tasks.values():
        by_target.setdefault(task.target.name, []).append(task)
    found = []
    for access in accesses:
        own = by_target.get(access.target, ())
        found += [(access, task) for task in own if task.met_by(access)]
    return found
