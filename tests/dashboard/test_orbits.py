"""What is counted by the orbit is counted as the payload's limit counts it, in light or shadow."""

from __future__ import annotations

import shutil
from pathlib import Path

import duckdb
import pytest

from dashboard.event_store import EventStore
from dashboard.orbits import DEPTH, MOST_ENERGY, UMBRAS, orbit_s
from simulator.mission import run_mission
from simulator.scenario import load_scenario
from simulator.telemetry.manifest import RunFolderError

HOURS = 6
LIMIT_WH = 6e-5
"""So little that some orbit is worked to the full, and frames wait for the next."""


@pytest.fixture(scope="module")
def in_sunlight(tmp_path_factory: pytest.TempPathFactory) -> EventStore:
    """A satellite that follows the terminator and meets no shadow."""
    changes = {
        "epoch": "2024-03-20T00:00:00Z",
        "duration_h": HOURS,
        "satellites.*.orbit.sun_synchronous": {"altitude_km": 600, "ltan_h": 18},
        "satellites.*.imager.min_sun_elevation_deg": 0,
        "satellites.*.imager.frame_px": [512, 512],
        "satellites.*.payload.model": "threshold",
        "satellites.*.payload.energy_limit_wh_per_orbit": LIMIT_WH,
        "satellites.*.payload.frame_deadline_s": 3600,
    }
    scenario = load_scenario("first_light", changes)
    return EventStore(run_mission(scenario, tmp_path_factory.mktemp("in_sunlight")))


def test_most_energy_of_an_orbit_is_held_by_the_limit(in_sunlight: EventStore) -> None:
    assert in_sunlight.value("SELECT count(*) FROM eclipse WHERE kind = 'umbra'") == 0
    assert in_sunlight.value("SELECT sum(energy_wh) FROM inference") > LIMIT_WH
    period_s = orbit_s(in_sunlight.run, "neph-1")
    most_wh = in_sunlight.value(MOST_ENERGY, satellite="neph-1", orbit_s=period_s)
    frame_wh = in_sunlight.value("SELECT min(energy_wh) FROM inference WHERE energy_wh > 0")
    assert LIMIT_WH - frame_wh < most_wh <= LIMIT_WH * (1 + 1e-9)


def test_depth_is_shown_by_the_orbit_where_there_is_no_shadow(in_sunlight: EventStore) -> None:
    period_s = orbit_s(in_sunlight.run, "neph-1")
    window = {"satellite": "neph-1", "from_s": 0.0, "to_s": HOURS * 3600.0, "orbit_s": period_s}
    depth = in_sunlight.rows(DEPTH, **window)
    assert len(depth) == 1 + int(HOURS * 3600 // period_s)
    lowest = in_sunlight.value("SELECT min(charge_fraction) FROM power")
    assert depth["depth"].max() == pytest.approx(1 - lowest)


def test_depth_is_known_between_two_events() -> None:
    """A night in which nothing is logged from its begin at 20 % to its end at 40 %."""
    with duckdb.connect() as log:
        log.execute(
            "CREATE TABLE eclipse AS SELECT 's' AS satellite, 'umbra' AS kind, 0.0 AS start_s, "
            "2000.0 AS end_s"
        )
        log.execute(
            "CREATE TABLE power AS SELECT 's' AS satellite, 0.0 AS curtailed_wh, * FROM (VALUES "
            "(0, 0.0, 0.8, 8.0), (1, 2000.0, 0.6, 6.0)) AS p(event_row, t_s, charge_fraction, "
            "charge_wh)"
        )
        part = {"satellite": "s", "from_s": 500.0, "to_s": 1500.0}
        (depth,) = log.execute(DEPTH, {**part, "orbit_s": 5700.0}).df().itertuples()
        (night,) = log.execute(UMBRAS, part).df().itertuples()
    assert depth.depth == pytest.approx(0.35)
    assert (depth.time_h, depth.until_h) == pytest.approx((500 / 3600, 1500 / 3600))
    assert (night.start_h, night.end_h) == pytest.approx((500 / 3600, 1500 / 3600))


@pytest.mark.parametrize("text", ["{}", '{"neph-1": {}}', '{"neph-1": 3}', "[]"])
def test_orbits_of_another_shape_are_named(flown: Path, tmp_path: Path, text: str) -> None:
    run = Path(shutil.copytree(flown, tmp_path / "run"))
    (run / "orbits.json").write_text(text)
    with pytest.raises(RunFolderError, match=r"orbits\.json"):
        orbit_s(EventStore(run).run, "neph-1")


def test_the_last_nights_of_a_long_mission_are_shown() -> None:
    """A year has five thousand of them."""
    nights, night_s = 1000, 5700.0
    with duckdb.connect() as log:
        log.execute(
            f"CREATE TABLE eclipse AS SELECT 's' AS satellite, 'umbra' AS kind, "
            f"range * {night_s} AS start_s, range * {night_s} + 2000 AS end_s FROM range({nights})"
        )
        log.execute(
            "CREATE TABLE power AS SELECT satellite, end_s AS t_s, 0.7 AS charge_fraction, "
            "7.0 AS charge_wh, 0.0 AS curtailed_wh, row_number() OVER () AS event_row FROM eclipse"
        )
        window = {"satellite": "s", "from_s": 0.0, "to_s": nights * night_s}
        assert len(log.execute(UMBRAS, window).df()) == nights
        assert len(log.execute(DEPTH, {**window, "orbit_s": night_s}).df()) == nights
