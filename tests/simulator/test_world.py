"""What surrounds the spacecraft: each camera's own frames, and one weather for all who ask."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from simulator.mission import run_mission
from simulator.scenario import Scenario, load_scenario
from simulator.scenario.checks import check_scenario
from simulator.telemetry.audit import audit
from simulator.telemetry.run_folder import RunFolder
from simulator.world import build_world

DAY_S = 86_400.0
EPOCH_DAY = "2024-06-01"


@pytest.fixture
def series(mission: Path) -> Scenario:
    """A mission over a time series: cloudy at the epoch, clear four days later."""
    path = mission / "samples" / "manifest.csv"
    with path.open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    dates = {"cloudy": EPOCH_DAY, "clear": "2024-06-05"}
    with path.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, [*rows[0], "surface", "place", "date"])
        writer.writeheader()
        for row in rows:
            place = {"surface": "desert", "place": "here", "date": dates[row["name"]]}
            writer.writerow({**row, **place})
    return load_scenario(
        mission / "scenario.yaml",
        {"scenes.strategy": "sequence", "weather.forecast_sigma_24h": 0.0},
    )


def test_under_a_sequence_weather_forecast_glance_and_pixels_agree(series: Scenario) -> None:
    check_scenario(series)
    world = build_world(series)
    look = world.camera(series.satellites[0].imager.frame_px)
    for target in world.targets:
        for t_s, cover in ((0.0, 1.0), (1.9 * DAY_S, 1.0), (2.1 * DAY_S, 0.0), (6 * DAY_S, 0.0)):
            weather_cover, pixels = look(target, t_s)
            told = world.weather.forecast(target.name, target.latitude_deg, t_s, t_s)
            assert weather_cover == pixels.cover == told == cover
            assert world.glance(target, t_s, 0.0) == (cover, cover)


def test_satellites_with_imagers_of_their_own_fly(mission: Path) -> None:
    scenario = load_scenario(mission / "scenario.yaml", {"duration_h": 36})
    first = scenario.satellites[0].model_dump(mode="json", exclude_none=True)
    imager = first["imager"] | {"frame_px": [512, 768], "gsd_m": 12}
    orbit = {"sun_synchronous": {"altitude_km": 560, "ltan_h": 13.5}}
    satellites = [first, first | {"name": "neph-2", "imager": imager, "orbit": orbit}]
    both = load_scenario(mission / "scenario.yaml", {"duration_h": 36, "satellites": satellites})
    check_scenario(both)
    run = RunFolder.open(run_mission(both, mission / "runs"))
    captures = run.events("capture").to_pylist()
    edges = {"neph-1": (1024, 1024), "neph-2": (512, 768)}
    assert {row["satellite"] for row in captures} == set(edges)
    for row in captures:
        rows, columns = edges[row["satellite"]]
        assert row["bytes"] == rows * columns * 4 * 12 // 8
        assert run.truth(row["truth_sha256"]).shape == (rows, columns)
    by_capture = {row["capture"]: row["satellite"] for row in captures}
    for row in run.events("decision").to_pylist():
        rows, columns = edges[by_capture[row["capture"]]]
        assert row["blocks"] == rows * columns // 256**2
    report = audit(run)
    assert report.passed, report.text()
