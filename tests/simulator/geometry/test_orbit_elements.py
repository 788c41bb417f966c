"""Orbits from their four descriptions: SGP4's own vectors, periods, nodes, and bad input."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta, timezone
from importlib import resources

import numpy as np
import pytest
from geometry_reference import DAY_S, EPOCH
from hypothesis import given, settings
from hypothesis import strategies as st

from simulator.geometry import Orbit, OrbitError
from simulator.geometry.search import find_intervals

SGP4_TOLERANCE_KM = 1e-4  # epochs are datetimes: half a microsecond at 10 km/s, and much less
PERIOD_TOLERANCE_S = 0.05
MEAN_AXIS_TOLERANCE_KM = 1e-6
SUN_RATE_DEG_DAY = 0.9856
SUN_RATE_TOLERANCE_DEG_DAY = 0.0005
LTAN_TOLERANCE_H = 0.005

LINES = (
    "1 06251U 62025E   06176.82412014  .00008885  00000-0  12808-3 0  3985",
    "2 06251  58.0579  54.0425 0030035 139.1568 221.1854 15.56387291  6774",
)
OMM = {
    "OBJECT_NAME": "DELTA 1 DEB",
    "OBJECT_ID": "1962-025E",
    "EPOCH": "2006-06-25T19:46:43.980096",
    "MEAN_MOTION": 15.56387291,
    "ECCENTRICITY": 0.0030035,
    "INCLINATION": "58.0579",
    "RA_OF_ASC_NODE": 54.0425,
    "ARG_OF_PERICENTER": 139.1568,
    "MEAN_ANOMALY": 221.1854,
    "BSTAR": 0.00012808,
}


def _verification() -> list[tuple[str, tuple[str, str], list[list[float]]]]:
    """Satellites of the sgp4 package's verification set: name, lines, rows of minutes and km."""
    package = resources.files("sgp4")
    lines = [
        line[:69]
        for line in (package / "SGP4-VER.TLE").read_text().splitlines()
        if line[:2] in ("1 ", "2 ")
    ]
    blocks = (package / "tcppver.out").read_text().split(" xx")
    names = [block.split()[-1] for block in blocks[:-1]]
    rows = [
        [[float(word) for word in row.split()[:4]] for row in block.splitlines()[1:] if "." in row]
        for block in blocks[1:]
    ]
    return [
        (name, (lines[2 * k], lines[2 * k + 1]), rows[k])
        for k, name in enumerate(names)
        if name in {"5", "6251", "8195", "11801", "14128", "28057", "28129", "29238"}
    ]


def _epoch(line: str) -> datetime:
    year, day = int(line[18:20]), float(line[20:32])
    start = datetime(year + (2000 if year < 57 else 1900), 1, 1, tzinfo=UTC)
    return start + timedelta(days=day - 1.0)


def ascending_nodes_s(orbit: Orbit, duration_s: float) -> np.ndarray:
    """Times at which the satellite crosses the equator northwards."""
    north = find_intervals(
        lambda t, _: orbit.itrs(t)[0][:, 2],
        np.array([0.0]),
        np.array([duration_s]),
        step_s=60.0,
        tolerance_s=1e-4,
    )
    return north.start_s[north.start_s > 1.0]


@pytest.mark.parametrize(("name", "lines", "rows"), _verification(), ids=lambda v: str(v)[:8])
def test_sgp4_verification_vectors(name: str, lines: tuple[str, str], rows: list) -> None:
    assert name
    assert len(rows) > 3
    table = np.array(rows)
    orbit = Orbit.from_tle(lines, _epoch(lines[0]))
    position, _ = orbit.teme(table[:, 0] * 60.0)
    assert np.abs(position - table[:, 1:]).max() < SGP4_TOLERANCE_KM


def test_an_omm_is_the_same_orbit_as_its_tle() -> None:
    t_s = np.arange(0.0, DAY_S, 600.0)
    from_tle = Orbit.from_tle(["DELTA 1 DEB", *LINES], datetime(2006, 6, 26, tzinfo=UTC))
    from_omm = Orbit.from_omm(OMM, datetime(2006, 6, 26, tzinfo=UTC))
    assert np.abs(from_tle.itrs(t_s)[0] - from_omm.itrs(t_s)[0]).max() < SGP4_TOLERANCE_KM


@settings(max_examples=30, deadline=None)
@given(
    perigee_km=st.floats(300.0, 1500.0),
    eccentricity=st.floats(0.0, 0.1),
    inclination=st.floats(1.0, 179.0),
)
def test_keplerian_axis_is_sgp4s_mean_axis(
    perigee_km: float, eccentricity: float, inclination: float
) -> None:
    axis_km = (6378.137 + perigee_km) / (1.0 - eccentricity)
    orbit = Orbit.from_keplerian(
        EPOCH,
        semi_major_axis_km=axis_km,
        eccentricity=eccentricity,
        inclination_deg=inclination,
        raan_deg=-30.0,
        arg_perigee_deg=400.0,
        mean_anomaly_deg=10.0,
    )
    assert abs(orbit.satrec.a * 6378.135 - axis_km) < MEAN_AXIS_TOLERANCE_KM
    # Oblateness changes the two-body period by some J2 = 1.08e-3 times a few.
    assert orbit.period_s == pytest.approx(
        2.0 * math.pi * math.sqrt(axis_km**3 / 398600.8), rel=5e-3
    )


