"""Accesses against plain Skyfield on a grid of two days, and at their own edges."""

from __future__ import annotations

import numpy as np
import pytest
from geometry_reference import (
    DAY_S,
    EPOCH,
    Place,
    ephemeris,
    skyfield_satellite,
    skyfield_times,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from skyfield.api import wgs84
from skyfield.framelib import itrs

from simulator.geometry import Access, AccessError, Orbit, accesses

DURATION_S = 2 * DAY_S
GRID_STEP_S = 30.0
LIMIT_DEG = 35.0
SUN_LIMIT_DEG = 10.0
EDGE_TOLERANCE_S = 0.01
ANGLE_TOLERANCE_DEG = 1e-3
POINTING_TOLERANCE_DEG = 0.01

TARGETS = (
    Place("equator", 0.0, 30.0),
    Place("high north", 81.0, -60.0),
    Place("pole", 89.99, 0.0),
    Place("south", -45.0, 170.0),
    Place("south pole", -88.0, 20.0),
    Place("date line", 15.0, 180.0),
    Place("mountain", 46.0, 7.7, 4600.0),
    Place("pacific", -20.0, -150.0),
)


def _found(orbit: Orbit, places: tuple[Place, ...] = TARGETS, **limits: float) -> list[Access]:
    given_limits = {
        "max_off_nadir_deg": LIMIT_DEG,
        "min_sun_elevation_deg": SUN_LIMIT_DEG,
        "duration_s": DURATION_S,
        **limits,
    }
    return accesses(
        orbit,
        [p.name for p in places],
        [p.latitude_deg for p in places],
        [p.longitude_deg for p in places],
        altitude_m=[p.altitude_m for p in places],
        **given_limits,
    )


def _reference_angles(
    orbit: Orbit, place: Place, times: object
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Off-nadir angle, satellite elevation and Sun elevation, deg, from Skyfield's objects."""
    satellite = skyfield_satellite(orbit).at(times)
    site = wgs84.latlon(place.latitude_deg, place.longitude_deg, place.altitude_m)
    below = wgs84.subpoint_of(satellite)
    position = satellite.frame_xyz(itrs).km.T
    nadir = below.itrs_xyz.km.T - position
    sight = site.itrs_xyz.km - position
    cosine = np.sum(nadir * sight, axis=1) / (
        np.linalg.norm(nadir, axis=1) * np.linalg.norm(sight, axis=1)
    )
    elevation = (skyfield_satellite(orbit) - site).at(times).altaz()[0].degrees
    sun = (ephemeris()["earth"] + site).at(times).observe(ephemeris()["sun"]).apparent()
    return np.degrees(np.arccos(cosine)), elevation, sun.altaz()[0].degrees


def _margin(angles: tuple[np.ndarray, np.ndarray, np.ndarray]) -> np.ndarray:
    off_nadir, elevation, sun = angles
    return np.minimum.reduce([LIMIT_DEG - off_nadir, elevation, sun - SUN_LIMIT_DEG])


@pytest.fixture(scope="module")
def grid() -> tuple[np.ndarray, object]:
    t_s = np.arange(0.0, DURATION_S + 1.0, GRID_STEP_S)
    return t_s, skyfield_times(t_s)


@pytest.mark.parametrize("place", TARGETS, ids=lambda p: p.name)
def test_no_access_is_missed_in_two_days(
    sun_synchronous: Orbit, place: Place, grid: tuple[np.ndarray, object]
) -> None:
    t_s, times = grid
    margin = _margin(_reference_angles(sun_synchronous, place, times))
    inside = np.zeros(len(t_s), bool)
    for one in (a for a in _found(sun_synchronous) if a.target == place.name):
        inside |= (t_s >= one.start_s) & (t_s <= one.end_s)
    sure = np.abs(margin) > ANGLE_TOLERANCE_DEG
    assert (inside[sure] == (margin >= 0)[sure]).all()


def test_limits_are_met_exactly_at_the_ends(sun_synchronous: Orbit) -> None:
    by_name = {p.name: p for p in TARGETS}
    found = _found(sun_synchronous)
    assert len(found) > 10
    assert len({a.target for a in found}) >= 5
    for one in found:
        for edge, outwards in ((one.start_s, -1.0), (one.end_s, 1.0)):
            if edge in (0.0, DURATION_S):
                continue
            times = skyfield_times(np.array([edge, edge + outwards * EDGE_TOLERANCE_S * 2]))
            inner, outer = _margin(_reference_angles(sun_synchronous, by_name[one.target], times))
            assert abs(inner) < 0.02
            assert outer < inner
            assert outer < 1e-4


def test_closest_moment_and_samples_are_right(sun_synchronous: Orbit) -> None:
    by_name = {p.name: p for p in TARGETS}
    for one in _found(sun_synchronous):
        dense = np.linspace(one.start_s, one.end_s, 40)
        t_s = np.concatenate([one.t_s, [one.closest_s], dense])
        off_nadir, _, sun = _reference_angles(
            sun_synchronous, by_name[one.target], skyfield_times(t_s)
        )
        n = len(one.t_s)
        assert np.abs(one.off_nadir_deg - off_nadir[:n]).max() < ANGLE_TOLERANCE_DEG
        assert np.abs(one.target_sun_elevation_deg - sun[:n]).max() < ANGLE_TOLERANCE_DEG
        assert one.min_off_nadir_deg == pytest.approx(off_nadir[n], abs=ANGLE_TOLERANCE_DEG)
        assert one.sun_elevation_deg == pytest.approx(sun[n], abs=ANGLE_TOLERANCE_DEG)
        assert one.min_off_nadir_deg <= off_nadir[n:].min() + ANGLE_TOLERANCE_DEG
        pointed = [one.pointing(t) for t in dense]
        assert np.abs([p.off_nadir_deg for p in pointed] - off_nadir[n + 1 :]).max() < (
            POINTING_TOLERANCE_DEG
        )
        assert np.abs([p.sun_elevation_deg for p in pointed] - sun[n + 1 :]).max() < (
            POINTING_TOLERANCE_DEG
        )


def test_interpolated_roll_and_pitch_follow_the_geometry(sun_synchronous: Orbit) -> None:
    for one in _found(sun_synchronous):
        if one.end_s - one.start_s < 40.0:
            continue
        # The same access, cut in time: other samples, hence other interpolation errors.
        middle = one.start_s + 0.37 * (one.end_s - one.start_s)
        place = tuple(p for p in TARGETS if p.name == one.target)
        cut = _found(sun_synchronous, place, duration_s=middle)[-1]
        assert cut.end_s == middle
        for roll, pitch, t_s in zip(cut.roll_deg, cut.pitch_deg, cut.t_s, strict=True):
            pointing = one.pointing(float(t_s))
            assert pointing.roll_deg == pytest.approx(roll, abs=POINTING_TOLERANCE_DEG)
            assert pointing.pitch_deg == pytest.approx(pitch, abs=POINTING_TOLERANCE_DEG)


def test_a_target_comes_from_ahead_and_lies_to_its_side(sun_synchronous: Orbit) -> None:
    position, _ = sun_synchronous.itrs(120.0)
    longitude = float(np.degrees(np.arctan2(position[0, 1], position[0, 0])))
    latitude = float(np.degrees(np.arcsin(position[0, 2] / np.linalg.norm(position))))
    places = (Place("east", latitude, longitude + 1.5), Place("west", latitude, longitude - 1.5))
    found = _found(sun_synchronous, places, duration_s=400.0)
    assert {a.target for a in found} == {"east", "west"}
    for one in found:
        # Northbound: east is to the right.
        assert np.sign(one.roll_deg).tolist() == [1.0 if one.target == "east" else -1.0] * len(
            one.t_s
        )
        assert (np.diff(one.pitch_deg) < 0.0).all()
        assert one.pitch_deg[0] > 20.0
        assert one.pitch_deg[-1] < -20.0


@settings(max_examples=8, deadline=None)
@given(
    latitude=st.floats(-80.0, 80.0),
    longitude=st.floats(-180.0, 180.0),
    inside_deg=st.floats(1e-6, 1e-3),
)
def test_an_access_that_barely_exists_is_found(
    latitude: float, longitude: float, inside_deg: float
) -> None:
    orbit = Orbit.from_sun_synchronous(EPOCH, altitude_km=510.0, ltan_h=10.5)
    place = (Place("anywhere", latitude, longitude),)
    anytime = {"min_sun_elevation_deg": -90.0, "duration_s": DAY_S}
    for one in _found(orbit, place, max_off_nadir_deg=50.0, **anytime):
        if not one.start_s < one.closest_s < one.end_s or one.min_off_nadir_deg < 0.1:
            continue
        limit = one.min_off_nadir_deg + inside_deg
        again = _found(orbit, place, max_off_nadir_deg=limit, **anytime)
        assert any(a.start_s - 0.05 <= one.closest_s <= a.end_s + 0.05 for a in again)


def test_order_and_determinism(sun_synchronous: Orbit) -> None:
    found = _found(sun_synchronous)
    keys = [(a.start_s, a.target) for a in found]
    assert keys == sorted(keys)
    again = _found(sun_synchronous, TARGETS[::-1])
    assert [(a.start_s, a.end_s, a.target) for a in again] == [
        (a.start_s, a.end_s, a.target) for a in found
    ]


def test_a_field_of_regard_beyond_the_limb_ends_at_the_horizon(sun_synchronous: Orbit) -> None:
    # At 510 km the limb is 68 deg off nadir: with 80 deg allowed the horizon decides.
    found = _found(sun_synchronous, TARGETS[:1], max_off_nadir_deg=80.0, min_sun_elevation_deg=-90)
    assert found
    for one in found:
        times = skyfield_times(np.array([one.start_s, one.end_s]))
        off_nadir, elevation, _ = _reference_angles(sun_synchronous, TARGETS[0], times)
        if one.start_s > 0.0:
            assert abs(elevation[0]) < ANGLE_TOLERANCE_DEG
            assert off_nadir[0] < 70.0


def test_time_outside_an_access_is_refused(sun_synchronous: Orbit) -> None:
    one = _found(sun_synchronous)[0]
    with pytest.raises(AccessError, match="outside the access"):
        one.pointing(one.end_s + 1.0)


def test_bad_limits_and_lengths_are_refused(sun_synchronous: Orbit) -> None:
    with pytest.raises(AccessError, match="max_off_nadir_deg: 90"):
        _found(sun_synchronous, max_off_nadir_deg=90.0)
    with pytest.raises(AccessError, match="2 names for 1 places"):
        accesses(
            sun_synchronous,
            ["a", "b"],
            [0.0],
            [0.0],
            max_off_nadir_deg=30.0,
            min_sun_elevation_deg=0.0,
            duration_s=10.0,
        )


def test_no_targets_no_accesses(sun_synchronous: Orbit) -> None:
    assert _found(sun_synchronous, ()) == []
