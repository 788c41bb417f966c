"""Everything a scenario names is opened before anything is simulated.

A file that is missing, an orbit that cannot be flown or a model that does not open is found here,
with the line of the scenario that asked for it. Everything is checked, so that one look shows
all there is to mend.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from importlib.resources import files
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from payload.card import ModelCard, ModelError
from payload.card_library import load_card
from payload.device import DeviceError, DeviceProfile, device_paths, load_device
from payload.frame import BANDS
from payload.model import CloudModel
from payload.scenes import (
    SceneCollection,
    SceneError,
    collection_folders,
    read_collection,
)
from simulator.environment.scene_library import SceneLibrary
from simulator.environment.weather import WeatherError, read_series
from simulator.geometry import Orbit, OrbitError
from simulator.geometry.ellipsoid import EQUATORIAL_RADIUS_KM
from simulator.scenario.faults import Outage
from simulator.scenario.handling import StorageQuota
from simulator.scenario.models import Scenario
from simulator.scenario.orbits import orbit_of
from simulator.scenario.problems import FieldPath, Problem, ScenarioError, UndefinedVariableError
from simulator.scenario.source import undefined_variable
from simulator.scenario.spacecraft import Payload, Satellite
from simulator.scenario.targets import Target, load_targets
from simulator.spacecraft.battery import SOLAR_CONSTANT_W_M2

STALE_DAYS = 14.0
"""SGP4 elements drift by one to three kilometres a day in low orbit (Vallado and Crawford 2008);
older than this, pass times are off by seconds."""

BRING_THEIR_MODEL = ("replay:", "tcp:", "serial:")
"""Links to payloads that have the model themselves; its card is enough on this side."""

SHIPPED_SCENES = Path(str(files("scenarios") / "samples"))

_JULIAN_DATE_OF_1970 = 2440587.5


@dataclass(frozen=True)
class Check:
    """What a check found in a scenario that can be flown.

    Attributes
    ----------
    targets, scenes : int
        How many there are.
    notes : tuple of str
        What may surprise: scenes left out, old elements, limits that keep the payload idle,
        what can never happen.
    """

    targets: int
    scenes: int
    notes: tuple[str, ...]


class _Findings:
    """Problems and notes, gathered while one thing after the other is opened."""

    def __init__(self, scenario: Scenario) -> None:
        self.scenario = scenario
        self.problems: list[Problem] = []
        self.notes: list[str] = []
        self._named: dict[tuple[str, str], bytes] = {}

    @contextmanager
    def at(self, *path: str | int) -> Iterator[None]:
        """Turn what is refused inside the block into a problem of the field at `path`."""
        try:
            yield
        except ScenarioError as error:
            self.problems += error.problems
        except UndefinedVariableError as error:
            self.problems.append(undefined_variable(self.scenario.source, path, error))
        except (OrbitError, ModelError, DeviceError, SceneError, WeatherError) as error:
            self.add(path, str(error))

    def named(self, kind: str, name: str, content: bytes, *path: str | int) -> None:
        """Refuse two models or devices of one name: a run tells them apart by it."""
        if self._named.setdefault((kind, name), content) != content:
            self.add(
                path,
                f"another {kind} of this mission is called {name} too, and it is not the same; "
                "rename one of them, in its file and the file itself",
            )

    def add(self, path: FieldPath, message: str) -> None:
        """Add a message of the form ``reason; remedy``."""
        reason, _, remedy = message.rpartition("; ")
        if not reason:
            reason, remedy = message, f"correct {path[-1]}"
        self.problems.append(self.scenario.source.problem(path, reason, remedy))


def check_scenario(scenario: Scenario, *, pixels: bool = False) -> Check:
    """Open everything a scenario names.

    Parameters
    ----------
    pixels : bool
        Read every scene whole and not just the manifests. It finds damaged GeoTIFFs and takes
        seconds.

    Raises
    ------
    ScenarioError
        With every problem found.
    """
    findings = _Findings(scenario)
    targets: tuple[Target, ...] = ()
    with findings.at("targets"):
        targets = load_targets(scenario)
    findings.notes += _unsatisfiable_notes(scenario, targets) + _late_fault_notes(scenario)
    _check_weather(findings, targets)
    _check_screening(findings)
    for index, satellite in enumerate(scenario.satellites):
        _check_orbit(findings, index, satellite)
        _check_payload(findings, index, satellite)
        findings.notes += _power_notes(satellite)
        findings.notes += _quota_notes(satellite, scenario.data_handling.storage_quotas)
    scenes = _check_scenes(findings, targets, pixels=pixels)
    if findings.problems:
        raise ScenarioError(findings.problems)
    return Check(targets=len(targets), scenes=scenes, notes=tuple(findings.notes))


def _unsatisfiable_notes(scenario: Scenario, targets: Sequence[Target]) -> list[str]:
    """Cover has to be below the limit: where that is 0, no image is good enough.

    A target's own limit is above 0, or its file is refused.
    """
    without_own = sum(target.max_cloud_fraction is None for target in targets)
    if scenario.autonomy.target_cloud_fraction > 0.0 or not without_own:
        return []
    return [
        f"{without_own} of {len(targets)} targets have a cloud limit of 0, as "
        "autonomy.target_cloud_fraction says: cover must be below it, so no image satisfies them"
    ]


def _late_fault_notes(scenario: Scenario) -> list[str]:
    return [
        f"faults[{index}]: the {fault.kind} from {fault.from_h:g} h on lies after the mission's "
        f"end at {scenario.duration_h:g} h: it never happens"
        for index, fault in enumerate(scenario.faults)
        if isinstance(fault, Outage) and fault.from_h >= scenario.duration_h
    ]


def _check_weather(findings: _Findings, targets: Sequence[Target]) -> None:
    """A recorded series must have every target."""
    weather = findings.scenario.weather
    if weather.series is None:
        return
    with findings.at("weather", "series"):
        recorded = read_series(findings.scenario.resolve(weather.series))
        bare = [target.name for target in targets if target.name not in recorded]
        if bare:
            findings.add(
                ("weather", "series"),
                f"there is no record of {len(bare)} of {len(targets)} targets, the first is "
                f"{bare[0]!r}; add rows for them",
            )


def _check_screening(findings: _Findings) -> None:
    """The ground's own model must open."""
    screening = findings.scenario.ground.screening
    if screening != "perfect":
        with findings.at("ground", "screening"):
            card = load_card(findings.scenario.name_or_path(screening))
            findings.named("model", card.name, card.path.read_bytes(), "ground", "screening")
            CloudModel(card)


