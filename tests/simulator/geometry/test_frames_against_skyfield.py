"""The cheap frames, Sun and ellipsoid against plain Skyfield, epoch by epoch."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import pytest
from geometry_reference import (
    DAY_S,
    EPOCH,
    ephemeris,
    skyfield_satellite,
    skyfield_times,
)
from hypothesis import given
from hypothesis import strategies as st
from skyfield.api import wgs84
from skyfield.framelib import itrs
from skyfield.sgp4lib import TEME

from simulator.geometry import Orbit, SunError, ground_track, sun_elevation
from simulator.geometry.ellipsoid import earth_fixed_position, geodetic_coordinates, nadir
from simulator.geometry.sun import sun_itrs, sun_teme

POSITION_TOLERANCE_KM = 1e-5  # one centimetre
VELOCITY_TOLERANCE_KM_S = 1e-6
SUN_TOLERANCE_RAD = 1e-8
GEODETIC_TOLERANCE_DEG = 1e-9
ALTITUDE_TOLERANCE_KM = 1e-6
ELEVATION_TOLERANCE_DEG = 1e-5

# Not a multiple of the knots' six hours, nor of the day.
MONTH_S = np.sort(np.random.default_rng(5).uniform(0.0, 30 * DAY_S, 250))


def test_inertial_states_agree_for_a_month(sun_synchronous: Orbit) -> None:
    reference = skyfield_satellite(sun_synchronous).at(skyfield_times(MONTH_S))
    position, velocity = sun_synchronous.gcrs(MONTH_S)
    assert np.abs(position - reference.position.km.T).max() < POSITION_TOLERANCE_KM
    assert np.abs(velocity - reference.velocity.km_per_s.T).max() < VELOCITY_TOLERANCE_KM_S


def test_earth_fixed_states_agree_for_a_month(sun_synchronous: Orbit) -> None:
    reference = skyfield_satellite(sun_synchronous).at(skyfield_times(MONTH_S))
    expected_position, expected_velocity = reference.frame_xyz_and_velocity(itrs)
    position, velocity = sun_synchronous.itrs(MONTH_S)
    assert np.abs(position - expected_position.km.T).max() < POSITION_TOLERANCE_KM
    assert np.abs(velocity - expected_velocity.km_per_s.T).max() < VELOCITY_TOLERANCE_KM_S


@pytest.mark.parametrize("year", [1995, 2016, 2030])
def test_other_decades_agree(year: int) -> None:
    epoch = datetime(year, 3, 4, 5, 6, 7, tzinfo=UTC)
    orbit = Orbit.from_sun_synchronous(epoch, altitude_km=700.0, ltan_h=22.0)
    t_s = MONTH_S[:40]
    reference = skyfield_satellite(orbit).at(skyfield_times(t_s, epoch))
    assert np.abs(orbit.gcrs(t_s)[0] - reference.position.km.T).max() < POSITION_TOLERANCE_KM
    assert np.abs(orbit.itrs(t_s)[0] - reference.frame_xyz(itrs).km.T).max() < POSITION_TOLERANCE_KM


def test_the_sun_agrees_for_a_month() -> None:
    times = skyfield_times(MONTH_S)
    seen = ephemeris()["earth"].at(times).observe(ephemeris()["sun"]).apparent()
    for found, expected in (
        (sun_teme(EPOCH, MONTH_S), seen.frame_xyz(TEME).km.T),
        (sun_itrs(EPOCH, MONTH_S), seen.frame_xyz(itrs).km.T),
    ):
        error = np.linalg.norm(found - expected, axis=1) / np.linalg.norm(expected, axis=1)
        assert error.max() < SUN_TOLERANCE_RAD


@pytest.mark.parametrize(
    ("latitude", "longitude", "altitude"), [(0.0, 0.0, 0.0), (67.2, -120.0, 900.0), (-89.9, 5, 10)]
)
def test_sun_elevation_agrees(latitude: float, longitude: float, altitude: float) -> None:
    site = ephemeris()["earth"] + wgs84.latlon(latitude, longitude, altitude)
    seen = site.at(skyfield_times(MONTH_S)).observe(ephemeris()["sun"]).apparent()
    found = sun_elevation(EPOCH, MONTH_S, latitude, longitude, altitude)
    # Skyfield adds the aberration of the site's own motion with the Earth's turning: 0.3 arcsec.
    assert np.abs(found - seen.altaz()[0].degrees).max() < 10 * ELEVATION_TOLERANCE_DEG


def test_ground_track_agrees(sun_synchronous: Orbit) -> None:
    track = ground_track(sun_synchronous, 0.5 * DAY_S, step_s=301.0)
    below = wgs84.geographic_position_of(
        skyfield_satellite(sun_synchronous).at(skyfield_times(track.t_s))
    )
    turn = (track.longitude_deg - below.longitude.degrees + 180.0) % 360.0 - 180.0
    assert np.abs(track.latitude_deg - below.latitude.degrees).max() < 1e-7
    assert np.abs(turn).max() < 1e-7
    assert np.abs(track.altitude_km - below.elevation.km).max() < POSITION_TOLERANCE_KM
    assert track.t_s[0] == 0.0
    assert track.t_s[-1] == 0.5 * DAY_S
    assert np.diff(track.t_s).max() <= 301.0


@given(
    latitude=st.floats(-90.0, 90.0),
    longitude=st.floats(-179.999, 179.999),
    altitude_km=st.floats(-10.0, 40_000.0),
)
def test_geodetic_coordinates_are_undone(
    latitude: float, longitude: float, altitude_km: float
) -> None:
    position = earth_fixed_position(latitude, longitude, altitude_km * 1000.0)
    found_latitude, found_longitude, found_altitude = geodetic_coordinates(position)
    assert abs(found_latitude[0] - latitude) < GEODETIC_TOLERANCE_DEG
    assert abs(found_altitude[0] - altitude_km) < ALTITUDE_TOLERANCE_KM
    turned = (found_longitude[0] - longitude) * np.cos(np.radians(latitude))
    assert abs(turned) < GEODETIC_TOLERANCE_DEG
    assert np.allclose(np.linalg.norm(nadir(position), axis=1), 1.0)


def test_a_leap_second_moves_nothing() -> None:
    epoch = datetime(2016, 12, 31, 23, 59, tzinfo=UTC)
    orbit = Orbit.from_sun_synchronous(epoch, altitude_km=510.0, ltan_h=10.5)
    t_s = np.arange(0.0, 120.0, 0.5)
    step = np.linalg.norm(np.diff(orbit.itrs(t_s)[0], axis=0), axis=1)
    assert np.ptp(step) < 0.01 * step.mean()


def test_one_time_and_many_times_give_the_same(sun_synchronous: Orbit) -> None:
    together = sun_synchronous.itrs(MONTH_S)[0]
    alone = np.concatenate([sun_synchronous.itrs(float(t))[0] for t in MONTH_S[::50]])
    assert np.abs(together[::50] - alone).max() < POSITION_TOLERANCE_KM


def test_the_end_of_the_ephemeris_is_told() -> None:
    with pytest.raises(SunError, match="2053"):
        sun_teme(datetime(2060, 1, 1, tzinfo=UTC), np.array([0.0]))
