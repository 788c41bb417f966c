"""A glance is for a period that its overflight reaches into, however long the overflight is."""

from __future__ import annotations

import dataclasses
import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
import yaml

from simulator.geometry import Access, Orbit, accesses
from simulator.telemetry.audit.findings import RunLog
from simulator.telemetry.audit.look_ahead import check_look_ahead
from simulator.telemetry.events import Glance
from simulator.telemetry.manifest import new_manifest
from simulator.telemetry.orbits import orbits_json
from simulator.telemetry.run_folder import RunFolder, RunWriter

EPOCH = datetime(2024, 6, 1, tzinfo=UTC)
DURATION_S = 86400.0
PERIOD_S = 3600.0
LATITUDE_DEG, LONGITUDE_DEG = 60.0, 10.0
IMAGER = {"max_off_nadir_deg": 60.0, "min_sun_elevation_deg": -18.0}
CAMERA = {
    "pitch_deg": 30.0, "half_swath_deg": 60.0, "decide_s": 15.0, "power_w": 2.0, "cover_sigma": 0.1
}  # fmt: skip


@pytest.fixture(scope="module")
def orbit() -> Orbit:
    """So high that a target stays in reach for a quarter of an hour."""
    return Orbit.from_keplerian(
        EPOCH,
        semi_major_axis_km=8900,
        eccentricity=0,
        inclination_deg=97.5,
        raan_deg=0,
        arg_perigee_deg=0,
        mean_anomaly_deg=0,
    )


@pytest.fixture(scope="module")
def seen(orbit: Orbit) -> list[Access]:
    return accesses(orbit, ["t"], [LATITUDE_DEG], [LONGITUDE_DEG], duration_s=DURATION_S, **IMAGER)


def write_glances(folder: Path, orbit: Orbit, wanted: list[tuple[Access, int]]) -> RunFolder:
    """A run of nothing but glances before accesses, each for a period."""
    manifest = new_manifest(
        name="glances",
        seed=0,
        epoch=EPOCH.isoformat(),
        duration_s=DURATION_S,
        scenario_yaml="",
        models={},
        scenes={},
    )
    target = {
        "type": "Feature",
        "geometry": {"type": "Point", "coordinates": [LONGITUDE_DEG, LATITUDE_DEG]},
        "properties": {"name": "t", "repeat_days": PERIOD_S / 86400.0},
    }
    scenario = {"satellites": [{"name": "s1", "imager": IMAGER, "look_ahead": CAMERA}]}
    blank = {
        field.name: {"str": ""}.get(str(field.type), 0) for field in dataclasses.fields(Glance)
    }
    with RunWriter(folder, manifest=manifest) as writer:
        writer.write_text("scenario.yaml", yaml.safe_dump(scenario))
        writer.write_text("targets.geojson", json.dumps({"features": [target]}))
        writer.write_text("orbits.json", orbits_json({"s1": orbit.satrec}))
        for access, period in wanted:
            row = {
                "t_s": access.closest_s,
                "satellite": "s1",
                "target": "t",
                "period": period,
                "latitude_deg": LATITUDE_DEG,
                "longitude_deg": LONGITUDE_DEG,
                "closest_s": access.closest_s,
            }
            writer.write(Glance(**blank | row))
        writer.complete({})
    return RunFolder.open(folder)


def false_periods(run: RunFolder) -> list[str]:
    found = [finding.message for finding in check_look_ahead(RunLog(run))]
    return [message for message in found if message.startswith("period is")]


def reached(access: Access) -> range:
    return range(int(access.start_s // PERIOD_S), int(access.end_s // PERIOD_S) + 1)


def test_every_period_that_an_overflight_reaches_is_meant(
    orbit: Orbit, seen: list[Access], tmp_path: Path
) -> None:
    wanted = [(access, period) for access in seen for period in reached(access)]
    edges_s = [
        min(abs(edge * PERIOD_S - access.closest_s) for edge in (period, period + 1))
        for access, period in wanted
        if period != access.closest_s // PERIOD_S
    ]
    assert max(edges_s) > 600.0
    assert false_periods(write_glances(tmp_path / "run", orbit, wanted)) == []


def test_a_period_beyond_the_overflight_is_found(
    orbit: Orbit, seen: list[Access], tmp_path: Path
) -> None:
    wanted = [(access, reached(access)[0] - 1) for access in seen]
    wanted += [(access, reached(access)[-1] + 1) for access in seen]
    run = write_glances(tmp_path / "run", orbit, sorted(wanted, key=lambda w: w[0].closest_s))
    assert len(false_periods(run)) == len(wanted)