def test_period_is_from_node_to_node(sun_synchronous: Orbit, inclined: Orbit) -> None:
    for orbit in (sun_synchronous, inclined):
        nodes = ascending_nodes_s(orbit, 5 * DAY_S)
        mean_period = (nodes[-1] - nodes[0]) / (len(nodes) - 1)
        assert abs(mean_period - orbit.period_s) < PERIOD_TOLERANCE_S


@pytest.mark.parametrize(("altitude_km", "ltan_h"), [(510.0, 10.5), (705.0, 22.0), (786.0, 0.1)])
def test_sun_synchronous_node_follows_the_sun(altitude_km: float, ltan_h: float) -> None:
    orbit = Orbit.from_sun_synchronous(EPOCH, altitude_km=altitude_km, ltan_h=ltan_h)
    nodes = ascending_nodes_s(orbit, 30 * DAY_S)
    position, _ = orbit.itrs(nodes)
    longitude = np.degrees(np.arctan2(position[:, 1], position[:, 0]))
    local_h = (nodes / 3600.0 + longitude / 15.0) % 24.0
    assert np.abs((local_h - ltan_h + 12.0) % 24.0 - 12.0).max() < LTAN_TOLERANCE_H
    inertial, _ = orbit.gcrs(nodes)
    raan_deg = np.degrees(np.unwrap(np.arctan2(inertial[:, 1], inertial[:, 0])))
    drift = np.polyfit(nodes / DAY_S, raan_deg, 1)[0]
    assert abs(drift - SUN_RATE_DEG_DAY) < SUN_RATE_TOLERANCE_DEG_DAY


def test_sun_synchronous_starts_northbound_at_the_node(sun_synchronous: Orbit) -> None:
    position, velocity = sun_synchronous.itrs(0.0)
    assert abs(position[0, 2]) < 0.001
    assert velocity[0, 2] > 7.0


def test_epoch_is_turned_into_utc() -> None:
    elsewhere = EPOCH.astimezone(timezone(timedelta(hours=5)))
    assert Orbit.from_tle(LINES, elsewhere).epoch == EPOCH
    assert Orbit.from_tle(LINES, elsewhere).epoch.tzinfo is UTC


def test_a_naive_epoch_is_refused() -> None:
    with pytest.raises(OrbitError, match="no time zone"):
        Orbit.from_tle(LINES, datetime(2024, 6, 1))


def test_a_wrong_checksum_names_line_found_and_expected() -> None:
    changed = LINES[1].replace("54.0425", "54.0426")
    with pytest.raises(OrbitError, match=r"line 2 has checksum '4', expected 5"):
        Orbit.from_tle([LINES[0], changed], EPOCH)


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        (LINES[:1], "1 lines found, expected 2"),
        ((LINES[0][:-3], LINES[1]), "line 1 has 66 characters, expected 69"),
        (("1 06252" + LINES[0][7:-1] + "6", LINES[1]), "line 2 of '06251'"),
        ((LINES[1], LINES[0]), "line 1 does not follow the columns"),
        ((LINES[0], LINES[1].replace("54.0425", "5.40425")), "line 2 does not follow the columns"),
    ],
)
def test_broken_lines_are_refused(lines: tuple[str, ...], words: str) -> None:
    with pytest.raises(OrbitError, match=words):
        Orbit.from_tle(lines, EPOCH)


