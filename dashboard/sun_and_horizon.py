"""Where it is night, and from where a station sees a satellite: curves for the map only.

These curves are drawn, never decided on: the simulation has its own geometry. The sun's place is
the Astronomical Almanac's low-precision formula (about 0.01 degrees), visibility is that of a
sphere.
"""

from __future__ import annotations

from datetime import datetime

import numpy as np
from numpy.typing import NDArray

EARTH_RADIUS_KM = 6371.0
_J2000 = 2451545.0
_UNIX_EPOCH_JD = 2440587.5
_SUNRISE_DEG = -0.833
"""Geometric elevation of the sun's centre at sunrise: refraction and half its disc."""


def subsolar_point(moment: datetime) -> tuple[float, float]:
    """Latitude and longitude (east positive) over which the sun stands, degrees.

    References
    ----------
    Astronomical Almanac, "Low precision formulas for the Sun's coordinates".
    """
    days = moment.timestamp() / 86400 + _UNIX_EPOCH_JD - _J2000
    mean_longitude_deg = 280.460 + 0.9856474 * days
    anomaly = np.radians(357.528 + 0.9856003 * days)
    ecliptic = np.radians(
        mean_longitude_deg + 1.915 * np.sin(anomaly) + 0.020 * np.sin(2 * anomaly)
    )
    obliquity = np.radians(23.439 - 0.0000004 * days)
    declination = np.arcsin(np.sin(obliquity) * np.sin(ecliptic))
    right_ascension = np.arctan2(np.cos(obliquity) * np.sin(ecliptic), np.cos(ecliptic))
    sidereal_deg = 280.46062 + 360.9856474 * days
    longitude_deg = (np.degrees(right_ascension) - sidereal_deg + 180) % 360 - 180
    return float(np.degrees(declination)), float(longitude_deg)


def night_outline(moment: datetime) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Polygon of the night on an equirectangular map: longitudes, latitudes, degrees."""
    sun_latitude_deg, sun_longitude_deg = subsolar_point(moment)
    declination = np.radians(sun_latitude_deg)
    longitudes_deg = np.linspace(-180, 180, 181)
    hour = np.radians(longitudes_deg - sun_longitude_deg)
    # sin(elevation) = a sin(latitude) + b cos(latitude); solved for the elevation of sunrise.
    a, b = np.sin(declination), np.cos(declination) * np.cos(hour)
    level = np.clip(np.sin(np.radians(_SUNRISE_DEG)) / np.hypot(a, b), -1, 1)
    phase = np.arctan2(a, b)
    swing = np.arccos(level) * np.sign(a if a else 1.0)
    latitudes_deg = np.degrees(_wrapped(phase - swing))
    edge_deg = -90.0 if sun_latitude_deg > 0 else 90.0
    return (
        np.concatenate([[-180.0], longitudes_deg, [180.0]]),
        np.concatenate([[edge_deg], np.clip(latitudes_deg, -90, 90), [edge_deg]]),
    )


def _wrapped(angle: NDArray[np.float64]) -> NDArray[np.float64]:
    return (angle + np.pi) % (2 * np.pi) - np.pi


def visibility_circle(
    latitude_deg: float, longitude_deg: float, altitude_km: float, min_elevation_deg: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Where a satellite at this altitude must be to be seen: longitudes, latitudes, degrees.

    NaN breaks the line where it crosses the edge of the map.
    """
    elevation = np.radians(min_elevation_deg)
    radius = (
        np.arccos(EARTH_RADIUS_KM * np.cos(elevation) / (EARTH_RADIUS_KM + altitude_km)) - elevation
    )
    bearing = np.linspace(0, 2 * np.pi, 121)
    latitude = np.radians(latitude_deg)
    latitudes = np.arcsin(
        np.sin(latitude) * np.cos(radius) + np.cos(latitude) * np.sin(radius) * np.cos(bearing)
    )
    longitudes = np.radians(longitude_deg) + np.arctan2(
        np.sin(bearing) * np.sin(radius) * np.cos(latitude),
        np.cos(radius) - np.sin(latitude) * np.sin(latitudes),
    )
    return broken_at_edge(np.degrees(_wrapped(longitudes)), np.degrees(latitudes))


def broken_at_edge(
    longitudes_deg: NDArray[np.float64], latitudes_deg: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Insert NaN where a line jumps from one edge of the map to the other."""
    jumps = np.flatnonzero(np.abs(np.diff(longitudes_deg)) > 180) + 1
    return np.insert(longitudes_deg, jumps, np.nan), np.insert(latitudes_deg, jumps, np.nan)
