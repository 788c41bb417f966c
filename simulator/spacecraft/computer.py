"""The payload computer: one queue, one frame at a time, under power, energy and time limits.

A frame waits while the payload is shed (low power) or out, and while the energy of the present
orbit is used up. Then the payload link is asked - that is where real inference happens - and the
latency it reports passes in simulated time at the power it reports. Under real-time pace asking
takes time and energy by itself: there a frame is expected to cost what the last one did. A frame
that is not finished by its deadline is given up: it stays unprocessed and is counted. A payload
that dies or hangs gives up nothing: its frame is over when the watchdog has noticed, and then the
payload is away.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass
from typing import Any

import simpy

from payload.frame import Frame, FrameResult, PayloadLink
from simulator.environment.frames import CapturedPixels
from simulator.pace import RealtimeEnvironment
from simulator.spacecraft.power import PowerSubsystem
from simulator.telemetry.events import Event, Fault

DEATHS = ("out_of_memory", "crashed", "timeout", "link_lost")
"""Statuses after which the watchdog restarts the payload."""

WATCHDOG_RESTART_S = 30.0
"""Time the payload is away after it died of itself: a typical embedded Linux boot."""


@dataclass(frozen=True)
class Job:
    """A frame on its way through the payload."""

    capture: str
    target: str
    captured_s: float
    pixels: CapturedPixels


@dataclass(frozen=True)
class Outcome:
    """What became of a job.

    Attributes
    ----------
    status : str
        ``ok``, ``deadline_missed``, ``mission_end`` or a failing status of `FrameResult`.
    result : FrameResult or None
        None when the frame never reached the model.
    start_s : float
        When the work began for the last time (or was given up).
    busy_s, energy_wh : float
        Time the payload worked on the frame and what that took.
    """

    job: Job
    status: str
    result: FrameResult | None
    start_s: float
    busy_s: float
    energy_wh: float


@dataclass(frozen=True)
class ComputerLimits:
    """The payload's budgets (scenario section ``payload``)."""

    power_w: float
    energy_wh_per_orbit: float
    orbit_s: float
    frame_deadline_s: float


@dataclass(frozen=True)
class Outage:
    """A span in which the payload is off by order of the scenario."""

    start_s: float
    end_s: float


