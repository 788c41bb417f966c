"""Taking captures: the process that follows the plan, slews, warms the imager and exposes.

The plan is looked at anew whenever it changes, until the satellite begins to turn to a capture;
from then on that capture is committed. Pointing is held until the next slew.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Generator
from dataclasses import dataclass

import simpy

from simulator.autonomy.onboard import OnboardPlanner, PlanChange
from simulator.autonomy.planner import CaptureLimit, PlannedCapture
from simulator.geometry import slew_angle_deg
from simulator.scenario import Imager
from simulator.spacecraft.attitude import NADIR, Agility
from simulator.spacecraft.power import PowerSubsystem

GROUND_SPEED_KM_S = 7.0
"""Speed of the sub-satellite point in low Earth orbit (6.6-7.2 km/s between 800 and 400 km)."""

REPLAN_EVERY_S = 6 * 3600.0
"""The plan is extended at least this often, so that its horizon moves on."""


def exposure_s(imager: Imager) -> float:
    """Time a push-broom imager needs for one frame, s."""
    return imager.frame_km[0] / GROUND_SPEED_KM_S


@dataclass(frozen=True)
class Exposure:
    """A capture about to be taken: the plan's entry and how the satellite came to point there."""

    planned: PlannedCapture
    slew_deg: float
    slew_start_s: float


class ImagingProcess:
    """Follows and renews the plan of one satellite.

    Parameters
    ----------
    env : simpy.Environment
    imager : Imager
    agility : Agility
    power : PowerSubsystem
    planner : OnboardPlanner
    capture_limits : callable
        ``capture_limits(under_way)``: what power and storage allow at this moment, beside a
        capture of that target that is begun and not yet exposed.
    on_plan : callable
        Told of each `PlanChange`.
    on_planned : callable
        Told of each new plan: its trigger and the wall time it took.
    on_exposure : callable
        Told of each exposure, at its time.
    """

    def __init__(
        self,
        env: simpy.Environment,
        imager: Imager,
        agility: Agility,
        power: PowerSubsystem,
        planner: OnboardPlanner,
        *,
        capture_limits: Callable[[str | None], tuple[CaptureLimit, ...]],
        on_plan: Callable[[PlanChange], None],
        on_planned: Callable[[str, float], None],
        on_exposure: Callable[[Exposure], None],
    ) -> None:
        self._env, self._imager, self._agility = env, imager, agility
        self._power, self._planner = power, planner
        self._capture_limits = capture_limits
        self._on_plan, self._on_planned, self._on_exposure = on_plan, on_planned, on_exposure
        self._attitude, self._free_s = NADIR, 0.0
        self._under_way: str | None = None
        self._replanned = env.event()

    def replan(self, trigger: str) -> None:
        """Make the plan anew; the process takes it up at once."""
        now_s = self._env.now
        warm = self._power.loads_w["imager"] > 0.0
        not_before_s = now_s if warm else now_s + self._imager.warmup_s
        limits = self._capture_limits(self._under_way)
        started_s = time.perf_counter()
        changes = self._planner.replan(
            trigger,
            free_s=max(self._free_s, now_s),
            not_before_s=max(self._free_s, not_before_s),
            attitude=self._attitude,
            limits=limits,
        )
        self._on_planned(trigger, time.perf_counter() - started_s)
        for change in changes:
            self._on_plan(change)
        self._replanned.succeed()
        self._replanned = self._env.event()

    def run(self) -> Generator[simpy.Event, None, None]:
        """The process."""
        self.replan("start")
        self._env.process(self._renew())
        self._env.process(self._follow_power())
        while True:
            replanned = self._replanned
            upcoming = self._planner.plan[0] if self._planner.plan else None
            wait_s = self._wait_s(upcoming)
            if upcoming is not None and wait_s <= 0.0:
                yield from self._take(upcoming)
                continue
            self._power.switch("imager", 0.0, "imager off")
            yield replanned if upcoming is None else replanned | self._env.timeout(wait_s)

    def _wait_s(self, upcoming: PlannedCapture | None) -> float:
        """Time until the preparation of the next capture has to begin."""
        if upcoming is None:
            return math.inf
        now_s: float = self._env.now
        return upcoming.capture_s - self._preparation_s(upcoming) - now_s

    def _preparation_s(self, capture: PlannedCapture) -> float:
        slew_s = self._agility.slew_s(self._attitude, capture.attitude)
        return max(slew_s, self._imager.warmup_s)

    def _take(self, capture: PlannedCapture) -> Generator[simpy.Event, None, None]:
        """Commit to a capture: slew, warm up and expose, or skip it for lack of power."""
        self._planner.commit(capture)
        if self._power.low_power:
            self._skip(capture)
            return
        exposure = Exposure(
            capture, slew_angle_deg(self._attitude, capture.attitude), self._env.now
        )
        self._attitude, self._under_way = capture.attitude, capture.target
        self._free_s = capture.capture_s + exposure_s(self._imager)
        warm_s = capture.capture_s - self._imager.warmup_s
        for until_s in (warm_s, capture.capture_s, self._free_s):
            if until_s <= self._env.now:
                continue
            if until_s == warm_s:
                self._power.switch("imager", 0.0, "imager off while the satellite turns")
            else:
                on = f"imager on for {capture.target}"
                self._power.switch("imager", self._imager.power_w, on)
            shed = self._power.shed
            yield shed | self._env.timeout(max(until_s - self._env.now, 0.0))
            if self._power.low_power:
                self._power.switch("imager", 0.0, "imager shed")
                self._under_way = None
                self._skip(capture)
                return
        self._under_way = None
        self._on_exposure(exposure)

    def _skip(self, capture: PlannedCapture) -> None:
        self._planner.give_up(capture)
        planned = len(self._planner.plan)
        reason = "low power: the imager is shed"
        self._on_plan(PlanChange("skip", "power", capture, planned, reason))

    def _renew(self) -> Generator[simpy.Event, None, None]:
        """Extend the plan as its horizon moves on."""
        while True:
            yield self._env.timeout(REPLAN_EVERY_S)
            self.replan("horizon")

    def _follow_power(self) -> Generator[simpy.Event, None, None]:
        """Replan when the payload is shed and when it comes back."""
        while True:
            low = self._power.low_power
            yield self._power.recovered if low else self._power.shed
            self.replan("power recovered" if low else "low power")