def _check_orbit(findings: _Findings, index: int, satellite: Satellite) -> None:
    scenario = findings.scenario
    path: FieldPath = ("satellites", index, "orbit", satellite.orbit.kind)
    try:
        orbit = orbit_of(scenario, satellite)
        position_km, _ = orbit.teme(np.linspace(0.0, scenario.duration_s, 100))
    except OrbitError as error:
        line = re.match(r"tle: line ([12])", str(error))
        inline = line and isinstance(satellite.orbit.tle, tuple)
        findings.add((*path, int(line[1]) - 1) if line and inline else path, str(error))
    except UndefinedVariableError as error:
        findings.problems.append(undefined_variable(scenario.source, path, error))
    else:
        if satellite.orbit.kind in ("tle", "omm"):
            findings.notes += _age_notes(scenario, satellite, orbit)
        findings.notes += _limb_notes(satellite, np.linalg.norm(position_km, axis=1))


def _age_notes(scenario: Scenario, satellite: Satellite, orbit: Orbit) -> list[str]:
    days = orbit.satrec.jdsatepoch + orbit.satrec.jdsatepochF - _JULIAN_DATE_OF_1970
    elements = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(days=days)
    age = max(abs(scenario.epoch - elements), abs(scenario.end - elements)) / timedelta(days=1)
    if age <= STALE_DAYS:
        return []
    return [
        f"{satellite.name}: the orbit's elements are of {elements:%Y-%m-%d}, {age:.0f} days from "
        "the mission; SGP4 has drifted by kilometres then"
    ]


