"""A mission from scenario to run folder. Read this first, top to bottom.

`run_mission` does five things: it computes the geometry of every satellite, opens the payloads and
the scenes, wires satellites and ground together, lets SimPy run from event to event, and leaves a
run folder whose metrics are computed from its events alone.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import psutil
import simpy
from numpy.typing import NDArray

from payload.card_library import load_card
from payload.frame import PayloadLink
from simulator.autonomy.onboard import OnboardPlanner
from simulator.autonomy.planners import make_planner
from simulator.autonomy.policies import POLICIES, Thresholds
from simulator.autonomy.prospects import Prospects
from simulator.autonomy.tasking import Task, TaskKey, chances, tasks_of
from simulator.environment.frames import CapturedPixels
from simulator.ground.antennas import antenna_events
from simulator.ground.coverage import AreaCoverage
from simulator.ground.handover import soonest
from simulator.ground.operations import GroundOperations, PreviewRules, same_satellite
from simulator.ground.screening import PERFECT, ModelScreening
from simulator.inputs import input_hashes
from simulator.pace import RealtimeEnvironment, make_environment
from simulator.scenario import PayloadOutage, Scenario, resolved_yaml
from simulator.scenario import Satellite as SatelliteSection
from simulator.spacecraft.attitude import Agility
from simulator.spacecraft.boxes import (
    box_payloads,
    frame_energy_wh,
    open_payloads,
    ordered_reboots_s,
)
from simulator.spacecraft.computer import Outage
from simulator.spacecraft.flight import Flight
from simulator.spacecraft.imaging import exposure_s
from simulator.spacecraft.satellite import Rules, Satellite
from simulator.spacecraft.taken import FramePolicy, PictureBook
from simulator.surroundings import write_surroundings
from simulator.telemetry.events import Eclipse
from simulator.telemetry.host_events import HostPace, HostRun
from simulator.telemetry.manifest import new_manifest, run_folder_name
from simulator.telemetry.metrics import compute_metrics
from simulator.telemetry.run_folder import RunFolder, RunWriter
from simulator.world import World, build_world

Progress = Callable[[float, str], None]
"""``progress(fraction, what)``: told as the mission goes on."""

PROGRESS_STEPS = 200

END_PATIENCE_S = 30.0
"""Wall time for which the end of a real-time mission waits for answers still under way.

