"""What surrounds the spacecraft, all of it fixed before a mission's first event.

Targets, weather and scenes follow from the scenario and its seed; the geometry of every satellite
from its orbit. Nothing here knows SimPy: a mission only asks.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from payload.scenes import read_collection
from simulator.environment.frames import CapturedPixels
from simulator.environment.scene_library import SceneLibrary
from simulator.environment.weather import Weather
from simulator.ground.antennas import Assignment, assign_antennas
from simulator.scenario import Scenario
from simulator.scenario.targets import Target, load_targets
from simulator.spacecraft.flight import Flight, fly
from simulator.spacecraft.taken import PixelSource


@dataclass(frozen=True)
class World:
    """What surrounds the spacecraft: targets, weather, pixels, each satellite's geometry, antennas.

    `antennas` is empty where satellites ask for antennas as passes begin.
    """

    targets: tuple[Target, ...]
    weather: Weather
    library: SceneLibrary
    flights: dict[str, Flight]
    antennas: tuple[Assignment, ...] = ()

    def glance(self, target: Target, t_s: float, sigma: float) -> tuple[float, float]:
        """Weather cover at a target, and the cover that a look-ahead camera would see."""
        return self.weather.glance(target.name, target.latitude_deg, t_s, sigma)

    def camera(self, frame_px: tuple[int, int]) -> PixelSource:
        """What a camera with frames of so many rows and columns sees of a target."""

        def look(target: Target, t_s: float) -> tuple[float, CapturedPixels]:
            cover = self.weather.cover(target.name, target.latitude_deg, t_s)
            pixels = self.library.pixels(
                target.name, target.surface, target.latitude_deg, t_s, cover, frame_px
            )
            return cover, pixels

        return look


def build_world(scenario: Scenario) -> World:
    """Everything that is fixed before the first event."""
    targets = load_targets(scenario)
    library = SceneLibrary(
        [read_collection(folder) for folder in scenario.scene_folders()],
        strategy=scenario.scenes.strategy,
        seed=scenario.seed,
        epoch=scenario.epoch,
    )
    weather = Weather(
        seed=scenario.seed,
        epoch=scenario.epoch,
        mean_cover=scenario.weather.mean_cover,
        correlation_h=scenario.weather.correlation_h,
        forecast_sigma_24h=scenario.weather.forecast_sigma_24h,
        series_path=_series_path(scenario),
        record=_record(library, targets) if scenario.scenes.are_the_weather else None,
    )
    flights = {s.name: fly(scenario, s, targets) for s in scenario.satellites}
    if scenario.ground.antenna_assignment == "optimal":
        return World(targets, weather, library, *assign_antennas(scenario, flights))
    return World(targets, weather, library, flights)


def _record(library: SceneLibrary, targets: tuple[Target, ...]) -> Callable[[str, float], float]:
    """Weather as the scenes of a time series show it, by target's name and time, s."""
    by_name = {target.name: target for target in targets}

    def cover(name: str, t_s: float) -> float:
        target = by_name[name]
        return library.recorded_cover(name, target.surface, target.latitude_deg, t_s)

    return cover


def _series_path(scenario: Scenario) -> Path | None:
    series = scenario.weather.series
    return None if series is None else scenario.resolve(series)
