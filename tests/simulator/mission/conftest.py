"""Small missions over the samples that ship with the project, run once per variant."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from simulator.mission import run_mission
from simulator.scenario import Scenario, load_scenario, resolved_yaml
from simulator.telemetry.run_folder import RunFolder

TARGETS = (
    ("po", 45.0, 10.0), ("ebro", 41.6, -0.9), ("nile", 26.0, 32.0), ("volga", 51.0, 46.0),
    ("ganges", 25.3, 83.0), ("seine", 48.8, 2.3), ("tisza", 47.0, 20.2), ("niger", 14.0, -4.0),
    ("plata", -34.6, -58.4), ("murray", -34.1, 141.9), ("yukon", 64.0, -150.0),
    ("missouri", 41.0, -96.0), ("sao-francisco", -9.4, -40.5), ("mekong", 15.1, 105.8),
    ("zambezi", -17.9, 25.8), ("ob", 55.0, 82.9), ("loire", 47.4, 0.7), ("elbe", 52.1, 11.6),
    ("garonne", 44.2, 0.6), ("tagus", 39.5, -8.5), ("rhone", 44.0, 4.8), ("dnieper", 50.4, 30.5),
    ("don", 47.2, 39.7), ("tigris", 33.3, 44.4), ("indus", 27.7, 68.8), ("amur", 50.3, 127.5),
)  # fmt: skip


@pytest.fixture(scope="session")
def small_targets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A GeoJSON file of a few dozen river basins."""
    path = tmp_path_factory.mktemp("targets") / "rivers.geojson"
    features = [
        {
            "type": "Feature",
            "geometry": {"type": "Point", "coordinates": [longitude, latitude]},
            "properties": {"name": name, "priority": 1 + index % 3},
        }
        for index, (name, latitude, longitude) in enumerate(TARGETS)
    ]
    path.write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    return path


@pytest.fixture(scope="session")
def small_scenario(small_targets: Path) -> Callable[..., Scenario]:
    """Makes three-day missions with a fast model; fields are replaced by dotted name."""

    def make(**changes: object) -> Scenario:
        return load_scenario(
            "first_light",
            {
                "targets": str(small_targets),
                "duration_h": 72,
                "satellites.*.payload.model": "threshold",
            }
            | {name.replace("__", "."): value for name, value in changes.items()},
        )

    return make


@pytest.fixture(scope="session")
def fly(
    small_scenario: Callable[..., Scenario], tmp_path_factory: pytest.TempPathFactory
) -> Callable[..., RunFolder]:
    """Flies a small mission; the same changes are flown once per session."""
    flown: dict[str, RunFolder] = {}

    def run(**changes: object) -> RunFolder:
        key = repr(sorted(changes.items()))
        if key not in flown:
            folder = run_mission(small_scenario(**changes), tmp_path_factory.mktemp("runs"))
            flown[key] = RunFolder.open(folder)
        return flown[key]

    return run


@pytest.fixture(scope="session")
def small_scenario_file(
    small_scenario: Callable[..., Scenario], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A scenario file of a mission long enough to be stopped in the middle."""
    scenario = small_scenario(duration_h=720)
    collections = [{"path": str(folder)} for folder in scenario.scene_folders()]
    text = yaml.safe_load(resolved_yaml(scenario)) | {
        "scenes": {"strategy": "library", "collections": collections}
    }
    path = tmp_path_factory.mktemp("scenario") / "long.yaml"
    path.write_text(yaml.safe_dump(text))
    return path
