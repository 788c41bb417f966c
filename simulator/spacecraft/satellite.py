"""One satellite: its parts, wired together, and what a result means for its plan.

The parts are the power subsystem, the imaging process, the payload computer, the frame path and
the radio. The satellite is where they meet: it keeps the tasks, hears of every look at a target,
and decides whether to look again - on board at once, or when the ground says so.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import simpy

from payload.frame import PayloadLink
from simulator.autonomy.onboard import OnboardPlanner, PlanChange
from simulator.autonomy.policies import satisfies
from simulator.autonomy.prospects import Look
from simulator.ground.operations import GroundOperations, Report
from simulator.scenario import DataHandling
from simulator.scenario import Satellite as SatelliteSection
from simulator.spacecraft.attitude import Agility
from simulator.spacecraft.battery import (
    SOLAR_CONSTANT_W_M2,
    Battery,
    BatteryState,
    GenerationCurve,
)
from simulator.spacecraft.budget import CaptureBudget
from simulator.spacecraft.computer import (
    ComputerLimits,
    Job,
    Outage,
    Outcome,
    PayloadComputer,
)
from simulator.spacecraft.flight import Flight
from simulator.spacecraft.frame_path import FramePath, Screen
from simulator.spacecraft.handling import Handling
from simulator.spacecraft.imaging import Exposure, ImagingProcess
from simulator.spacecraft.look_ahead import CloudsSeen, LookAheadCamera
from simulator.spacecraft.outbox import Outbox
from simulator.spacecraft.power import PowerLimits, PowerSubsystem
from simulator.spacecraft.radio import DownlinkQueue, QueuedProduct, Radio
from simulator.spacecraft.storage import GIB, Movement, Storage
from simulator.spacecraft.taken import FramePolicy, PictureBook, PixelSource, Taken
from simulator.telemetry.events import Event, Fault, Plan
from simulator.telemetry.events import Storage as StorageEvent
from simulator.telemetry.host_events import HostPlanning


@dataclass(frozen=True)
class Rules:
    """What the scenario fixes for every satellite's autonomy."""

    policy: FramePolicy
    data_handling: DataHandling
    max_attempts: int
    duration_s: float


