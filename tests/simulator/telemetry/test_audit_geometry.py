"""Geometry is recomputed by plain Skyfield: true passes, eclipses and captures pass, others not."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from simulator.geometry import Orbit, accesses, passes, shadows
from simulator.telemetry.audit import audit, skies
from simulator.telemetry.audit.skies import nodal_period_s
from simulator.telemetry.events import Capture, Eclipse, Pass
from simulator.telemetry.manifest import new_manifest
from simulator.telemetry.orbits import orbits_json
from simulator.telemetry.run_folder import RunFolder, RunWriter

EPOCH = datetime(2024, 6, 1, tzinfo=UTC)
DURATION_S = 86400.0
MASK_DEG = 5.0
PERIOD_TOLERANCE_S = 1e-6
LIGHT_S = 1.0
"""Sunlight left between a shadow and an end of the log."""

Rows = list[dict[str, Any]]


@dataclass(frozen=True)
class Place:
    name: str
    latitude_deg: float
    longitude_deg: float
    altitude_m: float = 0.0


STATIONS = (Place("kiruna", 67.8571, 20.9643, 400.0), Place("santiago", -33.15, -70.66, 700.0))
TARGETS = tuple(Place(f"t{east}", 45.0, float(east)) for east in range(-180, 180, 10))


def scenario(stations: tuple[Place, ...], mask_deg: float) -> dict[str, Any]:
    return {
        "satellites": [{"name": "s1"}],
        "ground": {
            "min_elevation_deg": mask_deg,
            "stations": [dataclasses.asdict(station) for station in stations],
        },
    }


@pytest.fixture(autouse=True)
def _coarse_scan(monkeypatch: pytest.MonkeyPatch) -> None:
    """A day needs fewer samples than a week: one a minute."""
    monkeypatch.setattr(skies, "SCAN_SAMPLES", 1441)


@pytest.fixture(scope="module")
def orbit() -> Orbit:
    return Orbit.from_sun_synchronous(EPOCH, altitude_km=510, ltan_h=10.5)


@pytest.fixture(scope="module")
def true_run(orbit: Orbit, tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """A day of real geometry in a run folder, and nothing else."""
    return write_geometry(tmp_path_factory.mktemp("sky") / "run", orbit, STATIONS)


def write_geometry(
    folder: Path, orbit: Orbit, stations: tuple[Place, ...], mask_deg: float = MASK_DEG
) -> RunFolder:
    """A day of an orbit's eclipses, passes and captures as a complete run."""
    manifest = new_manifest(
        name="sky",
        seed=0,
        epoch=orbit.epoch.isoformat(),
        duration_s=DURATION_S,
        scenario_yaml="",
        models={},
        scenes={},
    )
    with RunWriter(folder, manifest=manifest) as writer:
        writer.write_text("scenario.yaml", yaml.safe_dump(scenario(stations, mask_deg)))
        writer.write_text("orbits.json", orbits_json({"s1": orbit.satrec}))
        for shadow in shadows(orbit, DURATION_S):
            writer.write(
                Eclipse(
                    t_s=shadow.start_s,
                    satellite="s1",
                    start_s=shadow.start_s,
                    end_s=shadow.end_s,
                    kind=shadow.kind,
                )
            )
        for station in stations:
            for contact in passes(orbit, station, mask_deg, DURATION_S):
                writer.write(_pass(contact))
        seen = accesses(
            orbit,
            [target.name for target in TARGETS],
            [target.latitude_deg for target in TARGETS],
            [target.longitude_deg for target in TARGETS],
            max_off_nadir_deg=35.0,
            min_sun_elevation_deg=10.0,
            duration_s=DURATION_S,
        )
        for number, access in enumerate(seen):
            writer.write(_capture(access, number))
        writer.complete({})
    return RunFolder.open(folder)


def _pass(contact: Any) -> Pass:
    return Pass(
        t_s=contact.los_s,
        satellite="s1",
        station=contact.station,
        aos_s=contact.aos_s,
        los_s=contact.los_s,
        max_elevation_deg=contact.max_elevation_deg,
        outcome="idle",
        usable_s=0.0,
        transmit_s=0.0,
        capacity_bytes=0,
        bytes=0,
    )


def _capture(access: Any, number: int) -> Capture:
    target = next(target for target in TARGETS if target.name == access.target)
    t_s = 0.5 * (access.start_s + access.end_s)
    pointing = access.pointing(t_s)
    rest = {
        field.name: {"str": "", "bool": True}.get(str(field.type), 0)
        for field in dataclasses.fields(Capture)
    }
    return Capture(
        **rest
        | {
            "t_s": t_s,
            "satellite": "s1",
            "capture": f"c{number}",
            "target": access.target,
            "latitude_deg": target.latitude_deg,
            "longitude_deg": target.longitude_deg,
            "off_nadir_deg": pointing.off_nadir_deg,
            "roll_deg": pointing.roll_deg,
            "pitch_deg": pointing.pitch_deg,
            "sun_elevation_deg": pointing.sun_elevation_deg,
        }
    )