They change nothing any more, but who is cut off in mid-frame cannot say how it is.
"""


def run_mission(scenario: Scenario, out_dir: Path, *, progress: Progress | None = None) -> Path:
    """Simulate a scenario and leave a run folder.

    Parameters
    ----------
    scenario : Scenario
    out_dir : Path
        Folder in which the run folder is made.
    progress : callable, optional

    Returns
    -------
    Path
        The run folder.

    Raises
    ------
    ScenarioError, OrbitError, SceneError, ModelError, DeviceError, LinkError, RunFolderError
        When something the scenario names cannot be used; nothing has been simulated then.
    """
    report = progress or _say_nothing
    started = time.perf_counter()
    report(0.0, "geometry")
    world = build_world(scenario)
    geometry_s = time.perf_counter() - started
    with ExitStack() as stack:
        links = open_payloads(scenario, stack)
        screening = _screening(scenario)
        text = resolved_yaml(scenario)
        manifest = new_manifest(
            name=scenario.name,
            seed=scenario.seed,
            epoch=scenario.epoch.isoformat(),
            duration_s=scenario.duration_s,
            scenario_yaml=text,
            models={link.describe().model: link.describe().model_sha256 for link in links.values()}
            | ({} if screening is None else {screening.card.name: screening.card.sha256}),
            scenes=world.library.manifest_sha256(),
            inputs=input_hashes(scenario),
            scenario_folder=str(scenario.folder),
        )
        folder = out_dir / run_folder_name(manifest)
        writer = stack.enter_context(RunWriter(folder, manifest=manifest))
        write_surroundings(writer, scenario, world, text)
        simulate(scenario, world, links, writer, report, screening)
        total_s = time.perf_counter() - started
        for phase, wall_s in (
            ("geometry", geometry_s),
            ("mission", total_s - geometry_s),
            ("total", total_s),
        ):
            _write_host(writer, scenario.duration_s, phase, wall_s)
        writer.seal()
        metrics = compute_metrics(RunFolder.open(folder))
        writer.complete(metrics.to_dict())
    report(1.0, "done")
    return folder


def _say_nothing(fraction: float, what: str) -> None:
    """Report no progress."""


# 1. The simulation -------------------------------------------------------------------------


def simulate(
    scenario: Scenario,
    world: World,
    links: dict[str, PayloadLink],
    writer: RunWriter,
    report: Progress,
    screening: ModelScreening | None = None,
) -> None:
    """Wire satellites and ground together and run them to the end of the mission."""
    env = make_environment(*_pace(scenario))
    tracks = {name: flight.track for name, flight in world.flights.items()}
    boxes = box_payloads(scenario, tracks, links, lambda: float(env.now), writer)
    for event in antenna_events(world.antennas):
        writer.write(event)
    satellites = _satellites(env, scenario, world, boxes, writer, screening)
    for section in scenario.satellites:
        env.process(_log_eclipses(env, writer, section.name, world.flights[section.name]))
    for satellite in satellites:
        satellite.start()
    _let_run(env, scenario.duration_s, report)
    for satellite in satellites:
        satellite.finish()
    if isinstance(env, RealtimeEnvironment):
        # Before the boxes: who closes one while a worker talks to it reads that worker's answer.
        env.close(END_PATIENCE_S)
    for box in boxes.values():
        box.close()
    if isinstance(env, RealtimeEnvironment):
        late = dataclasses.asdict(env.lateness())
        writer.write(HostPace(t_s=scenario.duration_s, satellite="", **late))


def _satellites(
    env: simpy.Environment,
    scenario: Scenario,
    world: World,
    boxes: Mapping[str, PayloadLink],
    writer: RunWriter,
    screening: ModelScreening | None,
) -> list[Satellite]:
    """The satellites, with the ground and the antennas they share."""
    policy = _policy(scenario)
    rules = Rules(
        policy, scenario.data_handling, scenario.autonomy.max_attempts, scenario.duration_s
    )
    ground = _ground(scenario, world, policy, writer)
    antennas = {
        station.name: simpy.PriorityResource(env, capacity=station.antennas)
        for station in scenario.ground.stations
    }
    assigned = assign_tasks(world, scenario.duration_s)
    return [
        Satellite(
            env,
            section,
            world.flights[section.name],
            rules,
            _planner(scenario, section, world, assigned[section.name]),
            ground,
            boxes.get(section.name),
            antennas,
            _outages(scenario, section.name),
            frame_wh=frame_energy_wh(scenario, section) if section.name in boxes else 0.0,
            reboots_s=ordered_reboots_s(scenario, section.name),
            pixels=world.camera(section.imager.frame_px),
            clouds=world.glance,
            pictures=_pictures(writer),
            log=writer.write,
            screen=None if screening is None else screening.screen,
        )
        for section in scenario.satellites
    ]


def _ground(
    scenario: Scenario, world: World, policy: FramePolicy, writer: RunWriter
) -> GroundOperations:
    return GroundOperations(
        policy.traits,
        scenario.ground.processing_delay_h * 3600.0,
        scenario.autonomy.max_attempts,
        writer.write,
        same_satellite if policy.traits.onboard_tasking else soonest(world.flights),
        AreaCoverage(world.targets),
        PreviewRules(
            scenario.data_handling.request_max_cloud_fraction,
            scenario.data_handling.request_delay_h * 3600.0,
        ),
    )


def _let_run(env: simpy.Environment, duration_s: float, report: Progress) -> None:
    """Let time pass to the very end of the mission, and tell how far it is."""
    for step in range(1, PROGRESS_STEPS + 1):
        # The share is rounded, not the time: the books close at the end of the mission, and
        # duration * 200 / 200 is another float than the duration for one in seven of them.
        fraction = step / PROGRESS_STEPS
        until_s = duration_s * fraction
        env.run(until=until_s)
        report(fraction, f"day {until_s / 86400.0:.1f}")
    while env.peek() <= duration_s:  # `run` stops short of what happens at the very end
        env.step()


def _pace(scenario: Scenario) -> tuple[str, float]:
    """Pace and factor of the mission: real time if any payload asks for it, at the slowest."""
    factors = [
        satellite.payload.realtime_factor
        for satellite in scenario.satellites
        if satellite.payload.pace == "realtime"
    ]
    return ("realtime", min(factors)) if factors else ("virtual", 1.0)


def _screening(scenario: Scenario) -> ModelScreening | None:
    """The ground's own model; None where it sees the truth."""
    if scenario.ground.screening == PERFECT:
        return None
    return ModelScreening(load_card(scenario.name_or_path(scenario.ground.screening)))


