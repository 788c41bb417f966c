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
from simulator.telemetry.events import Event, Ground, Uplink


@dataclass(frozen=True)
class Report:
    """News of one capture: from its pixels (``downlink``) or from telemetry.

    `cover` is the part of the target's frame that its product does not show clear: dropped blocks,
    and cloud in the others - true cloud for a downlink, detected cloud for telemetry. `limit` is
    the cover under which the target is satisfied.
    """

    satellite: str
    capture: str
    target: str
    attempt: int
    source: str
    cover: float
    limit: float


@dataclass(frozen=True)
class Tasking:
    """A request to image a target again after attempt number `attempt`."""

    target: str
    attempt: int
    ready_s: float


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
    """

    def __init__(
        self,
        traits: PolicyTraits,
        processing_delay_s: float,
        max_attempts: int,
        log: Callable[[Event], None],
        assign: Callable[[Report, float], str] = same_satellite,
    ) -> None:
        self._traits, self._assign = traits, assign
        self._delay_s, self._max_attempts, self._log = processing_delay_s, max_attempts, log
        self._waiting: dict[str, list[Report]] = {}
        self._tasking: dict[str, list[Tasking]] = {}
        self._asked: set[tuple[str, int]] = set()
        self.satisfied: set[str] = set()

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
        ready = tuple(t for t in pending if t.ready_s <= now_s and t.target not in self.satisfied)
        self._tasking[satellite] = [t for t in pending if t.ready_s > now_s]
        if ready:
            self._log(
                Uplink(
                    t_s=now_s,
                    satellite=satellite,
                    station=station,
                    targets=tuple(t.target for t in ready),
                    reason=f"tasking for {len(ready)} unsatisfied targets was ready",
                )
            )
        return ready

    def _learn(self, report: Report, now_s: float) -> None:
        cloudy = not satisfies(report.cover, report.limit)
        if not cloudy and report.source == "downlink":
            self.satisfied.add(report.target)
        ask = cloudy and self._may_ask(report)
        ready_s = now_s + self._delay_s if ask else -1.0
        if ask:
            self._asked.add((report.target, report.attempt))
            tasking = Tasking(report.target, report.attempt, ready_s)
            satellite = self._assign(report, ready_s)
            self._tasking.setdefault(satellite, []).append(tasking)
        self._log(
            Ground(
                t_s=now_s,
                satellite=report.satellite,
                capture=report.capture,
                target=report.target,
                source=report.source,
                cover=report.cover,
                satisfied=report.target in self.satisfied,
                tasking_ready_s=ready_s,
                reason=self._reason(report, cloudy, ask),
            )
        )

    def _may_ask(self, report: Report) -> bool:
        return (
            report.target not in self.satisfied
            and report.attempt < self._max_attempts
            and (report.target, report.attempt) not in self._asked
        )

    def _reason(self, report: Report, cloudy: bool, ask: bool) -> str:
        seen = f"{report.source} shows {report.cover:.2f} not clear"
        if not cloudy:
            return f"{seen}, under {report.limit:g}"
        if ask:
            return f"{seen}: asked for again"
        if report.target in self.satisfied:
            return f"{seen}, but another image satisfied the target"
        if report.attempt >= self._max_attempts:
            return f"{seen}, and {self._max_attempts} attempts are used up"
        return f"{seen}, already asked for"