@pytest.fixture
def copy(true_run: RunFolder, tmp_path: Path) -> RunFolder:
    shutil.copytree(true_run.path, tmp_path / "copy")
    return RunFolder.open(tmp_path / "copy")


def messages(run: RunFolder) -> list[str]:
    return [finding.message for finding in audit(run, ("geometry",)).findings]


def change(run: RunFolder, name: str, edit: Callable[[Rows], Rows]) -> None:
    table = run.events(name)
    rows = pa.Table.from_pylist(edit(table.to_pylist()), schema=table.schema)
    pq.write_table(rows, run.path / "events" / f"{name}.parquet")


def test_true_geometry_passes(true_run: RunFolder) -> None:
    assert messages(true_run) == []
    assert true_run.events("pass").num_rows > 8
    assert true_run.events("eclipse").num_rows > 40
    assert true_run.events("capture").num_rows > 0


def without_a_second_penumbra(rows: Rows) -> Rows:
    index = next(i for i, row in enumerate(rows) if i > 1 and rows[i - 1]["kind"] == "umbra")
    return rows[:index] + rows[index + 1 :]


def second_eclipse(rows: Rows) -> int:
    """Index of the first penumbra of an eclipse that the start of the mission does not cut."""
    return next(i for i, row in enumerate(rows) if i > 1 and row["kind"] == "umbra") - 1


def without_the_second_eclipse(rows: Rows) -> Rows:
    first = second_eclipse(rows)
    return rows[:first] + rows[first + 3 :]


def moved(row: dict[str, Any], more_s: float) -> dict[str, Any]:
    return row | {name: row[name] + more_s for name in ("t_s", "start_s", "end_s")}


def with_an_eclipse_shifted(more_s: float) -> Callable[[Rows], Rows]:
    def edit(rows: Rows) -> Rows:
        first = second_eclipse(rows)
        shifted = [moved(row, more_s) for row in rows[first : first + 3]]
        return [*rows[:first], *shifted, *rows[first + 3 :]]

    return edit


def with_a_short_eclipse_invented(rows: Rows) -> Rows:
    """An invented eclipse of some seconds, which no sample of the scan need fall into."""
    first = second_eclipse(rows)
    return [*rows[:first], moved(rows[first], -20.0), *rows[first:]]


def with_the_light_called(kind: str) -> Callable[[Rows], Rows]:
    """An invented eclipse that fills the light between two."""

    def edit(rows: Rows) -> Rows:
        first = second_eclipse(rows)
        start_s, end_s = rows[first + 2]["end_s"], rows[first + 3]["start_s"]
        more = {"t_s": start_s, "start_s": start_s, "end_s": end_s, "kind": kind}
        return [*rows[: first + 3], rows[first] | more, *rows[first + 3 :]]

    return edit


def with_a_false_kind(which: int, kind: str) -> Callable[[Rows], Rows]:
    """The first, second or third row of an eclipse is said to be another kind."""

    def edit(rows: Rows) -> Rows:
        at = second_eclipse(rows) + which
        return [*rows[:at], rows[at] | {"kind": kind}, *rows[at + 1 :]]

    return edit


def with_column(column: str, more: float) -> Callable[[Rows], Rows]:
    def edit(rows: Rows) -> Rows:
        return [rows[0] | {column: rows[0][column] + more}, *rows[1:]]

    return edit


@pytest.mark.parametrize(
    ("name", "edit", "expected"),
    [
        ("pass", with_column("aos_s", 0.5), "elevation at"),
        ("pass", with_column("los_s", -0.5), "elevation at"),
        ("pass", with_column("max_elevation_deg", 2.0), "max_elevation_deg is"),
        ("pass", lambda rows: rows[1:], "no pass is listed"),
        ("eclipse", with_column("start_s", 0.1), "it lasts from"),
        ("eclipse", lambda rows: [row for row in rows if row["kind"] != "umbra"], "dark, but no"),
        ("eclipse", without_a_second_penumbra, "an umbra without"),
        ("eclipse", without_the_second_eclipse, "dark, but no"),
        ("eclipse", with_an_eclipse_shifted(0.5), "listed as penumbra, but sunlit"),
        ("eclipse", with_an_eclipse_shifted(-0.5), "listed as penumbra, but sunlit"),
        ("eclipse", with_a_short_eclipse_invented, "listed as penumbra, but sunlit"),
        ("eclipse", with_the_light_called("umbra"), "listed as umbra, but sunlit"),
        ("eclipse", with_the_light_called("penumbra"), "listed as penumbra, but sunlit"),
        ("eclipse", with_a_false_kind(1, "penumbra"), "listed as penumbra, but dark"),
        ("eclipse", with_a_false_kind(0, "umbra"), "listed as umbra, but partly dark"),
        ("eclipse", with_column("start_s", -1e9), "it lasts from"),
        ("capture", with_column("off_nadir_deg", 0.1), "off_nadir_deg is"),
        ("capture", with_column("sun_elevation_deg", -0.2), "sun_elevation_deg is"),
        ("capture", with_column("latitude_deg", 0.1), "off_nadir_deg is"),
        ("capture", with_column("t_s", 1.0), "pitch_deg is"),
        ("capture", with_column("roll_deg", 0.1), "roll_deg is"),
    ],
)
def test_false_geometry_is_found(
    copy: RunFolder, name: str, edit: Callable[[Rows], Rows], expected: str
) -> None:
    change(copy, name, edit)
    assert any(message.startswith(expected) for message in messages(copy)), messages(copy)


