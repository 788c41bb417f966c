"""The ground loop: what the ground learns, how long it thinks, and what it asks for next.

At the end of each pass the ground knows the products that came down completely (their cover is
then judged with the truth: the ground's own cloud screening is taken as perfect, which favours
the policies that lean on it) and, for policies that report by telemetry, what the payload saw in
frames decided since the last pass. A target that is not satisfied is asked for again: the tasking
is ready after the processing delay and goes up at the next pass - to the satellite that can image
the target first after its next uplink, where several fly; those that look again on board on their
own keep their targets.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from simulator.autonomy.policies import PolicyTraits, satisfies
from simulator.ground.coverage import AreaCoverage
from simulator.telemetry.events import Event, Ground, Uplink


@dataclass(frozen=True)
class Report:
    """News of one capture: from its pixels (``downlink``) or from telemetry.

    `cover` is the part of the target's frame that its product does not show clear: dropped blocks,
    and cloud in the others - true cloud for a downlink, detected cloud for telemetry. `limit` is
    the cover under which the target is satisfied, `period` the one the capture is for, and
    `deadline_s` the time after which another is no longer wanted.
    """

    satellite: str
    capture: str
    target: str
    attempt: int
    source: str
    cover: float
    limit: float
    period: int = 0
    deadline_s: float | None = None

    @property
    def key(self) -> tuple[str, int]:
        """Target and period."""
        return self.target, self.period


@dataclass(frozen=True)
class Tasking:
    """A request to image a target again after attempt number `attempt`."""

    target: str
    attempt: int
    ready_s: float
    period: int = 0

    @property
    def key(self) -> tuple[str, int]:
        """Target and period."""
        return self.target, self.period


def same_satellite(report: Report, ready_s: float) -> str:
    """Ask the satellite that took the capture, whenever the tasking is ready."""
    del ready_s
    return report.satellite


class GroundOperations:
    """Collects reports during passes and turns them into tasking.

    Parameters
    ----------
    traits : PolicyTraits
    processing_delay_s : float
    max_attempts : int
    log : callable
        Receives `Ground` and `Uplink` events.
    assign : callable
        ``assign(report, ready_s) -> satellite``: whom to ask again.
    coverage : AreaCoverage
        Which frames of which areas have come down clear.
    """

    def __init__(
        self,
        traits: PolicyTraits,
        processing_delay_s: float,
        max_attempts: int,
        log: Callable[[Event], None],
        assign: Callable[[Report, float], str] = same_satellite,
        coverage: AreaCoverage | None = None,
    ) -> None:
        self._traits, self._assign = traits, assign
        self._coverage = coverage or AreaCoverage(())
        self._delay_s, self._max_attempts, self._log = processing_delay_s, max_attempts, log
        self._waiting: dict[str, list[Report]] = {}
        self._tasking: dict[str, list[Tasking]] = {}
        self._asked: set[tuple[tuple[str, int], int]] = set()
        self.satisfied: set[tuple[str, int]] = set()

    def report(self, report: Report) -> None:
        """Something happened on board that the ground will learn at the end of the next pass."""
        if report.source == "telemetry" and not self._traits.telemetry_tasking:
            return
        self._waiting.setdefault(report.satellite, []).append(report)

    def pass_ends(self, satellite: str, now_s: float) -> None:
        """Learn what came down, and prepare tasking."""
        for report in self._waiting.pop(satellite, []):
            self._learn(report, now_s)

    def contact(self, satellite: str, station: str, now_s: float) -> tuple[Tasking, ...]:
        """Send up what is ready; returns it."""
        pending = self._tasking.get(satellite, [])
        ready = tuple(t for t in pending if t.ready_s <= now_s and t.key not in self.satisfied)
        self._tasking[satellite] = [t for t in pending if t.ready_s > now_s]
        if ready:
            self._log(
                Uplink(
                    t_s=now_s,
                    satellite=satellite,
                    station=station,
                    targets=tuple(t.target for t in ready),
                    periods=tuple(t.period for t in ready),
                    reason=f"tasking for {len(ready)} unsatisfied targets was ready",
                )
            )
        return ready

    def _learn(self, report: Report, now_s: float) -> None:
        cloudy = not satisfies(report.cover, report.limit)
        covered = None
        if not cloudy and report.source == "downlink" and report.key not in self.satisfied:
            self.satisfied.add(report.key)
            covered = self._coverage.satisfied(report.target, report.period, now_s)
        ask = cloudy and self._may_ask(report, now_s)
        ready_s = now_s + self._delay_s if ask else -1.0
        if ask:
            self._asked.add((report.key, report.attempt))
            tasking = Tasking(report.target, report.attempt, ready_s, report.period)
            satellite = self._assign(report, ready_s)
            self._tasking.setdefault(satellite, []).append(tasking)
        self._log(
            Ground(
                t_s=now_s,
                satellite=report.satellite,
                capture=report.capture,
                target=report.target,
                period=report.period,
                source=report.source,
                cover=report.cover,
                satisfied=report.key in self.satisfied,
                tasking_ready_s=ready_s,
                reason=self._reason(report, cloudy, ask, now_s),
            )
        )
        if covered is not None:
            self._log(covered)

    def _too_late(self, report: Report, now_s: float) -> bool:
        """Whether another image would come after the target's deadline or period."""
        return report.deadline_s is not None and now_s + self._delay_s >= report.deadline_s

    def _may_ask(self, report: Report, now_s: float) -> bool:
        return (
            report.key not in self.satisfied
            and report.attempt < self._max_attempts
            and (report.key, report.attempt) not in self._asked
            and not self._too_late(report, now_s)
        )

    def _reason(self, report: Report, cloudy: bool, ask: bool, now_s: float) -> str:
        seen = f"{report.source} shows {report.cover:.2f} not clear"
        if not cloudy:
            return f"{seen}, under {report.limit:g}"
        if ask:
            return f"{seen}: asked for again"
        if report.key in self.satisfied:
            return f"{seen}, but another image satisfied the target"
        if report.attempt >= self._max_attempts:
            return f"{seen}, and {self._max_attempts} attempts are used up"
        if self._too_late(report, now_s):
            return f"{seen}, and the time for it is over"
        return f"{seen}, already asked for"
