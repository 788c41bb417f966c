"""The Earth as the WGS84 ellipsoid: geodetic coordinates, the local vertical, the limb.

Every place and every vertical in this package refers to one ellipsoid of revolution about the
z axis, in whatever frame shares the Earth's axis (Earth-fixed, or the true equator frame of SGP4).
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
"""Array of float64."""

EQUATORIAL_RADIUS_KM: Final = 6378.137
"""WGS84 semi-major axis, km (NGA.STND.0036, table 3.1)."""

FLATTENING: Final = 1.0 / 298.257223563
"""WGS84 flattening (NGA.STND.0036, table 3.1)."""

POLAR_RADIUS_KM: Final = EQUATORIAL_RADIUS_KM * (1.0 - FLATTENING)
"""WGS84 semi-minor axis, km."""

_E2: Final = FLATTENING * (2.0 - FLATTENING)
_SECOND_E2: Final = _E2 / (1.0 - _E2)
_LATITUDE_ITERATIONS: Final = 2


def earth_fixed_position(
    latitude_deg: ArrayLike, longitude_deg: ArrayLike, altitude_m: ArrayLike = 0.0
) -> Floats:
    """Earth-fixed position of geodetic coordinates.

    Parameters
    ----------
    latitude_deg, longitude_deg, altitude_m : array_like, broadcast to shape (n,)
        Geodetic coordinates on WGS84.

    Returns
    -------
    ndarray, shape (n, 3)
        Position, km.
    """
    latitude, longitude, altitude_km = np.broadcast_arrays(
        np.radians(np.atleast_1d(np.asarray(latitude_deg, dtype=np.float64))),
        np.radians(np.atleast_1d(np.asarray(longitude_deg, dtype=np.float64))),
        np.asarray(altitude_m, dtype=np.float64) / 1000.0,
    )
    prime_vertical = EQUATORIAL_RADIUS_KM / np.sqrt(1.0 - _E2 * np.sin(latitude) ** 2)
    horizontal = (prime_vertical + altitude_km) * np.cos(latitude)
    return np.stack(
        [
            horizontal * np.cos(longitude),
            horizontal * np.sin(longitude),
            (prime_vertical * (1.0 - _E2) + altitude_km) * np.sin(latitude),
        ],
        axis=-1,
    )


def vertical(latitude_deg: ArrayLike, longitude_deg: ArrayLike) -> Floats:
    """Unit vector up along the ellipsoid's normal, shape (n, 3), at geodetic coordinates."""
    latitude = np.radians(np.atleast_1d(np.asarray(latitude_deg, dtype=np.float64)))
    longitude = np.radians(np.atleast_1d(np.asarray(longitude_deg, dtype=np.float64)))
    return np.stack(
        [
            np.cos(latitude) * np.cos(longitude),
            np.cos(latitude) * np.sin(longitude),
            np.sin(latitude),
        ],
        axis=-1,
    )


def _latitude_sine_cosine(position_km: Floats) -> tuple[Floats, Floats, Floats]:
    """Sine and cosine of geodetic latitude and the distance from the axis (Bowring 1976)."""
    axial = np.hypot(position_km[:, 0], position_km[:, 1])
    z = position_km[:, 2]
    # Tangents are kept as numerator and denominator: the poles and the equator are not special.
    reduced = EQUATORIAL_RADIUS_KM * z, POLAR_RADIUS_KM * axial
    for _ in range(_LATITUDE_ITERATIONS):
        norm = np.hypot(*reduced)
        numerator = z + _SECOND_E2 * POLAR_RADIUS_KM * (reduced[0] / norm) ** 3
        denominator = axial - _E2 * EQUATORIAL_RADIUS_KM * (reduced[1] / norm) ** 3
        reduced = (1.0 - FLATTENING) * numerator, denominator
    norm = np.hypot(numerator, denominator)
    return numerator / norm, denominator / norm, axial


def geodetic_coordinates(position_km: Floats) -> tuple[Floats, Floats, Floats]:
    """Geodetic latitude (deg), longitude (deg, -180..180) and altitude (km) on WGS84.

    Bowring's iteration, twice: below 1e-9 deg and 1e-6 km from the surface to beyond the
    geostationary ring.

    Parameters
    ----------
    position_km : ndarray, shape (n, 3)
        Earth-fixed position, km.
    """
    sine, cosine, axial = _latitude_sine_cosine(position_km)
    altitude = (
        axial * cosine
        + position_km[:, 2] * sine
        - EQUATORIAL_RADIUS_KM * np.sqrt(1.0 - _E2 * sine**2)
    )
    longitude = np.degrees(np.arctan2(position_km[:, 1], position_km[:, 0]))
    return np.degrees(np.arctan2(sine, cosine)), longitude, altitude


def nadir(position_km: Floats) -> Floats:
    """Unit vector, shape (n, 3), from a satellite down along the normal of the ellipsoid.

    Parameters
    ----------
    position_km : ndarray, shape (n, 3)
        Position in any frame whose z axis is the Earth's axis.
    """
    sine, cosine, axial = _latitude_sine_cosine(position_km)
    scale = cosine / np.maximum(axial, np.finfo(np.float64).tiny)
    return -np.stack([position_km[:, 0] * scale, position_km[:, 1] * scale, sine], axis=-1)


def limb_angle(position_km: Floats, towards: Floats) -> Floats:
    """Angle between the Earth's centre and its limb, seen from a satellite, in one direction.

    The plane through the satellite, the Earth's centre and `towards` cuts the ellipsoid in an
    ellipse; a line of sight at angle ``phi`` from the centre touches it where the quadratic
    ``(r.A.d)^2 = (d.A.d) (r.A.r - 1)``, with ``A = diag(a^-2, a^-2, b^-2)``, has one solution along
    the line. That is a quadratic in ``tan(phi)``, solved in closed form.

    Parameters
    ----------
    position_km : ndarray, shape (n, 3)
        Satellite positions outside the ellipsoid, z along the Earth's axis.
    towards : ndarray, shape (n, 3)
        Unit vectors that say on which side the limb is looked for.

    Returns
    -------
    ndarray, shape (n,)
        Angle, rad, in 0..pi/2.
    """
    centre = -position_km / np.linalg.norm(position_km, axis=1, keepdims=True)
    across = towards - np.sum(towards * centre, axis=1, keepdims=True) * centre
    length = np.linalg.norm(across, axis=1, keepdims=True)
    # Looking straight at the centre (or away from it) leaves the side open: any one will do.
    across = np.where(length > 1e-9, across, np.cross(centre, [0.0, 0.6, 0.8]))
    across /= np.linalg.norm(across, axis=1, keepdims=True)
    weights = np.array([EQUATORIAL_RADIUS_KM, EQUATORIAL_RADIUS_KM, POLAR_RADIUS_KM]) ** -2.0
    weighted = position_km * weights
    outside = np.sum(weighted * position_km, axis=1) - 1.0
    p, q = np.sum(weighted * centre, axis=1), np.sum(weighted * across, axis=1)
    quadratic = q**2 - outside * np.sum(across**2 * weights, axis=1)
    half_linear = p * q - outside * np.sum(centre * across * weights, axis=1)
    constant = p**2 - outside * np.sum(centre**2 * weights, axis=1)
    root = np.sqrt(np.maximum(half_linear**2 - quadratic * constant, 0.0))
    # tan(phi) = (-half_linear - root) / quadratic, in the form that survives quadratic -> 0 and
    # puts phi on the side of `across`.
    angle: Floats = np.arctan2(constant, root - half_linear)
    return angle