def _policy(scenario: Scenario) -> FramePolicy:
    autonomy = scenario.autonomy
    return FramePolicy(
        autonomy.policy,
        POLICIES[autonomy.policy],
        Thresholds(
            autonomy.max_cloud_fraction,
            autonomy.block_cloud_fraction,
            autonomy.target_cloud_fraction,
        ),
    )


def assign_tasks(world: World, duration_s: float) -> dict[str, dict[TaskKey, Task]]:
    """Tasks of each satellite: every one knows all, and each is open on one of them.

    Of the satellites that see the target within a revolution of the first to see it in the task's
    time, that is the one with the fewest tasks, and of these the first: one that leads the others
    by minutes could not image all that it sees first, and they would have nothing to do.
    """
    every = {task.key: task for target in world.targets for task in tasks_of(target, duration_s)}
    first_s: dict[TaskKey, dict[str, float]] = {}
    for name, flight in world.flights.items():
        for access, task in reversed(chances(every, flight.accesses)):
            first_s.setdefault(task.key, {})[name] = max(access.start_s, task.opens_s)
    assigned: dict[str, dict[TaskKey, Task]] = {name: {} for name in world.flights}
    opened = dict.fromkeys(world.flights, 0)
    revolution_s = min(flight.period_s for flight in world.flights.values())
    for key, task in every.items():
        seen = first_s.get(key) or dict.fromkeys(world.flights, 0.0)
        soon_s = min(seen.values()) + revolution_s
        can = [name for name in seen if seen[name] < soon_s]
        chosen = min(can, key=lambda name: (opened[name], seen[name], name))
        opened[chosen] += 1
        for name, tasks in assigned.items():
            tasks[key] = dataclasses.replace(task, open=name == chosen)
    return assigned


def _planner(
    scenario: Scenario, section: SatelliteSection, world: World, tasks: Mapping[TaskKey, Task]
) -> OnboardPlanner:
    """The on-board planner of one satellite."""
    latitude_deg = {target.name: target.latitude_deg for target in world.targets}

    def forecast(asked: Sequence[tuple[str, float]], issued_s: float) -> Sequence[float]:
        covers = world.weather.forecast_many(
            [name for name, _ in asked],
            [latitude_deg[name] for name, _ in asked],
            [t_s for _, t_s in asked],
            issued_s,
        )
        return [float(cover) for cover in covers]

    return OnboardPlanner(
        tasks,
        world.flights[section.name].accesses,
        make_planner(scenario.autonomy.planner, scenario.autonomy.planner_wall_limit_s),
        forecast,
        Prospects(
            scenario.autonomy.target_cloud_fraction,
            scenario.weather.forecast_sigma_24h,
            scenario.weather.correlation_h,
            section.look_ahead.cover_sigma if section.look_ahead else 0.0,
        ),
        Agility(section.agility.slew_rate_deg_s, section.agility.settle_s),
        exposure_s(section.imager),
    )


def _outages(scenario: Scenario, satellite: str) -> tuple[Outage, ...]:
    return tuple(
        Outage(fault.from_h * 3600.0, fault.to_h * 3600.0)
        for fault in scenario.faults
        if isinstance(fault, PayloadOutage) and fault.satellite in (None, satellite)
    )


# 2. The run folder -------------------------------------------------------------------------


def _log_eclipses(
    env: simpy.Environment, writer: RunWriter, satellite: str, flight: Flight
) -> Generator[simpy.Event, None, None]:
    """Log each shadow as the satellite enters it, so that the log never runs ahead of time."""
    for shadow in flight.shadows:
        yield env.timeout(max(shadow.start_s - env.now, 0.0))
        writer.write(
            Eclipse(
                t_s=shadow.start_s,
                satellite=satellite,
                start_s=shadow.start_s,
                end_s=shadow.end_s,
                kind=shadow.kind,
            )
        )


def _pictures(writer: RunWriter) -> PictureBook:
    def keep(pixels: CapturedPixels, mask: NDArray[np.uint8] | None, mask_sha256: str) -> None:
        writer.write_capture_images(
            reflectance=pixels.reflectance,
            truth=pixels.truth,
            frame_sha256=pixels.frame_sha256,
            truth_sha256=pixels.truth_sha256,
            mask=mask,
            mask_sha256=mask_sha256,
        )

    return keep


def _write_host(writer: RunWriter, t_s: float, phase: str, wall_s: float) -> None:
    rss_mib = psutil.Process().memory_info().rss / 2**20
    writer.write(HostRun(t_s=t_s, satellite="", phase=phase, wall_s=wall_s, rss_mib=rss_mib))


__all__ = ["Progress", "run_mission", "simulate"]
