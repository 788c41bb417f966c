"""What surrounds the spacecraft, all of it fixed before a mission's first event.

Targets, weather and scenes follow from the scenario and its seed; the geometry of every satellite
from its orbit. Nothing here knows SimPy: a mission only asks.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from payload.scenes import read_collection
from simulator.environment.pixels import CapturedPixels, SceneLibrary
from simulator.environment.weather import Weather
from simulator.ground.antennas import Assignment, assign_antennas
from simulator.scenario import Scenario
from simulator.scenario.targets import Target, load_targets
from simulator.spacecraft.flight import Flight, fly


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

    def look(self, target: Target, t_s: float) -> tuple[float, CapturedPixels]:
        """Weather cover at a target and the frame a camera would see."""
        cover = self.weather.cover(target.name, target.latitude_deg, t_s)
        pixels = self.library.pixels(target.name, target.surface, target.latitude_deg, t_s, cover)
        return cover, pixels


def build_world(scenario: Scenario) -> World:
    """Everything that is fixed before the first event."""
    targets = load_targets(scenario)
    weather = Weather(
        seed=scenario.seed,
        epoch=scenario.epoch,
        mean_cover=scenario.weather.mean_cover,
        correlation_h=scenario.weather.correlation_h,
        forecast_sigma_24h=scenario.weather.forecast_sigma_24h,
        series_path=_series_path(scenario),
    )
    rows, columns = scenario.satellites[0].imager.frame_px
    library = SceneLibrary(
        [read_collection(folder) for folder in scenario.scene_folders()],
        strategy=scenario.scenes.strategy,
        frame_px=(rows, columns),
        seed=scenario.seed,
        epoch=scenario.epoch,
    )
    flights = {s.name: fly(scenario, s, targets) for s in scenario.satellites}
    if scenario.ground.antenna_assignment == "optimal":
        return World(targets, weather, library, *assign_antennas(scenario, flights))
    return World(targets, weather, library, flights)


def _series_path(scenario: Scenario) -> Path | None:
    series = scenario.weather.series
    return None if series is None else scenario.resolve(series)