def _limb_notes(satellite: Satellite, radius_km: NDArray[np.float64]) -> list[str]:
    """A camera that looks past the Earth, even from the lowest point of its orbit."""
    lowest_km = float(radius_km.min())
    limb_deg = math.degrees(math.asin(min(EQUATORIAL_RADIUS_KM / lowest_km, 1.0)))
    if satellite.look_ahead is None or satellite.look_ahead.pitch_deg < limb_deg:
        return []
    altitude_km = lowest_km - EQUATORIAL_RADIUS_KM
    return [
        f"{satellite.name}: look_ahead.pitch_deg {satellite.look_ahead.pitch_deg:g} looks past the "
        f"Earth's limb, {limb_deg:.1f} deg from nadir at {altitude_km:.0f} km: "
        "no target will be glanced at"
    ]


def _check_payload(findings: _Findings, index: int, satellite: Satellite) -> None:
    scenario, payload = findings.scenario, satellite.payload
    path: FieldPath = ("satellites", index, "payload")
    detects = scenario.autonomy.policy not in ("bent_pipe", "oracle")
    card: ModelCard | None = None
    device: DeviceProfile | None = None
    known = len(findings.problems)
    with findings.at(*path, "model"):
        card = load_card(scenario.name_or_path(payload.model))
        findings.named("model", card.name, card.path.read_bytes(), *path, "model")
        if not payload.link.startswith(BRING_THEIR_MODEL):
            _try_model(card)
    opens = len(findings.problems) == known
    with findings.at(*path, "device"):
        name = scenario.name_or_path(payload.device)
        device = load_device(name)
        profile = device_paths().get(name, Path(name)).read_bytes()
        findings.named("device", device.name, profile, *path, "device")
    if card and device and detects:
        with findings.at(*path, "device"):
            findings.notes += _budget_notes(satellite, card, device)
    if card and opens and card.peak_memory_mib is None and payload.link == "inprocess" and detects:
        findings.add(
            (*path, "model"),
            f"the card of {card.name} has no peak_memory_mib to hold against memory_limit_mib; "
            f"measure it with `nephoscope models profile {payload.model} --record`",
        )
    with findings.at(*path, "link"):
        kind, _, recording = scenario.link_address(payload.link).partition(":")
        if kind == "replay" and not Path(recording).exists():
            findings.add((*path, "link"), f"there is no recording {recording}; correct the path")


def _quota_notes(satellite: Satellite, quotas: Sequence[StorageQuota]) -> list[str]:
    """A share of the storage in which no frame fits: its targets are never imaged."""
    capacity_bytes = int(satellite.storage_gib * 2**30)
    return [
        f"{satellite.name}: storage_quotas gives targets of priority {quota.max_priority:g} and "
        f"below {quota.fraction:g} of storage_gib {satellite.storage_gib:g}, less than one frame: "
        "none of them will be imaged"
        for quota in quotas
        if int(quota.fraction * capacity_bytes) < satellite.imager.frame_bytes
    ]


def _power_notes(satellite: Satellite) -> list[str]:
    """A bus that draws more than the panels ever give: the battery only ever runs down."""
    power = satellite.power
    faces = math.sqrt(3.0) if power.pointing == "body" else 1.0  # of a cube, corner to the sun
    most_w = SOLAR_CONSTANT_W_M2 * power.panel_area_m2 * power.panel_efficiency * faces
    if power.bus_load_w < most_w or not power.bus_load_w:
        return []
    return [
        f"{satellite.name}: bus_load_w is {power.bus_load_w:g} and the panels give {most_w:.1f} W "
        "at most: the battery runs down, and nothing is imaged after that"
    ]