@pytest.mark.parametrize(
    ("number", "columns", "digits", "words"),
    [
        (1, slice(20, 23), "400", "line 1 has its epoch on day 400.* of 2006, expected 1 to 365"),
        (1, slice(20, 23), "366", "line 1 has its epoch on day 366.* of 2006, expected 1 to 365"),
        (1, slice(20, 23), "000", "line 1 has its epoch on day 0.* of 2006, expected 1 to 365"),
        (2, slice(8, 16), "200.0000", "line 2 has the inclination 200, expected 0 to 180"),
        (2, slice(52, 63), " 0.00000001", "line 2 has the mean motion 1e-08, expected 0.01 to 18"),
    ],
)
def test_lines_of_no_orbit_are_refused(
    number: int, columns: slice, digits: str, words: str
) -> None:
    """Numbers that fit the columns, under a checksum that is right."""
    changed = list(LINES)
    line = changed[number - 1]
    line = line[: columns.start] + digits + line[columns.stop : -1]
    total = sum(int(c) if c.isdigit() else c == "-" for c in line)
    changed[number - 1] = f"{line}{total % 10}"
    with pytest.raises(OrbitError, match=words):
        Orbit.from_tle(changed, EPOCH)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"MEAN_MOTION": None}, "MEAN_MOTION is missing"),
        ({"MEAN_MOTION": "fast"}, "MEAN_MOTION is 'fast', expected a number"),
        ({"ECCENTRICITY": "nan"}, "ECCENTRICITY"),
        ({"EPOCH": "yesterday"}, "EPOCH is 'yesterday'"),
        ({"EPOCH": "2006-366T00:00:00"}, "EPOCH is '2006-366T00:00:00'"),
        ({"NORAD_CAT_ID": "x"}, "identification"),
        ({"EPOCH": "0001-01-01T00:00:00+05:00"}, "EPOCH is '0001-01-01T00:00:00.05:00'"),
        ({"EPOCH": "9999-366T00:00:00"}, "EPOCH is '9999-366T00:00:00'"),
        ({"EPOCH": "1900-01-01T00:00:00"}, "expected a year from 1957 to 2056"),
        ({"MEAN_MOTION": -15}, "MEAN_MOTION is -15.0, expected 0.01 to 18"),
        ({"MEAN_MOTION": 1e300}, "MEAN_MOTION is 1e.300, expected 0.01 to 18"),
        ({"ECCENTRICITY": 1}, "ECCENTRICITY is 1.0, expected 0 to 0.9999999"),
        ({"ECCENTRICITY": 0.5, "MEAN_ANOMALY": 180}, "perigee 2... km below the ground"),
        ({"INCLINATION": 200}, "INCLINATION is 200.0, expected 0 to 180"),
        ({"INCLINATION": -1}, "INCLINATION is -1.0, expected 0 to 180"),
        ({"TIME_SYSTEM": "TAI"}, "TIME_SYSTEM is 'TAI', expected UTC"),
        ({"CENTER_NAME": "MARS"}, "CENTER_NAME is 'MARS', expected EARTH"),
        ({"REF_FRAME": "EME2000"}, "REF_FRAME is 'EME2000', expected TEME"),
        ({"MEAN_ELEMENT_THEORY": "DSST"}, "THEORY is 'DSST', expected SGP4 or SGP/SGP4"),
        ({"EPHEMERIS_TYPE": 4}, "EPHEMERIS_TYPE is 4, expected 0"),
    ],
)
def test_broken_omm_fields_are_refused(change: dict[str, object], words: str) -> None:
    with pytest.raises(OrbitError, match=words):
        Orbit.from_omm({**OMM, **change}, EPOCH)


@pytest.mark.parametrize(
    "change",
    [
        {"EPOCH": "2006-176T19:46:43.980096Z"},
        {"CENTER_NAME": "Earth", "REF_FRAME": "TEME", "TIME_SYSTEM": "UTC"},
        {"MEAN_ELEMENT_THEORY": "SGP/SGP4", "EPHEMERIS_TYPE": "0"},
        {"TIME_SYSTEM": "", "EPHEMERIS_TYPE": None},
    ],
)
def test_other_words_for_the_same_omm_are_understood(change: dict[str, object]) -> None:
    epoch = datetime(2006, 6, 26, tzinfo=UTC)
    plain, other = Orbit.from_omm(OMM, epoch), Orbit.from_omm({**OMM, **change}, epoch)
    assert np.array_equal(plain.itrs(0.0)[0], other.itrs(0.0)[0])


def test_a_missing_omm_field_is_named() -> None:
    with pytest.raises(OrbitError, match="INCLINATION is missing"):
        Orbit.from_omm({k: v for k, v in OMM.items() if k != "INCLINATION"}, EPOCH)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"semi_major_axis_km": 510.0}, "counts from the Earth's centre"),
        ({"eccentricity": 1.0}, "closed orbit"),
        ({"eccentricity": 0.2}, "perigee"),
        ({"inclination_deg": 181.0}, "inclination_deg is 181.0"),
        ({"raan_deg": math.nan}, "raan_deg is nan"),
    ],
)
def test_impossible_elements_are_refused(change: dict[str, float], words: str) -> None:
    elements = {
        "semi_major_axis_km": 6888.0,
        "eccentricity": 0.001,
        "inclination_deg": 97.4,
        "raan_deg": 10.0,
        "arg_perigee_deg": 0.0,
        "mean_anomaly_deg": 0.0,
    }
    with pytest.raises(OrbitError, match=words):
        Orbit.from_keplerian(EPOCH, **{**elements, **change})


@pytest.mark.parametrize(
    ("altitude_km", "ltan_h", "words"),
    [(50.0, 10.5, "at least 100"), (7000.0, 10.5, "too high"), (510.0, 24.0, "ltan_h is 24.0")],
)
def test_impossible_sun_synchronous_orbits_are_refused(
    altitude_km: float, ltan_h: float, words: str
) -> None:
    with pytest.raises(OrbitError, match=words):
        Orbit.from_sun_synchronous(EPOCH, altitude_km=altitude_km, ltan_h=ltan_h)


def test_decay_says_when() -> None:
    dragging = Orbit.from_omm({**OMM, "BSTAR": 0.05}, datetime(2006, 6, 26, tzinfo=UTC))
    with pytest.raises(OrbitError, match=r"SGP4 fails at 20\d\d-\d\d-\d\dT.* s after the epoch"):
        dragging.itrs(np.arange(0.0, 300 * DAY_S, 3600.0))
