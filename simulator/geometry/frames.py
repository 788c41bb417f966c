"""From SGP4's own frame to the Earth and to the stars, cheaply.

SGP4 gives positions in TEME (true equator, mean equinox). The way to the Earth-fixed frame is one
rotation about the z axis by Greenwich mean sidereal time, which costs nothing. The way to the
inertial GCRS goes through precession and nutation, whose 1,365 terms cost Skyfield some 80 us per
epoch; but TEME turns by less than an arcsecond per day against GCRS, so the rotation (and the
difference of UT1 from TT) is sampled every `KNOT_STEP_S` and interpolated. Tests hold the result
against plain Skyfield.

Times are elapsed SI seconds since an epoch. A leap second inside the mission therefore shifts
nothing: the satellite and the Earth both move on smoothly.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Final

import numpy as np
from scipy.interpolate import CubicSpline
from skyfield.api import load
from skyfield.sgp4lib import TEME, theta_GMST1982

from simulator.geometry.ellipsoid import Floats

KNOT_STEP_S: Final = 6 * 3600.0
"""Spacing of the sampled slow quantities; nutation terms that matter take five days and more, s."""

_DAY_S: Final = 86400.0
_KNOTS_PER_BLOCK: Final = 32
_MARGIN_KNOTS: Final = 2
_J2000_UTC: Final = datetime(2000, 1, 1, 12, tzinfo=UTC)


def utc_julian_date(epoch: datetime) -> tuple[float, float]:
    """UTC Julian date of an aware datetime, as whole days and a fraction."""
    elapsed = epoch - _J2000_UTC
    return 2451545.0 + elapsed.days, (elapsed.seconds + elapsed.microseconds * 1e-6) / _DAY_S


@lru_cache(maxsize=1)
def timescale() -> Any:
    """Skyfield's built-in timescale: leap seconds and UT1 from the package, nothing fetched."""
    return load.timescale(builtin=True)


def skyfield_times(epoch: datetime, t_s: Floats | float) -> Any:
    """Skyfield `Time` of elapsed seconds since `epoch`."""
    start = timescale().from_datetime(epoch)
    return timescale().tt_jd(start.whole, start.tt_fraction + t_s / _DAY_S)


def knot_blocks(t_s: Floats) -> tuple[int, int]:
    """First and last block of knots that cover `t_s`: the key under which knots are kept."""
    block_s = KNOT_STEP_S * _KNOTS_PER_BLOCK
    return math.floor(float(np.min(t_s)) / block_s), math.floor(float(np.max(t_s)) / block_s) + 1


def block_times(first: int, last: int) -> Floats:
    """Knot times of blocks ``first <= block < last``, with a margin at both ends, s."""
    return KNOT_STEP_S * np.arange(
        first * _KNOTS_PER_BLOCK - _MARGIN_KNOTS,
        last * _KNOTS_PER_BLOCK + _MARGIN_KNOTS + 1,
        dtype=np.float64,
    )


@dataclass(frozen=True)
class _SlowRotation:
    """What changes slowly, at knots; and the epoch's Julian date in terrestrial time."""

    tt_whole: float
    tt_fraction: float
    knots_s: Floats
    delta_t_s: Floats
    to_gcrs: CubicSpline


@lru_cache(maxsize=32)
def _slow_rotation(epoch: datetime, first: int, last: int) -> _SlowRotation:
    knots = block_times(first, last)
    times = skyfield_times(epoch, knots)
    from_gcrs = np.asarray(TEME.rotation_at(times))
    start = timescale().from_datetime(epoch)
    return _SlowRotation(
        tt_whole=float(start.whole),
        tt_fraction=float(start.tt_fraction),
        knots_s=knots,
        delta_t_s=np.asarray(times.delta_t),
        to_gcrs=CubicSpline(knots, np.transpose(from_gcrs, (2, 1, 0))),
    )


def sidereal_angle(epoch: datetime, t_s: Floats) -> tuple[Floats, float]:
    """Greenwich mean sidereal time of 1982, the angle from TEME to the Earth-fixed frame.

    Returns
    -------
    angle : ndarray, shape (n,)
        Angle, rad.
    rate : float
        Its rate, rad/s, at the first time (it changes by 1e-15 in a year).

    Notes
    -----
    Vallado, Crawford, Hujsak, Kelso: "Revisiting Spacetrack Report #3", AIAA 2006-6753, appendix C.
    Polar motion (below 15 m on the ground) is left out, as the built-in timescale does.
    """
    slow = _slow_rotation(epoch, *knot_blocks(t_s))
    delta_t_s = np.interp(t_s, slow.knots_s, slow.delta_t_s)
    angle, rate = theta_GMST1982(slow.tt_whole, slow.tt_fraction + (t_s - delta_t_s) / _DAY_S)
    return np.asarray(angle), float(np.atleast_1d(rate)[0]) / _DAY_S


def teme_to_gcrs(epoch: datetime, t_s: Floats) -> Floats:
    """Rotation matrices from TEME to GCRS, shape (n, 3, 3)."""
    return np.asarray(_slow_rotation(epoch, *knot_blocks(t_s)).to_gcrs(t_s))


def gcrs_to_teme_at_knots(epoch: datetime, first: int, last: int) -> Floats:
    """Rotation matrices from GCRS to TEME at `block_times`, shape (k, 3, 3)."""
    slow = _slow_rotation(epoch, first, last)
    return np.transpose(slow.to_gcrs(slow.knots_s), (0, 2, 1))


def rotate_z(angle: Floats, vector: Floats) -> Floats:
    """Components of `vector`, shape (n, 3), in axes turned about z by `angle`, rad."""
    cosine, sine = np.cos(angle), np.sin(angle)
    return np.stack(
        [
            cosine * vector[:, 0] + sine * vector[:, 1],
            cosine * vector[:, 1] - sine * vector[:, 0],
            vector[:, 2],
        ],
        axis=-1,
    )