def _try_model(card: ModelCard) -> None:
    """Open a model and have it judge one small tile: many a graph fails only when it runs.

    In flight that would be a crash of the payload, frame after frame.
    """
    edge_px = card.input.multiple_px
    ramp = np.linspace(0.05, 0.95, len(BANDS) * edge_px**2, dtype=np.float32)
    CloudModel(card).probability(ramp.reshape(1, len(BANDS), edge_px, edge_px))


def _budget_notes(satellite: Satellite, card: ModelCard, device: DeviceProfile) -> list[str]:
    """Say which limit keeps the payload from ever finishing a frame."""
    payload: Payload = satellite.payload
    latency_s = device.latency_s(card, satellite.imager.tiles)
    memory_mib = card.peak_memory_mib or 0.0
    notes = []
    duty = device.duty_fraction(payload.power_limit_w)
    if duty == 0.0:
        notes.append(
            f"{device.name} draws {device.idle_power_w:g} W idle, over power_limit_w "
            f"{payload.power_limit_w:g}: no frame will be processed"
        )
    elif duty < 1.0:
        latency_s /= duty
        notes.append(
            f"{device.name} draws {device.active_power_w:g} W at work, over power_limit_w "
            f"{payload.power_limit_w:g}: it works {duty:.0%} of the time, {latency_s:.3g} s a frame"
        )
    frame_wh = device.energy_wh(latency_s, payload.power_limit_w)
    declared = payload.timing == "declared"
    if declared and duty > 0.0 and frame_wh > payload.energy_limit_wh_per_orbit:
        notes.append(
            f"a frame takes {frame_wh:.3g} Wh on {device.name}, over energy_limit_wh_per_orbit "
            f"{payload.energy_limit_wh_per_orbit:g}: no frame will be processed"
        )
    if memory_mib > min(payload.memory_limit_mib, device.memory_mib):
        notes.append(
            f"{card.name} needs {memory_mib:.0f} MiB, over memory_limit_mib "
            f"{payload.memory_limit_mib:g} or the device's {device.memory_mib:g}: "
            "no frame will be processed"
        )
    if declared and latency_s > payload.frame_deadline_s:
        notes.append(
            f"a frame takes {latency_s:.1f} s on {device.name}, over frame_deadline_s "
            f"{payload.frame_deadline_s:g}: every frame misses it"
        )
    return [f"{satellite.name}: {note}" for note in notes]


def _check_scenes(findings: _Findings, targets: Sequence[Target], *, pixels: bool) -> int:
    """Open every listed collection; return the number of scenes."""
    scenario = findings.scenario
    missing = scenario.missing_collections()
    findings.notes += [f"optional scenes left out: {path} does not exist here" for path in missing]
    collections: list[SceneCollection] = []
    known = len(findings.problems)
    for index, listed in enumerate(scenario.scenes.collections):
        if listed.path in missing:
            continue
        with findings.at("scenes", "collections", index):
            folder = scenario.resolve(listed.path)
            if not folder.is_dir():
                raise SceneError(f"{folder}: there is no such folder; {_where_scenes_are()}")
            collection = read_collection(folder)
            collections.append(collection)
            for scene in collection if pixels else ():
                scene.reflectance()
                scene.truth()
    if len(missing) == len(scenario.scenes.collections):
        findings.add(
            ("scenes", "collections"),
            "every collection is optional and missing, so no scene is left; list one that exists",
        )
    elif len(findings.problems) == known:
        with findings.at("scenes", "strategy"):
            SceneLibrary(
                collections,
                strategy=scenario.scenes.strategy,
                seed=scenario.seed,
                epoch=scenario.epoch,
            ).check_targets(target.name for target in targets)
    return sum(len(collection) for collection in collections)


def _where_scenes_are() -> str:
    shipped = ", ".join(str(folder) for folder in collection_folders(SHIPPED_SCENES))
    return f"name a scene collection's folder, such as the one that ships with this: {shipped}"