class PayloadComputer:
    """Queue and process of the payload of one satellite.

    Parameters
    ----------
    env : simpy.Environment
    satellite : str
    link : PayloadLink
    power : PowerSubsystem
    limits : ComputerLimits
    outages : tuple of Outage
    idle_power_w : float
    reboots_s : mapping of str to float
        Time away after a death, by status, where the scenario's faults say so; the watchdog's
        otherwise.
    log, on_outcome : callable
        Take an event, and what became of a frame.
    """

    def __init__(
        self,
        env: simpy.Environment,
        satellite: str,
        link: PayloadLink,
        power: PowerSubsystem,
        limits: ComputerLimits,
        outages: tuple[Outage, ...],
        *,
        idle_power_w: float,
        reboots_s: Mapping[str, float],
        log: Callable[[Event], None],
        on_outcome: Callable[[Outcome], None],
    ) -> None:
        self._env, self._satellite, self._link = env, satellite, link
        self._power, self._limits, self._outages = power, limits, outages
        self._idle_power_w, self._reboots_s = idle_power_w, reboots_s
        self._log, self._on_outcome = log, on_outcome
        self._queue: simpy.Store = simpy.Store(env)
        self._current: Job | None = None
        self._working_w: float | None = None
        self._orbit, self._orbit_energy_wh = -1, 0.0
        self._foreseen_wh = 0.0

    def submit(self, job: Job) -> None:
        """Put a frame into the queue."""
        self._queue.put(job)

    def pending(self) -> tuple[Job, ...]:
        """Frames not finished, oldest first."""
        return (*((self._current,) if self._current else ()), *self._queue.items)

    def run(self) -> Generator[simpy.Event, Any, None]:
        """The process: one frame after the other."""
        self._env.process(self._follow_availability())
        while True:
            job: Job = yield self._queue.get()
            self._current = job
            outcome = yield from self._work(job)
            self._current = None
            self._on_outcome(outcome)
            if outcome.status in DEATHS:
                yield from self._restart(job, outcome)

    def _work(self, job: Job) -> Generator[simpy.Event, None, Outcome]:
        deadline_s = job.captured_s + self._limits.frame_deadline_s
        busy_s = energy_wh = worked_s = asked_s = 0.0
        result: FrameResult | None = None
        while True:
            yield from self._await_switched_on(deadline_s)
            if result is None and isinstance(self._env, RealtimeEnvironment):
                yield from self._await_orbit_energy(self._foreseen_wh, deadline_s)
            if self._available() and self._env.now < deadline_s:
                if result is None:
                    asked_s = self._env.now
                    result = yield from self._ask(job)
                    worked_s = self._env.now - asked_s
                    busy_s += worked_s
                    energy_wh += self._spend(self._asked_power_w(), asked_s)
                    # One frame an orbit is always begun, whatever the last one took.
                    took_wh = max(energy_wh, result.energy_wh)
                    self._foreseen_wh = min(took_wh, self._limits.energy_wh_per_orbit)
                yield from self._await_orbit_energy(_left_wh(result, worked_s), deadline_s)
            on_s = self._env.now
            start_s = asked_s if 0.0 < worked_s == on_s - asked_s else on_s
            if on_s >= deadline_s:
                return Outcome(job, "deadline_missed", result, start_s, busy_s, energy_wh)
            if result is None or not self._available():
                continue
            ends_s = on_s + max(result.latency_s - worked_s, 0.0)
            given_up_s = math.inf if result.status in DEATHS else deadline_s
            power_w = _active_power_w(result)
            yield from self._run(min(ends_s, given_up_s), power_w, job.capture)
            busy_s += self._env.now - on_s
            energy_wh += self._spend(power_w, on_s)
            if self._env.now >= min(ends_s, given_up_s):
                status = "deadline_missed" if ends_s > given_up_s else result.status
                return Outcome(job, status, result, start_s, busy_s, energy_wh)

    def _ask(self, job: Job) -> Generator[simpy.Event, Any, FrameResult]:
        """Have the link process the frame. Only under real-time pace does time pass meanwhile."""
        occasion = f"{job.target} at {job.captured_s!r} s"
        frame = Frame(job.capture, job.pixels.reflectance, occasion)
        if not isinstance(self._env, RealtimeEnvironment):
            return self._link.process(frame)
        self._working_w = self._asked_power_w()
        self._set_load(f"payload works on {job.capture}")
        result: FrameResult = yield self._env.in_background(lambda: self._link.process(frame))
        self._working_w = None
        self._set_load("payload idle")
        return result

    def _asked_power_w(self) -> float:
        """Mean power while a frame is processed whose own figure is not known yet."""
        return min(self._link.describe().active_power_w, self._limits.power_w)

    def _run(
        self, ends_s: float, power_w: float, capture: str
    ) -> Generator[simpy.Event, None, None]:
        """Work until `ends_s`, or until the payload is switched off."""
        self._working_w = power_w
        self._set_load(f"payload works on {capture}")
        off_s = min((o.start_s for o in self._outages if o.start_s > self._env.now), default=ends_s)
        yield self._env.timeout(max(min(ends_s, off_s) - self._env.now, 0.0)) | self._power.shed
        self._working_w = None
        self._set_load("payload idle")

    def _spend(self, power_w: float, start_s: float) -> float:
        """Book the energy of a stretch of work to the orbit in which it began, Wh."""
        worked_s: float = self._env.now - start_s
        energy_wh = power_w * worked_s / 3600.0
        self._orbit_energy_wh = self._spent_wh(start_s) + energy_wh
        self._orbit = orbit_number(start_s, self._limits.orbit_s)
        return energy_wh

    def _spent_wh(self, t_s: float) -> float:
        same_orbit = orbit_number(t_s, self._limits.orbit_s) == self._orbit
        return self._orbit_energy_wh if same_orbit else 0.0

    def _await_orbit_energy(
        self, energy_wh: float, deadline_s: float
    ) -> Generator[simpy.Event, None, None]:
        """Wait for an orbit that can still pay for the work, at the longest to the deadline."""
        while energy_wh > 0.0 and self._env.now < deadline_s:
            now_s = self._env.now
            if self._spent_wh(now_s) + energy_wh <= self._limits.energy_wh_per_orbit:
                return
            orbit_s = self._limits.orbit_s
            next_orbit_s = (orbit_number(now_s, orbit_s) + 1) * orbit_s
            yield self._env.timeout(min(next_orbit_s, deadline_s) - now_s)

    def _await_switched_on(self, deadline_s: float) -> Generator[simpy.Event, None, None]:
        """Wait until the payload is on, at the longest to the deadline."""
        while not self._available() and self._env.now < deadline_s:
            outage = self._outage_at(self._env.now)
            if outage is not None:
                yield self._env.timeout(min(outage.end_s, deadline_s) - self._env.now)
            else:
                yield self._power.recovered | self._env.timeout(deadline_s - self._env.now)

    def _available(self) -> bool:
        return not self._power.low_power and self._outage_at(self._env.now) is None

    def _outage_at(self, t_s: float) -> Outage | None:
        return next((o for o in self._outages if o.start_s <= t_s < o.end_s), None)

    def _set_load(self, reason: str) -> None:
        """The payload draws nothing when off, its active power at work, else its idle power."""
        idle_or_active_w = self._idle_power_w if self._working_w is None else self._working_w
        self._power.switch("payload", idle_or_active_w if self._available() else 0.0, reason)

    def _follow_availability(self) -> Generator[simpy.Event, None, None]:
        """Keep the load right when the payload is shed or out, and when it comes back."""
        edges = sorted({e for o in self._outages for e in (o.start_s, o.end_s)})
        written: set[Outage] = set()  # low power at the very start of one comes here again
        while True:
            self._set_load("payload on" if self._available() else "payload off")
            for outage in self._outages:
                if outage.start_s <= self._env.now and outage not in written:
                    written.add(outage)
                    why = "switched off by the scenario"
                    # Waiting for it may end a rounding error late.
                    self._fault("payload_outage", "", outage.end_s, why, outage.start_s)
            waits = [self._power.recovered if self._power.low_power else self._power.shed]
            edge_s = next((e for e in edges if e > self._env.now), None)
            if edge_s is not None:
                waits.append(self._env.timeout(edge_s - self._env.now))
            yield simpy.AnyOf(self._env, waits)

    def _restart(self, job: Job, outcome: Outcome) -> Generator[simpy.Event, None, None]:
        """The watchdog brings the payload back; nothing is processed meanwhile."""
        detail = outcome.result.detail if outcome.result else ""
        away_s = self._reboots_s.get(outcome.status, WATCHDOG_RESTART_S)
        self._fault(outcome.status, job.capture, self._env.now + away_s, detail)
        self._link.reset()
        yield self._env.timeout(away_s)

    def _fault(
        self, kind: str, capture: str, end_s: float, detail: str, began_s: float | None = None
    ) -> None:
        self._log(
            Fault(
                t_s=self._env.now if began_s is None else began_s,
                satellite=self._satellite,
                kind=kind,
                component="payload",
                capture=capture,
                end_s=end_s,
                detail=detail,
            )
        )


def _active_power_w(result: FrameResult) -> float:
    """Mean power over the frame's latency; the link reports energy and time."""
    return result.energy_wh * 3600.0 / result.latency_s if result.latency_s > 0.0 else 0.0


def _left_wh(result: FrameResult, worked_s: float) -> float:
    """What the work on a frame still takes after so long of it, Wh."""
    if worked_s >= result.latency_s:
        return 0.0
    return result.energy_wh * ((result.latency_s - worked_s) / result.latency_s)


def orbit_number(t_s: float, orbit_s: float) -> int:
    """The n for which ``n * orbit_s <= t_s < (n + 1) * orbit_s``, as these products are rounded.

    The quotient alone can fall below n at the very instant n * orbit_s, and a process that waits
    for that instant would then wait for it for ever.
    """
    number = math.floor(t_s / orbit_s)
    return number + 1 if (number + 1) * orbit_s <= t_s else number
