"""The sub-satellite track: what lies straight below the satellite."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from simulator.geometry.ellipsoid import Floats, geodetic_coordinates
from simulator.geometry.orbit import Orbit


@dataclass(frozen=True, eq=False)
class Track:
    """Geodetic (WGS84) positions of the satellite, arrays of one shape (n,).

    Attributes
    ----------
    t_s : ndarray
        Seconds since the epoch, strictly increasing.
    latitude_deg, longitude_deg : ndarray
        Sub-satellite point; longitude in -180..180.
    altitude_km : ndarray
        Height over the ellipsoid.
    """

    t_s: Floats
    latitude_deg: Floats
    longitude_deg: Floats
    altitude_km: Floats


def ground_track(orbit: Orbit, duration_s: float, step_s: float = 30.0) -> Track:
    """Track from 0 to `duration_s`, both included, in equal steps of at most `step_s`."""
    t_s = np.linspace(0.0, duration_s, max(1, math.ceil(duration_s / step_s)) + 1)
    position, _ = orbit.itrs(t_s)
    return Track(t_s, *geodetic_coordinates(position))
