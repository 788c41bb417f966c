"""The ground loop: what the ground learns, how long it thinks, and what it asks for next.

At the end of each contact - at LOS, or where an outage, the end of an antenna's assignment or an
empty battery cuts the pass short - the ground knows the products that came down completely (their
cover is then judged with the truth, which favours the policies that lean on it, or by a model of
the ground's own: `ground.screening`) and, for policies that report by telemetry, what the payload
saw in frames decided since the last contact. A target that is not satisfied is asked for again:
the tasking is ready after the processing delay and goes up at the next contact - to the satellite
that can image the target first after its next uplink, where several fly; those that look again on
board on their own keep their targets.

A preview is answered: the pixels behind it are asked for where it shows enough clear ground and
nothing better of the target is down yet, else they may go. The answer goes up in a later contact.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from simulator.autonomy.policies import PolicyTraits, satisfies
from simulator.ground.coverage import AreaCoverage
from simulator.telemetry.events import Event, Ground, Uplink

PREVIEWS = ("mask", "thumbnail")
"""Sources that are answered."""


@dataclass(frozen=True)
class Report:
    """News of one capture: from its pixels (``downlink``) or from telemetry.

    `source` may be the kind of a preview, too. `cover` is the part of the target's region that its
    product does not show clear: dropped blocks, and cloud in the others - true cloud for a downlink
    (or by the ground's own mask, which `mask_sha256` names), detected cloud for telemetry. `limit`
    is the cover under which the target is satisfied, `period` the one the capture is for, and
    `deadline_s` the time after which another is no longer wanted. `came_s` is when it came about:
    for a downlink, when all of it was down.
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
    mask_sha256: str = ""
    came_s: float = 0.0

    @property
    def key(self) -> tuple[str, int]:
        """Target and period."""
        return self.target, self.period


@dataclass(frozen=True)
class PreviewRules:
    """When pixels are asked for, and how long the ground takes to say so."""

    request_max_cloud_fraction: float = 1.0
    request_delay_s: float = 0.0


@dataclass(frozen=True)
class Message:
    """What goes up in one contact."""

    tasking: tuple[Tasking, ...] = ()
    requested: tuple[str, ...] = ()
    released: tuple[str, ...] = ()


@dataclass(frozen=True)
class Answer:
    """The ground's answer to a preview: whether the pixels of a capture are wanted.

    `key` is its target and period.
    """

    capture: str
    key: tuple[str, int]
    wanted: bool
    ready_s: float


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
    """Collects reports during contacts and turns them into tasking.

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
    previews : PreviewRules, optional
        How previews are answered.
    """

    def __init__(
        self,
        traits: PolicyTraits,
        processing_delay_s: float,
        max_attempts: int,
        log: Callable[[Event], None],
        assign: Callable[[Report, float], str] = same_satellite,
        coverage: AreaCoverage | None = None,
        previews: PreviewRules | None = None,
    ) -> None:
        self._traits, self._assign = traits, assign
        self._coverage = coverage or AreaCoverage(())
        self._previews = previews or PreviewRules()
        self._answers: dict[str, list[Answer]] = {}
        self._delay_s, self._max_attempts, self._log = processing_delay_s, max_attempts, log
        self._waiting: dict[str, list[Report]] = {}
        self._tasking: dict[str, list[Tasking]] = {}
        self._asked: set[tuple[tuple[str, int], int]] = set()
        self.satisfied: set[tuple[str, int]] = set()

    def report(self, report: Report) -> None:
        """Something happened on board that the ground will learn at the end of the next contact."""
        if report.source == "telemetry" and not self._traits.telemetry_tasking:
            return
        self._waiting.setdefault(report.satellite, []).append(report)

    def contact_ends(self, satellite: str, now_s: float) -> None:
        """Learn what came down, and prepare tasking."""
        for report in self._waiting.pop(satellite, []):
            self._learn(report, now_s)

    def contact(self, satellite: str, station: str, now_s: float) -> Message:
        """Send up what is ready; returns it."""
        pending = self._tasking.get(satellite, [])
        ready = tuple(t for t in pending if t.ready_s <= now_s and t.key not in self.satisfied)
        self._tasking[satellite] = [t for t in pending if t.ready_s > now_s]
        unsaid = self._answers.get(satellite, [])
        answers = [answer for answer in unsaid if answer.ready_s <= now_s]
        self._answers[satellite] = [answer for answer in unsaid if answer.ready_s > now_s]
        wanted = {a.capture for a in answers if a.wanted and a.key not in self.satisfied}
        message = Message(
            ready,
            tuple(a.capture for a in answers if a.capture in wanted),
            tuple(a.capture for a in answers if a.capture not in wanted),
        )
        if ready or answers:
            self._log(
                Uplink(
                    t_s=now_s,
                    satellite=satellite,
                    station=station,
                    targets=tuple(t.target for t in ready),
                    periods=tuple(t.period for t in ready),
                    requested=message.requested,
                    released=message.released,
                    reason=_said(message),
                )
            )
        return message

    def _learn(self, report: Report, now_s: float) -> None:
        cloudy = not satisfies(report.cover, report.limit)
        covered = None
        if not cloudy and report.source == "downlink" and report.key not in self.satisfied:
            self.satisfied.add(report.key)
            covered = self._coverage.satisfied(
                report.target, report.period, now_s, delivered_s=report.came_s
            )
        ask = cloudy and self._may_ask(report, now_s)
        ready_s = now_s + self._delay_s if ask else -1.0
        if ask:
            self._asked.add((report.key, report.attempt))
            tasking = Tasking(report.target, report.attempt, ready_s, report.period)
            satellite = self._assign(report, ready_s)
            self._tasking.setdefault(satellite, []).append(tasking)
        answer = self._answer(report, now_s) if report.source in PREVIEWS else None
        self._log(
            Ground(
                t_s=now_s,
                satellite=report.satellite,
                capture=report.capture,
                target=report.target,
                period=report.period,
                source=report.source,
                cover=report.cover,
                mask_sha256=report.mask_sha256,
                satisfied=report.key in self.satisfied,
                tasking_ready_s=ready_s,
                answer="" if answer is None else "request" if answer.wanted else "release",
                answer_ready_s=-1.0 if answer is None else answer.ready_s,
                reason=self._reason(report, cloudy, ask, now_s),
            )
        )
        if covered is not None:
            self._log(covered)

    def _answer(self, report: Report, now_s: float) -> Answer:
        """Whether the pixels behind a preview are wanted; said in a later contact."""
        answer = Answer(
            report.capture,
            report.key,
            report.key not in self.satisfied
            and report.cover <= self._previews.request_max_cloud_fraction,
            now_s + self._previews.request_delay_s,
        )
        self._answers.setdefault(report.satellite, []).append(answer)
        return answer

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


def _said(message: Message) -> str:
    """One sentence for people on what goes up."""
    said = []
    if message.tasking:
        said.append(f"tasking for {len(message.tasking)} unsatisfied targets was ready")
    if message.requested:
        said.append(f"the pixels of {len(message.requested)} captures are asked for")
    if message.released:
        said.append(f"those of {len(message.released)} may go")
    return "; ".join(said)