class Satellite:
    """See the module's docstring.

    Parameters
    ----------
    env : simpy.Environment
    section : SatelliteSection
        The satellite's part of the scenario.
    flight : Flight
        Its geometry.
    rules : Rules
    planner : OnboardPlanner
    ground : GroundOperations
    link : PayloadLink or None
        None for policies without a model on board.
    antennas : dict of str to simpy.PriorityResource
        Antennas by station, shared by all satellites.
    outages : tuple of Outage
        Spans in which the payload is off.
    frame_wh : float
        Energy of the payload's work on a frame, Wh.
    reboots_s : mapping of str to float
        Time the payload is away after deaths that the scenario orders, by status.
    pixels, clouds, pictures, log : callable
        Weather and scenes, what the look-ahead camera sees, the pictures of captures, and the
        event log.
    screen : callable or None
        The ground's own model; None where the ground sees the truth.
    """

    def __init__(
        self,
        env: simpy.Environment,
        section: SatelliteSection,
        flight: Flight,
        rules: Rules,
        planner: OnboardPlanner,
        ground: GroundOperations,
        link: PayloadLink | None,
        antennas: dict[str, simpy.PriorityResource],
        outages: tuple[Outage, ...],
        *,
        frame_wh: float,
        reboots_s: Mapping[str, float],
        pixels: PixelSource,
        clouds: CloudsSeen,
        pictures: PictureBook,
        log: Callable[[Event], None],
        screen: Screen | None = None,
    ) -> None:
        self._env, self.name, self._section = env, section.name, section
        self._flight, self._rules, self.planner, self._ground = flight, rules, planner, ground
        self._log = log
        self._link = link
        self.power = _power(env, section, flight, log)
        self.storage = Storage(int(section.storage_gib * GIB), self._on_movement)
        self.budget = CaptureBudget(
            section,
            flight,
            self.power,
            self.storage,
            link,
            frame_wh=frame_wh,
            drops_for_room=rules.policy.traits.ranks_downlink,
            duration_s=rules.duration_s,
            quotas=rules.data_handling.storage_quotas,
            priorities={task.target.name: task.target.priority for task in planner.tasks.values()},
        )
        queue = DownlinkQueue()
        self.imaging = ImagingProcess(
            env,
            section.imager,
            Agility(section.agility.slew_rate_deg_s, section.agility.settle_s),
            self.power,
            planner,
            capture_limits=lambda under_way: self.budget.limits(env.now, under_way),
            on_plan=self._on_plan,
            on_planned=self._on_planned,
            on_exposure=self._on_exposure,
        )
        self.look_ahead = None
        if section.look_ahead is not None:
            self.look_ahead = LookAheadCamera(
                env,
                self.name,
                section.look_ahead,
                flight.glances,
                self.power,
                planner,
                clouds=clouds,
                replan=self.imaging.replan,
                log=log,
            )
        self.computer = (
            None
            if link is None
            else self._payload_computer(link, section, flight, outages, reboots_s)
        )
        self.radio = Radio(
            env,
            self.name,
            flight.passes,
            antennas,
            self.power,
            self.storage,
            queue,
            power_w=section.radio.power_w,
            log=log,
            on_contact=self._on_contact,
            on_delivered=self._on_delivered,
            on_contact_ends=self._on_contact_ends,
            on_los=self._on_los,
        )
        handling = Handling(rules.data_handling, section.imager)
        self.outbox = Outbox(
            env,
            self.name,
            rules.policy,
            handling.quotas,
            self.storage,
            queue,
            desk=self,
            to_radio=self.radio.enqueue,
            log=log,
        )
        self.frames = FramePath(
            env,
            self.name,
            section.imager,
            rules.policy,
            handling,
            self.storage,
            self.outbox,
            pixels=pixels,
            screen=screen,
            pictures=pictures,
            desk=self,
            to_payload=self._to_payload,
            log=log,
        )

    def start(self) -> None:
        """Start the processes; the order fixes what happens first at equal times."""
        self.power.switch("bus", self._section.power.bus_load_w, "bus on")
        self._env.process(self.power.run())
        if self.computer is not None:
            self._env.process(self.computer.run())
        self._env.process(self.imaging.run())
        if self.look_ahead is not None:
            self._env.process(self.look_ahead.run())
        self._env.process(self.radio.run())

    def finish(self) -> None:
        """Close the books: frames still queued on board stay unprocessed."""
        for job in self.computer.pending() if self.computer else ():
            self.frames.detected(Outcome(job, "mission_end", None, self._env.now, 0.0, 0.0))
        self.power.finish()

    # What a look at a target means --------------------------------------------------------

    def looked(self, taken: Taken, not_clear: float | None) -> None:
        """A frame was judged on board: perhaps look again, and tell the ground."""
        if not_clear is None:
            return
        if self._rules.policy.traits.onboard_tasking:
            self.planner.looked(taken.target.name, Look(taken.captured_s, not_clear))
            if not satisfies(not_clear, self._limit_of(taken)):
                self._look_again(taken, "result")
        self._report(taken, "telemetry", not_clear)

    def lost(self, taken: Taken) -> None:
        """A frame was lost for lack of storage: it has to be taken again."""
        if self._rules.policy.traits.onboard_tasking:
            self._look_again(taken, "overflow")
        self._report(taken, "overflow", 1.0)

    def previewed(self, taken: Taken, kind: str, not_clear: float) -> None:
        """The ground has a preview and can answer it after the contact."""
        self._report(taken, kind, not_clear)

    def delivered(self, taken: Taken, not_clear: float) -> None:
        """The ground has all of a product and can judge it at the end of the contact."""
        self._report(taken, "downlink", not_clear)

    def _look_again(self, taken: Taken, trigger: str) -> None:
        key = taken.target.name, taken.period
        task = self.planner.tasks[key]
        if task.attempts == taken.attempt and task.may_reopen(
            self._rules.max_attempts, self._env.now
        ):
            self.planner.tasks[key] = task.reopened()
            self.imaging.replan(trigger)

    def _report(self, taken: Taken, source: str, cover: float) -> None:
        by_model = source == "downlink" and taken.screened is not None
        self._ground.report(
            Report(
                self.name,
                taken.capture,
                taken.target.name,
                taken.attempt,
                source,
                cover,
                self._limit_of(taken),
                taken.period,
                taken.deadline_s,
                taken.screened.mask_sha256 if taken.screened and by_model else "",
                self._env.now,
            )
        )

    def _limit_of(self, taken: Taken) -> float:
        own = taken.target.max_cloud_fraction
        return self._rules.policy.limits.target_cloud_fraction if own is None else own

    # Callbacks of the parts -----------------------------------------------------------------

    def _on_exposure(self, exposure: Exposure) -> None:
        key = exposure.planned.key
        task = self.planner.tasks[key]
        self.planner.tasks[key] = task.imaged()
        self.frames.expose(
            exposure,
            task.target,
            task.deadline_s,
            attempt=task.attempts + 1,
            reacquisition=task.reacquisition,
        )

    def _to_payload(self, job: Job) -> None:
        if self.computer is not None:
            self.computer.submit(job)

    def _on_delivered(self, product: QueuedProduct) -> None:
        self.outbox.delivered(product)

    def _on_contact(self, station: str) -> None:
        """The ground is in view: new tasking, answers and a fresh forecast come up."""
        message = self._ground.contact(self.name, station, self._env.now)
        self.outbox.answer(message.requested, message.released)
        self.planner.new_forecast(self._env.now)
        for request in message.tasking:
            key = request.target, request.period
            task = self.planner.tasks[key]
            if task.attempts <= request.attempt and task.may_reopen(
                self._rules.max_attempts, self._env.now
            ):
                self.planner.tasks[key] = task.handed_over(request.attempt)
        self.imaging.replan("uplink" if message.tasking else "forecast")

    def _on_contact_ends(self) -> None:
        """The link is over, at LOS or before: the ground has what it will have of this pass."""
        self._ground.contact_ends(self.name, self._env.now)

    def _on_los(self) -> None:
        """A pass is over: storage has the room it will have.

        One that was not served freed none, although the plan had counted on it.
        """
        self.imaging.replan("pass")

    def _on_payload_event(self, event: Event) -> None:
        """Write down what the payload computer says; a fault makes the plan anew."""
        self._log(event)
        if isinstance(event, Fault):
            self.imaging.replan("fault")

    def _on_movement(self, movement: Movement) -> None:
        storage = self.storage
        self._log(
            StorageEvent(
                t_s=self._env.now,
                satellite=self.name,
                capacity_bytes=storage.capacity_bytes,
                captured_bytes=storage.captured_bytes,
                derived_bytes=storage.derived_bytes,
                sent_bytes=storage.sent_bytes,
                compressed_bytes=storage.compressed_away_bytes,
                dropped_policy_bytes=storage.dropped_bytes["policy"],
                dropped_overflow_bytes=storage.dropped_bytes["overflow"],
                dropped_fault_bytes=storage.dropped_bytes["fault"],
                dropped_released_bytes=storage.dropped_bytes["released"],
                stored_bytes=storage.stored_bytes,
                queued_bytes=storage.queued_bytes,
                capture=movement.capture,
                product=movement.product,
                change=movement.change,
                delta_bytes=movement.delta_bytes,
                reason=f"{movement.change.replace('_', ' by ', 1)}: {movement.capture}",
            )
        )

    def _on_plan(self, change: PlanChange) -> None:
        self._log(
            Plan(
                t_s=self._env.now,
                satellite=self.name,
                change=change.change,
                trigger=change.trigger,
                target=change.capture.target,
                period=change.capture.period,
                capture_s=change.capture.capture_s,
                expected_value=change.capture.value,
                forecast_cover=change.capture.forecast_cover,
                planned_captures=change.planned_captures,
                reason=change.reason,
            )
        )

    def _on_planned(self, trigger: str, wall_s: float) -> None:
        solution = self.planner.solution
        gap_fraction = solution.gap_fraction
        self._log(
            HostPlanning(
                t_s=self._env.now,
                satellite=self.name,
                trigger=trigger,
                opportunities=self.planner.offered,
                captures=len(solution.captures),
                value=solution.value,
                bound=-1.0 if solution.bound is None else solution.bound,
                gap_fraction=-1.0 if gap_fraction is None else gap_fraction,
                wall_s=wall_s,
                ended=solution.ended,
            )
        )

    def _payload_computer(
        self,
        link: PayloadLink,
        section: SatelliteSection,
        flight: Flight,
        outages: tuple[Outage, ...],
        reboots_s: Mapping[str, float],
    ) -> PayloadComputer:
        return PayloadComputer(
            self._env,
            self.name,
            link,
            self.power,
            ComputerLimits(
                section.payload.power_limit_w,
                section.payload.energy_limit_wh_per_orbit,
                flight.period_s,
                section.payload.frame_deadline_s,
            ),
            outages,
            idle_power_w=link.describe().idle_power_w,
            reboots_s=reboots_s,
            log=self._on_payload_event,
            on_outcome=lambda outcome: self.frames.detected(outcome),
        )


def _power(
    env: simpy.Environment,
    section: SatelliteSection,
    flight: Flight,
    log: Callable[[Event], None],
) -> PowerSubsystem:
    """The power subsystem at the start of the mission."""
    power = section.power
    nominal_w = SOLAR_CONSTANT_W_M2 * power.panel_area_m2 * power.panel_efficiency
    curve = GenerationCurve(flight.generation.t_s, flight.generation.fraction * nominal_w)
    end_s = float(curve.t_s[-1])  # a shadow that lasts on is cut off there: sunlight stays as it is
    changes = sorted({t for shadow in flight.shadows for t in (shadow.start_s, shadow.end_s)})
    return PowerSubsystem(
        env,
        section.name,
        Battery(power.battery_wh, curve),
        BatteryState(0.0, power.battery_wh * power.initial_fraction),
        PowerLimits(
            power.battery_wh * power.low_power_fraction, power.battery_wh * power.recover_fraction
        ),
        tuple(t for t in changes if 0.0 < t < end_s),
        log,
    )
