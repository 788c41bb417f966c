"""What is still to be imaged: one task per target, open until an image is good enough.

A task is open while a capture is wanted. Imaging closes it; a cloudy result (seen on board, or
learned on the ground and uplinked) opens it again until its attempts are used up.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from simulator.scenario.targets import Target


@dataclass(frozen=True)
class Task:
    """The state of one target's tasking on board.

    Attributes
    ----------
    target : Target
    deadline_s : float or None
        Simulated time after which a capture is no longer wanted.
    attempts : int
        Captures so far.
    open : bool
        Whether a capture is wanted.
    reacquisition : bool
        Whether the next capture repeats a cloudy one.
    """

    target: Target
    deadline_s: float | None
    attempts: int = 0
    open: bool = True
    reacquisition: bool = False

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
