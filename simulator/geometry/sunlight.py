"""Shadow: how much of the solar disc the satellite sees past the Earth.

The shadow is the pair of cones, umbra and penumbra, that the Sun's disc casts past the WGS84
ellipsoid. In the plane of satellite, Earth's centre and Sun the ellipsoid's limb is exact; the Sun
is a disc of its nominal radius. There is no atmosphere: neither refraction nor dimming, nor the
some ten kilometres by which dense air raises the limb.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from numpy.typing import ArrayLike

from simulator.geometry.ellipsoid import Floats, limb_angle
from simulator.geometry.orbit import Orbit
from simulator.geometry.search import Indices, Intervals, find_intervals
from simulator.geometry.sun import SUN_RADIUS_KM, sun_teme

SHADOW_TOLERANCE_S: Final = 1e-3
"""Largest error of the search for the ends of a shadow, s."""


@dataclass(frozen=True)
class Shadow:
    """A stretch of time in the Earth's shadow.

    Attributes
    ----------
    start_s, end_s : float
        Seconds since the epoch.
    kind : {"umbra", "penumbra"}
        ``umbra``: the Sun is wholly hidden. ``penumbra``: partly; never overlaps an umbra.
    """

    start_s: float
    end_s: float
    kind: Literal["umbra", "penumbra"]


def shadows(orbit: Orbit, duration_s: float) -> list[Shadow]:
    """Every shadow between 0 and `duration_s`, clipped to it, in order of time.

    An eclipse is a penumbra, an umbra and a penumbra, each beginning where the one before ends; a
    grazing one is a single penumbra.
    """
    umbras = _search(orbit, duration_s, _umbra_depth)
    eclipses = _search(orbit, duration_s, _penumbra_depth)
    found: list[Shadow] = []
    for start, end in zip(eclipses.start_s.tolist(), eclipses.end_s.tolist(), strict=True):
        inside = (umbras.start_s >= start - SHADOW_TOLERANCE_S) & (umbras.start_s < end)
        at = start
        for dark, light in zip(
            umbras.start_s[inside].tolist(), umbras.end_s[inside].tolist(), strict=True
        ):
            if dark > at:
                found.append(Shadow(at, dark, "penumbra"))
            found.append(Shadow(dark, light, "umbra"))
            at = light
        if end > at:
            found.append(Shadow(at, end, "penumbra"))
    return found


def illumination(orbit: Orbit, t_s: ArrayLike) -> Floats:
    """Fraction of the solar disc that the satellite sees, 0 (umbra) to 1, shape (n,).

    Next to the Sun's disc (radius ``a``) the Earth's limb is a circle on the sky with the angular
    radius ``rho``, whose curvature there is ``cot(rho)``. The two overlap as plane circles of radii
    ``a`` and ``tan(rho)`` do.
    """
    times = np.atleast_1d(np.asarray(t_s, dtype=np.float64))
    past_limb, sun_radius, limb = _sun_past_limb(orbit, times)
    hidden = _lens_area(sun_radius, np.tan(limb), np.tan(limb) + past_limb)
    return np.clip(1.0 - hidden / (np.pi * sun_radius**2), 0.0, 1.0)


def _umbra_depth(orbit: Orbit, t_s: Floats) -> Floats:
    past_limb, sun_radius, _ = _sun_past_limb(orbit, t_s)
    return -past_limb - sun_radius


def _penumbra_depth(orbit: Orbit, t_s: Floats) -> Floats:
    past_limb, sun_radius, _ = _sun_past_limb(orbit, t_s)
    return sun_radius - past_limb


def _search(orbit: Orbit, duration_s: float, depth: Callable[[Orbit, Floats], Floats]) -> Intervals:
    def signal(t_s: Floats, _: Indices) -> Floats:
        return depth(orbit, t_s)

    return find_intervals(
        signal,
        np.array([0.0]),
        np.array([duration_s]),
        step_s=orbit.search_step_s,
        tolerance_s=SHADOW_TOLERANCE_S,
    )


def _sun_past_limb(orbit: Orbit, t_s: Floats) -> tuple[Floats, Floats, Floats]:
    """Angle of the Sun's centre outside the limb, and the angular radii of Sun and Earth, rad."""
    position, _ = orbit.teme(t_s)
    line = sun_teme(orbit.epoch, t_s) - position
    distance = np.linalg.norm(line, axis=1)
    direction = line / distance[:, None]
    limb = limb_angle(position, direction)
    cosine = -np.sum(direction * position, axis=1) / np.linalg.norm(position, axis=1)
    separation = np.arccos(np.clip(cosine, -1.0, 1.0))
    return separation - limb, np.arcsin(SUN_RADIUS_KM / distance), limb


def _lens_area(small: Floats, large: Floats, distance: Floats) -> Floats:
    """Area common to two circles of radii `small` <= `large`, their centres `distance` apart."""
    apart = np.clip(distance, large - small, large + small)
    from_small = np.clip((apart**2 + small**2 - large**2) / (2.0 * apart * small), -1.0, 1.0)
    from_large = np.clip((apart**2 + large**2 - small**2) / (2.0 * apart * large), -1.0, 1.0)
    return small**2 * (np.arccos(from_small) - from_small * np.sqrt(1.0 - from_small**2)) + (
        large**2 * (np.arccos(from_large) - from_large * np.sqrt(1.0 - from_large**2))
    )
