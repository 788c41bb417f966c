"""What the solar panels get, as a piecewise-linear function of time.

The fraction of nominal panel power is ``illumination x incidence x (1 AU / distance)^2``. A battery
model integrates it exactly between knots; the knots are therefore placed so that straight lines
between them carry the true energy to better than 0.1 % per orbit: at every shadow edge, close
together inside penumbrae, and along the sunlit arc as densely as the incidence bends.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np

from simulator.geometry.ellipsoid import Floats, nadir
from simulator.geometry.lvlh import lvlh_axes
from simulator.geometry.orbit import Orbit
from simulator.geometry.sun import ASTRONOMICAL_UNIT_KM, sun_teme
from simulator.geometry.sunlight import Shadow, illumination, shadows

PanelPointing = Literal["sun", "nadir", "body"]

_SUN_POINTING_STEP_S: Final = 6 * 3600.0
_PENUMBRA_STEPS: Final = 16
_PENUMBRA_STEP_S: Final = 5.0


class PanelError(ValueError):
    """An unknown way of pointing panels was asked for."""


@dataclass(frozen=True, eq=False)
class GenerationProfile:
    """Knots of a piecewise-linear function: fraction of nominal panel power over time.

    Attributes
    ----------
    t_s : ndarray, shape (n,)
        Knots, strictly increasing, from 0 to the duration.
    fraction : ndarray, shape (n,)
        Power over nominal power (panel facing the Sun at 1 AU). 0 in the umbra; up to about 1.034
        in January, and up to sqrt(3) times that for a body-mounted cuboid.
    """

    t_s: Floats
    fraction: Floats


def generation_profile(
    orbit: Orbit, duration_s: float, pointing: PanelPointing
) -> GenerationProfile:
    """Generation of a satellite's panels from 0 to `duration_s`.

    Parameters
    ----------
    orbit : Orbit
        The satellite.
    duration_s : float
        Length of the mission, s.
    pointing : {"sun", "nadir", "body"}
        ``sun``: the panel always faces the Sun, incidence 1. ``nadir``: the satellite keeps its
        imager down and the panel is on the opposite, zenith, face: incidence max(0, cos) of the
        Sun's zenith angle. ``body``: a cuboid flying in LVLH axes with equal cells on all six
        faces, where the panel area is that of *one* face: the sum of max(0, cos) over six faces.

    Raises
    ------
    PanelError
        Another `pointing`.
    """
    if pointing not in _INCIDENCE:
        raise PanelError(
            f"pointing: {pointing!r} is unknown, expected one of {', '.join(_INCIDENCE)}"
        )
    dark = shadows(orbit, duration_s)
    step_s = _SUN_POINTING_STEP_S if pointing == "sun" else orbit.search_step_s
    t_s = _knots(dark, duration_s, step_s)
    sun = sun_teme(orbit.epoch, t_s)
    distance = np.linalg.norm(sun, axis=1)
    incidence = _INCIDENCE[pointing](orbit, t_s, sun / distance[:, None])
    lit = _lit_fraction(orbit, t_s, dark)
    return GenerationProfile(t_s, lit * incidence * (ASTRONOMICAL_UNIT_KM / distance) ** 2)


def _facing_sun(_: Orbit, t_s: Floats, __: Floats) -> Floats:
    return np.ones_like(t_s)


def _on_zenith_face(orbit: Orbit, t_s: Floats, sun: Floats) -> Floats:
    position, _ = orbit.teme(t_s)
    cosine: Floats = np.maximum(0.0, -np.sum(nadir(position) * sun, axis=1))
    return cosine


def _on_six_faces(orbit: Orbit, t_s: Floats, sun: Floats) -> Floats:
    # Of two opposite faces one is lit: max(0, c) + max(0, -c) = |c|.
    axes = lvlh_axes(*orbit.teme(t_s))
    cosines: Floats = np.sum([np.abs(np.sum(axis * sun, axis=1)) for axis in axes], axis=0)
    return cosines


_INCIDENCE: Final[dict[str, Callable[[Orbit, Floats, Floats], Floats]]] = {
    "sun": _facing_sun,
    "nadir": _on_zenith_face,
    "body": _on_six_faces,
}


def _knots(dark: list[Shadow], duration_s: float, step_s: float) -> Floats:
    """Even steps outside umbrae, shadow edges, and finer steps inside penumbrae."""
    even = np.linspace(0.0, duration_s, max(1, int(np.ceil(duration_s / step_s))) + 1)
    starts = np.array([s.start_s for s in dark if s.kind == "umbra"])
    ends = np.array([s.end_s for s in dark if s.kind == "umbra"])
    if len(starts):
        last = np.searchsorted(starts, even, side="right") - 1
        even = even[(last < 0) | (even >= ends[last])]
    pieces = [even, starts, ends, np.array([0.0, duration_s])]
    for shadow in dark:
        if shadow.kind == "penumbra":
            steps = max(_PENUMBRA_STEPS, int((shadow.end_s - shadow.start_s) / _PENUMBRA_STEP_S))
            pieces.append(np.linspace(shadow.start_s, shadow.end_s, steps + 1))
    return np.unique(np.concatenate(pieces))


def _lit_fraction(orbit: Orbit, t_s: Floats, dark: list[Shadow]) -> Floats:
    """Illumination at the knots: exactly 0 in umbrae, exactly 1 outside shadows."""
    if not dark:
        return np.ones_like(t_s)
    starts = np.array([s.start_s for s in dark])
    ends = np.array([s.end_s for s in dark])
    umbra = np.array([s.kind == "umbra" for s in dark])
    # A knot on an edge belongs to both neighbours; the shadow before and the one after decide.
    after = np.searchsorted(starts, t_s, side="right") - 1
    before = np.maximum(after - 1, 0)
    held = (after >= 0) & (t_s <= ends[after])
    in_umbra = held & umbra[after]
    in_umbra |= (after > 0) & umbra[before] & (t_s == ends[before])
    lit = np.ones_like(t_s)
    partly = held & ~in_umbra
    lit[partly] = illumination(orbit, t_s[partly]) if partly.any() else 1.0
    lit[in_umbra] = 0.0
    return lit
