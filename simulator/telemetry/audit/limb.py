"""Is the Sun hidden? Lines of sight to the edges of its disc, against the WGS84 ellipsoid.

Each line is tried with the disc a little too small and a little too large. What both agree on is
sure; between them a log may say either. That holds for a satellite that goes straight into the
shadow and for one that grazes it for minutes, where a tolerance in time would not.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Levels = NDArray[np.int_]

SUNLIT, PENUMBRA, UMBRA = 0, 1, 2
"""Levels of darkness: the Sun's disc is seen whole, in part, or not at all."""

SEMI_AXES_KM: Final = np.array([6378.137, 6378.137, 6356.752314245])
"""WGS84 (NGA.STND.0036)."""

SUN_RADIUS_KM: Final = 695_700.0
"""Nominal solar radius, IAU 2015 resolution B3."""

LIMB_TOLERANCE_DEG: Final = 0.01
"""Between Sun and limb. Room for another way to compute the Sun (its aberration is 0.006 deg); a
satellite in a low orbit that goes straight into the shadow sees the Sun sink by as much in 0.16 s.
"""


def darkness_bounds(satellite_km: Floats, sun_km: Floats) -> tuple[Levels, Levels]:
    """Least and greatest level of darkness that can be told from a satellite's place.

    Parameters
    ----------
    satellite_km, sun_km : ndarray, shape (n, 3)
        Geocentric positions, km, z along the Earth's axis.

    Returns
    -------
    least, most : ndarray of int, shape (n,)
        `SUNLIT`, `PENUMBRA` or `UMBRA`; they differ where an edge of the Sun's disc is within
        `LIMB_TOLERANCE_DEG` of the limb.
    """
    line_km = sun_km - satellite_km
    radius = np.arcsin(SUN_RADIUS_KM / np.linalg.norm(line_km, axis=1))
    spread = np.radians(LIMB_TOLERANCE_DEG)

    def hidden(height: Floats) -> Levels:
        return _is_hidden(satellite_km, line_km, height).astype(int)

    # The lower edge is hidden first, the upper one last: levels are the count of hidden edges.
    least = hidden(spread - radius) + hidden(radius + spread)
    most = hidden(-radius - spread) + hidden(radius - spread)
    return least, most


def _is_hidden(satellite_km: Floats, line_km: Floats, height: Floats) -> NDArray[np.bool_]:
    """Whether the ellipsoid blocks lines of sight tilted away from the Earth's centre, rad."""
    ahead = line_km / np.linalg.norm(line_km, axis=1, keepdims=True)
    up = satellite_km - np.sum(satellite_km * ahead, axis=1, keepdims=True) * ahead
    # Straight behind the Earth no side is up, and the tilt does not matter.
    up /= np.maximum(np.linalg.norm(up, axis=1, keepdims=True), np.finfo(float).tiny)
    tilted = np.cos(height)[:, None] * ahead + np.sin(height)[:, None] * up
    # With each axis measured in its own semi-axis the Earth is the unit sphere.
    start, step = satellite_km / SEMI_AXES_KM, tilted / SEMI_AXES_KM
    way = -np.sum(start * step, axis=1) / np.sum(step**2, axis=1)
    nearest = start + way[:, None] * step
    return np.asarray((way > 0.0) & (np.sum(nearest**2, axis=1) < 1.0))