def test_another_orbit_is_found(copy: RunFolder) -> None:
    other = Orbit.from_sun_synchronous(EPOCH, altitude_km=520, ltan_h=10.5)
    (copy.path / "orbits.json").write_text(orbits_json({"s1": other.satrec}))
    assert messages(copy)


@pytest.mark.parametrize(
    "before", [datetime(2016, 12, 31, 12, tzinfo=UTC), datetime(1972, 6, 30, 12, tzinfo=UTC)]
)
def test_a_leap_second_stops_no_satellite(before: datetime, tmp_path: Path) -> None:
    orbit = Orbit.from_sun_synchronous(before, altitude_km=510, ltan_h=10.5)
    run = write_geometry(tmp_path / "leap", orbit, STATIONS)
    assert any(row["t_s"] > DURATION_S / 2 for row in run.events("capture").to_pylist())
    assert messages(run) == []


@pytest.fixture(scope="module")
def zenith_run(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """A polar orbit that goes straight over the pole, sixteen times."""
    polar = Orbit.from_keplerian(
        EPOCH,
        semi_major_axis_km=6950,
        eccentricity=0.01,
        inclination_deg=90,
        raan_deg=0,
        arg_perigee_deg=0,
        mean_anomaly_deg=0,
    )
    folder = tmp_path_factory.mktemp("zenith") / "run"
    return write_geometry(folder, polar, (Place("pole", 90.0, 0.0),), mask_deg=0.0)


def test_a_pass_through_the_zenith_culminates_between_samples(zenith_run: RunFolder) -> None:
    highest = [row["max_elevation_deg"] for row in zenith_run.events("pass").to_pylist()]
    assert max(highest) > 89.5
    assert messages(zenith_run) == []


@pytest.mark.parametrize("more_deg", [-0.1, 0.1])
def test_a_false_zenith_is_found(zenith_run: RunFolder, tmp_path: Path, more_deg: float) -> None:
    shutil.copytree(zenith_run.path, tmp_path / "copy")
    copy = RunFolder.open(tmp_path / "copy")
    change(copy, "pass", with_column("max_elevation_deg", more_deg))
    assert [message[:20] for message in messages(copy)] == ["max_elevation_deg is"]


def test_elements_kept_with_the_run_are_those_flown(orbit: Orbit, true_run: RunFolder) -> None:
    elements = true_run.orbits()["s1"]
    assert nodal_period_s(elements) == pytest.approx(orbit.period_s, abs=PERIOD_TOLERANCE_S)


@pytest.mark.parametrize(
    ("altitude_km", "ltan_h", "epoch"),
    [(600, 18.0, datetime(2024, 5, 5, tzinfo=UTC)), (510, 6.0, datetime(2024, 2, 10, tzinfo=UTC))],
)
def test_a_shadow_grazed_over_high_latitudes_is_that_of_the_ellipsoid(
    altitude_km: float, ltan_h: float, epoch: datetime, tmp_path: Path
) -> None:
    """Of a sphere with the Earth's equatorial radius it would be minutes longer."""
    grazing = Orbit.from_sun_synchronous(epoch, altitude_km=altitude_km, ltan_h=ltan_h)
    assert messages(write_geometry(tmp_path / "run", grazing, ())) == []


def test_a_mission_may_start_right_after_a_shadow(orbit: Orbit, tmp_path: Path) -> None:
    """Nothing before the start is listed that a margin in time could be taken from."""
    found = shadows(orbit, DURATION_S)
    exit_s = next(a.end_s for a, b in pairwise(found) if b.start_s > a.end_s)
    start = EPOCH + timedelta(seconds=LIGHT_S + exit_s)
    assert messages(write_geometry(tmp_path / "run", replace(orbit, epoch=start), ())) == []


def test_a_run_may_be_interrupted_right_before_a_shadow(copy: RunFolder) -> None:
    rows = copy.events("eclipse").to_pylist()
    stop_s = rows[second_eclipse(rows)]["start_s"] - LIGHT_S
    for name in ("eclipse", "pass", "capture"):
        change(copy, name, lambda rows: [row for row in rows if row["t_s"] <= stop_s])
    manifest = replace(copy.manifest, status="interrupted", progress_s=stop_s)
    assert messages(RunFolder(copy.path, manifest)) == []
