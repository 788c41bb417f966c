"""What the geometry is tested against: plain Skyfield, and rays cast at the Sun's disc.

Nothing here uses the formulas of the package. Skyfield computes nutation at every epoch; shadows
are decided by tracing straight lines from the satellite to points of the solar disc and asking
whether they hit the ellipsoid.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from importlib import resources
from typing import Any

import numpy as np
from skyfield.api import EarthSatellite, load, load_file, wgs84
from skyfield.framelib import itrs

from simulator.geometry import Orbit

EPOCH = datetime(2024, 6, 1, tzinfo=UTC)
DAY_S = 86400.0
WGS84_AXES_KM = np.array([6378.137, 6378.137, 6356.752314245])
SUN_RADIUS_KM = 695_700.0


@dataclass(frozen=True)
class Place:
    """A ground station, or a target."""

    name: str
    latitude_deg: float
    longitude_deg: float
    altitude_m: float = 0.0


@lru_cache(maxsize=1)
def timescale() -> Any:
    return load.timescale(builtin=True)


@lru_cache(maxsize=1)
def ephemeris() -> Any:
    with resources.as_file(resources.files("skyfield_data") / "data" / "de421.bsp") as path:
        return load_file(str(path))


def skyfield_times(t_s: np.ndarray, epoch: datetime = EPOCH) -> Any:
    """Skyfield times `t_s` seconds after the epoch, on the uniform TAI scale."""
    start = timescale().from_datetime(epoch)
    return timescale().tai_jd(start.whole, start.tai_fraction + np.asarray(t_s) / DAY_S)


def skyfield_satellite(orbit: Orbit) -> Any:
    """The same SGP4 record as a satellite of Skyfield's own."""
    return EarthSatellite.from_satrec(orbit.satrec, timescale())


def reference_elevation_deg(orbit: Orbit, place: Place, times: Any) -> np.ndarray:
    """Elevation by Skyfield's own satellite, topocentric place and horizon."""
    site = wgs84.latlon(place.latitude_deg, place.longitude_deg, place.altitude_m)
    return np.asarray((skyfield_satellite(orbit) - site).at(times).altaz()[0].degrees)


def _earth_fixed(orbit: Orbit, t_s: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    times = skyfield_times(t_s, orbit.epoch)
    satellite = skyfield_satellite(orbit).at(times).frame_xyz(itrs).km.T
    seen = ephemeris()["earth"].at(times).observe(ephemeris()["sun"]).apparent()
    return satellite, seen.frame_xyz(itrs).km.T


def rays_hidden(orbit: Orbit, t_s: np.ndarray, disc: np.ndarray) -> np.ndarray:
    """Whether the Earth hides points of the solar disc, shape (n, m).

    `disc`, shape (m, 2), are places on the disc seen from the satellite, in solar radii.
    """
    satellite, sun = _earth_fixed(orbit, t_s)
    line = sun - satellite
    distance = np.linalg.norm(line, axis=1, keepdims=True)
    line /= distance
    right = np.cross(line, [0.0, 0.0, 1.0])
    right /= np.linalg.norm(right, axis=1, keepdims=True)
    up = np.cross(right, line)
    # Seen from outside, the visible rim of a sphere is where tangents touch, not its great circle.
    radius = np.tan(np.arcsin(SUN_RADIUS_KM / distance))[:, :, None]
    rays = line[:, None] + radius * (
        disc[:, 0, None] * right[:, None] + disc[:, 1, None] * up[:, None]
    )
    # In space stretched to make the ellipsoid a unit sphere, a ray hits it when its closest point
    # to the centre lies ahead and within the sphere.
    start = (satellite / WGS84_AXES_KM)[:, None]
    rays = rays / WGS84_AXES_KM
    rays /= np.linalg.norm(rays, axis=2, keepdims=True)
    along = -np.sum(start * rays, axis=2)
    miss = np.sum(start**2, axis=2) - along**2
    return (along > 0.0) & (miss < 1.0)


RIM = np.stack(
    [np.cos(np.linspace(0, 2 * np.pi, 721)), np.sin(np.linspace(0, 2 * np.pi, 721))], axis=1
)
"""Points around the rim of the solar disc."""


def even_disc(points: int) -> np.ndarray:
    """Points of equal weight over the disc (sunflower spiral)."""
    k = np.arange(points)
    turn = k * np.pi * (3.0 - np.sqrt(5.0))
    return np.sqrt((k + 0.5) / points)[:, None] * np.stack([np.cos(turn), np.sin(turn)], axis=1)
