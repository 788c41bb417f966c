"""Curves on the map against almanac facts and the geometry of a sphere."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as some

from dashboard.sun_and_horizon import (
    EARTH_RADIUS_KM,
    night_outline,
    subsolar_point,
    visibility_circle,
)

SUN_TOLERANCE_DEG = 0.05
ANGLE_TOLERANCE_DEG = 0.01


@pytest.mark.parametrize(
    ("moment", "declination_deg"),
    [
        (datetime(2024, 6, 20, 20, 51, tzinfo=UTC), 23.44),
        (datetime(2024, 3, 20, 3, 6, tzinfo=UTC), 0.0),
        (datetime(2024, 12, 21, 9, 20, tzinfo=UTC), -23.44),
    ],
)
def test_solstices_and_equinox(moment: datetime, declination_deg: float) -> None:
    assert subsolar_point(moment)[0] == pytest.approx(declination_deg, abs=SUN_TOLERANCE_DEG)


def test_sun_stands_near_greenwich_at_noon() -> None:
    """15 April: the equation of time is nearly zero."""
    assert subsolar_point(datetime(2024, 4, 15, 12, tzinfo=UTC))[1] == pytest.approx(0, abs=0.1)


@given(some.datetimes(datetime(2000, 1, 1), datetime(2048, 1, 1)))
def test_edge_of_the_night_sees_the_sun_at_the_horizon(moment: datetime) -> None:
    moment = moment.replace(tzinfo=UTC)
    sun_latitude_deg, sun_longitude_deg = subsolar_point(moment)
    longitudes_deg, latitudes_deg = (part[1:-1] for part in night_outline(moment))
    inside = np.abs(latitudes_deg) < 89
    a, b = np.radians(sun_latitude_deg), np.radians(latitudes_deg)
    hour = np.radians(longitudes_deg - sun_longitude_deg)
    elevation_deg = np.degrees(
        np.arcsin(np.sin(a) * np.sin(b) + np.cos(a) * np.cos(b) * np.cos(hour))
    )
    if abs(sun_latitude_deg) > 1:  # near an equinox the edge is nearly a meridian
        assert np.allclose(elevation_deg[inside], -0.833, atol=ANGLE_TOLERANCE_DEG)


@given(some.floats(-89, 89), some.floats(-180, 180), some.floats(300, 2000), some.floats(0, 80))
def test_circle_is_where_the_satellite_stands_at_the_mask(
    latitude_deg: float, longitude_deg: float, altitude_km: float, mask_deg: float
) -> None:
    longitudes_deg, latitudes_deg = visibility_circle(
        latitude_deg, longitude_deg, altitude_km, mask_deg
    )
    known = ~np.isnan(longitudes_deg)
    a, b = np.radians(latitude_deg), np.radians(latitudes_deg[known])
    difference = np.radians(longitudes_deg[known] - longitude_deg)
    angle = np.arccos(
        np.clip(np.sin(a) * np.sin(b) + np.cos(a) * np.cos(b) * np.cos(difference), -1, 1)
    )
    above = np.cos(angle) - EARTH_RADIUS_KM / (EARTH_RADIUS_KM + altitude_km)
    elevation_deg = np.degrees(np.arctan2(above, np.sin(angle)))
    assert np.allclose(elevation_deg, mask_deg, atol=0.05)
