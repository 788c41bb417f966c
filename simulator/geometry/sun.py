"""Where the Sun is, as seen from the Earth: JPL's DE421, sampled coarsely and interpolated.

The apparent position (light time and aberration included) is what casts shadows and lights
targets. It moves by a degree a day, so one sample every six hours and a cubic spline are exact to
far below the ephemeris' own error.
"""

from __future__ import annotations

from datetime import datetime
from functools import lru_cache
from importlib import resources
from typing import Any, Final

import numpy as np
from numpy.typing import ArrayLike
from scipy.interpolate import CubicSpline
from skyfield.api import load_file
from skyfield.errors import EphemerisRangeError

from simulator.geometry.ellipsoid import Floats, earth_fixed_position, vertical
from simulator.geometry.frames import (
    block_times,
    gcrs_to_teme_at_knots,
    knot_blocks,
    rotate_z,
    sidereal_angle,
    skyfield_times,
)

ASTRONOMICAL_UNIT_KM: Final = 149_597_870.7
"""IAU 2012 resolution B2, km."""

SUN_RADIUS_KM: Final = 695_700.0
"""Nominal solar radius, IAU 2015 resolution B3, km."""


class SunError(ValueError):
    """The Sun's position is not known at the time asked for."""


@lru_cache(maxsize=1)
def _ephemeris() -> Any:
    # The path is resolved here because skyfield_data's own function warns about the age of an
    # Earth-orientation file that is not used.
    with resources.as_file(resources.files("skyfield_data") / "data" / "de421.bsp") as path:
        return load_file(str(path))


@lru_cache(maxsize=32)
def _sun_spline(epoch: datetime, first: int, last: int) -> CubicSpline:
    knots = block_times(first, last)
    bodies = _ephemeris()
    try:
        seen = bodies["earth"].at(skyfield_times(epoch, knots)).observe(bodies["sun"])
    except EphemerisRangeError as error:
        raise SunError(
            f"epoch: {epoch:%Y-%m-%d} with a mission of this length leaves the span of the solar "
            f"ephemeris DE421, 1899-07-29 to 2053-10-09; choose times inside it"
        ) from error
    in_gcrs = np.asarray(seen.apparent().position.km)
    return CubicSpline(
        knots, np.einsum("kij,jk->ki", gcrs_to_teme_at_knots(epoch, first, last), in_gcrs)
    )


def sun_teme(epoch: datetime, t_s: Floats) -> Floats:
    """Apparent geocentric position of the Sun in TEME, km, shape (n, 3).

    Raises
    ------
    SunError
        A time outside DE421 (1899 to 2053).
    """
    return np.asarray(_sun_spline(epoch, *knot_blocks(t_s))(t_s))


def sun_itrs(epoch: datetime, t_s: Floats) -> Floats:
    """Apparent geocentric position of the Sun in the Earth-fixed frame, km, shape (n, 3)."""
    return rotate_z(sidereal_angle(epoch, t_s)[0], sun_teme(epoch, t_s))


def sun_elevation(
    epoch: datetime,
    t_s: ArrayLike,
    latitude_deg: ArrayLike,
    longitude_deg: ArrayLike,
    altitude_m: ArrayLike = 0.0,
) -> Floats:
    """Elevation of the Sun's centre above the local horizon, deg; geometric, refraction off.

    Parameters
    ----------
    epoch : datetime
        Aware datetime at which `t_s` is 0.
    t_s, latitude_deg, longitude_deg, altitude_m : array_like, broadcast to shape (n,)
        Times and places.
    """
    times = np.atleast_1d(np.asarray(t_s, dtype=np.float64))
    line = sun_itrs(epoch, times) - earth_fixed_position(latitude_deg, longitude_deg, altitude_m)
    up = vertical(latitude_deg, longitude_deg)
    sine = np.sum(line * up, axis=1) / np.linalg.norm(line, axis=1)
    elevation: Floats = np.degrees(np.arcsin(sine))
    return elevation
