"""Accesses: when a target is in the imager's field of regard and lit.

Three conditions hold at once: the target's direction is within the largest off-nadir angle, the
satellite stands above the target's horizon, the Sun stands high enough at the target. The margin by
which the tightest of them holds is the signal that is searched. Looking for it everywhere, for
hundreds of targets and a month, is avoided by a coarse sweep over all (time, target) pairs with a
safe margin, of which only a few per mille remain.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import ArrayLike

from simulator.geometry.ellipsoid import (
    POLAR_RADIUS_KM,
    Floats,
    earth_fixed_position,
    vertical,
)
from simulator.geometry.lvlh import Pointing, lvlh_axes
from simulator.geometry.orbit import Orbit
from simulator.geometry.search import (
    Indices,
    Intervals,
    find_intervals,
    largest_in_intervals,
    sample_intervals,
    sample_slices,
)
from simulator.geometry.sun import sun_itrs

ACCESS_TOLERANCE_S: Final = 1e-3
"""Largest error of an access's ends, s (of its closest moment: of the search for it)."""

_FINE_STEPS: Final = 3
_SAMPLES_PER_FINE_STEP: Final = 2
_LEAST_SPANS: Final = 3
_SLACK_DEG: Final = 1.0
_EARTH_RATE_RAD_S: Final = 7.2921151e-5
_SWEEP_PAIRS: Final = 2_000_000
_BATCH_SAMPLES: Final = 100_000


class AccessError(ValueError):
    """A limit or a target of an access search makes no sense."""


@dataclass(frozen=True, eq=False)
class Access:
    """One stretch of time in which a satellite can image a target.

    Attributes
    ----------
    target : str
        Name of the target.
    start_s, end_s : float
        Seconds since the epoch; clipped to the mission.
    closest_s, min_off_nadir_deg : float
        When the line of sight is nearest to nadir within the access, and that angle.
    sun_elevation_deg : float
        Elevation of the Sun at the target at `closest_s`.
    t_s, off_nadir_deg, roll_deg, pitch_deg, target_sun_elevation_deg : ndarray, shape (n,)
        At least four evenly spaced samples, about 5 s apart in low orbit, both ends included.
        Roll and pitch as in :mod:`simulator.geometry.lvlh`.
    """

    target: str
    start_s: float
    end_s: float
    closest_s: float
    min_off_nadir_deg: float
    sun_elevation_deg: float
    t_s: Floats
    off_nadir_deg: Floats
    roll_deg: Floats
    pitch_deg: Floats
    target_sun_elevation_deg: Floats

    def pointing(self, t_s: float) -> Pointing:
        """Where to look at time `t_s`, by cubic interpolation of the samples.

        Within 0.01 deg of the exact geometry in low orbit.

        Raises
        ------
        AccessError
            `t_s` is outside the access (by more than the tolerance of its ends).
        """
        if not self.start_s - ACCESS_TOLERANCE_S <= t_s <= self.end_s + ACCESS_TOLERANCE_S:
            raise AccessError(
                f"t_s: {t_s} is outside the access of {self.target}, {self.start_s} to {self.end_s}"
            )
        place = (t_s - self.start_s) / (self.end_s - self.start_s) * (len(self.t_s) - 1)
        first = min(max(int(place) - 1, 0), len(self.t_s) - 4)
        weights = _cubic_weights(place - first)

        def at(samples: Floats) -> float:
            near: list[float] = samples[first : first + len(weights)].tolist()
            return sum([w * sample for w, sample in zip(weights, near, strict=True)])

        roll, pitch = at(self.roll_deg), at(self.pitch_deg)
        # Off-nadir has a kink straight below; roll and pitch have none.
        cosine = math.cos(math.radians(roll)) * math.cos(math.radians(pitch))
        off_nadir = math.degrees(math.acos(min(1.0, cosine)))
        return Pointing(roll, pitch, off_nadir, at(self.target_sun_elevation_deg))


def _cubic_weights(place: float) -> tuple[float, float, float, float]:
    """Lagrange weights of four samples at 0, 1, 2, 3 for a value at `place`."""
    a, b, c, d = place, place - 1.0, place - 2.0, place - 3.0
    return -b * c * d / 6.0, a * c * d / 2.0, -a * b * d / 2.0, a * b * c / 6.0


@dataclass(frozen=True, eq=False)
class Scene:
    """The satellite, the targets and the limits of one search.

    Attributes
    ----------
    orbit : Orbit
    place_km, up : ndarray, shape (n, 3)
        Earth-fixed places of the targets and their verticals.
    max_off_nadir_deg, min_sun_elevation_deg : float
    """

    orbit: Orbit
    place_km: Floats
    up: Floats
    max_off_nadir_deg: float
    min_sun_elevation_deg: float

    def look(self, t_s: Floats, target: Indices) -> tuple[Floats, Floats, Floats, Floats]:
        """Roll, pitch, satellite elevation and Sun elevation at the target, deg, each (n,)."""
        position, velocity = self.orbit.itrs(t_s)
        inertial = velocity + _EARTH_RATE_RAD_S * np.stack(
            [-position[:, 1], position[:, 0], np.zeros(len(t_s))], axis=-1
        )
        sight = self.place_km[target] - position
        sight /= np.linalg.norm(sight, axis=1, keepdims=True)
        x, y, z = (np.sum(sight * axis, axis=1) for axis in lvlh_axes(position, inertial))
        return (
            np.degrees(np.arctan2(y, z)),
            np.degrees(np.arcsin(np.clip(x, -1.0, 1.0))),
            _degrees_above(-np.sum(sight * self.up[target], axis=1)),
            self.sun_elevation_deg(t_s, target),
        )

    def sun_elevation_deg(self, t_s: Floats, target: Indices) -> Floats:
        sun = sun_itrs(self.orbit.epoch, t_s) - self.place_km[target]
        return _degrees_above(np.sum(sun * self.up[target], axis=1) / np.linalg.norm(sun, axis=1))

    def off_nadir_deg(self, t_s: Floats, target: Indices) -> Floats:
        roll, pitch, _, _ = self.look(t_s, target)
        return _off_nadir(roll, pitch)

    def margin_deg(self, t_s: Floats, target: Indices) -> Floats:
        """Margin of the tightest condition; an access is where it is not negative."""
        roll, pitch, satellite_elevation, sun_elevation = self.look(t_s, target)
        tightest: Floats = np.minimum.reduce(
            [
                self.max_off_nadir_deg - _off_nadir(roll, pitch),
                satellite_elevation,
                sun_elevation - self.min_sun_elevation_deg,
            ]
        )
        return tightest


def accesses(
    orbit: Orbit,
    names: Sequence[str],
    latitude_deg: ArrayLike,
    longitude_deg: ArrayLike,
    *,
    max_off_nadir_deg: float,
    min_sun_elevation_deg: float,
    duration_s: float,
    altitude_m: ArrayLike = 0.0,
) -> list[Access]:
    """Every access of a satellite to a set of targets, sorted by start, then target.

    Parameters
    ----------
    orbit : Orbit
        The satellite.
    names : sequence of str, length n
        Targets' names.
    latitude_deg, longitude_deg, altitude_m : array_like, broadcast to shape (n,)
        Targets' geodetic coordinates on WGS84.
    max_off_nadir_deg : float
        Largest angle between geodetic nadir and the line of sight, 0 < angle < 90.
    min_sun_elevation_deg : float
        Least elevation of the Sun's centre at the target (geometric); -90 switches it off.
    duration_s : float
        Length of the mission, s.

    Raises
    ------
    AccessError
        Lengths that differ, or a limit out of range.
    """
    if not 0.0 < max_off_nadir_deg < 90.0:
        raise AccessError(
            f"max_off_nadir_deg: {max_off_nadir_deg} is out of range, expected 0 < angle < 90"
        )
    places = earth_fixed_position(latitude_deg, longitude_deg, altitude_m)
    if not len(names):
        return []
    if len(places) != len(names):
        raise AccessError(f"targets: {len(names)} names for {len(places)} places")
    scene = Scene(
        orbit, places, vertical(latitude_deg, longitude_deg), max_off_nadir_deg,
        min_sun_elevation_deg,
    )  # fmt: skip
    target, start, end = _candidate_windows(scene, duration_s)
    fine_s = orbit.search_step_s / _FINE_STEPS
    found: list[Access] = []
    for batch in _batches(end - start, fine_s):
        found += _search_windows(scene, names, target[batch], start[batch], end[batch], fine_s)
    return sorted(found, key=lambda access: (access.start_s, access.target))


def _candidate_windows(scene: Scene, duration_s: float) -> tuple[Indices, Floats, Floats]:
    """Targets and windows outside which no access can be: a sweep of all pairs on a coarse grid."""
    step_s = scene.orbit.search_step_s
    t_s = np.linspace(0.0, duration_s, max(2, math.ceil(duration_s / step_s)) + 1)
    chunk = max(2, _SWEEP_PAIRS // len(scene.place_km))
    position = np.concatenate(
        [scene.orbit.itrs(t_s[i : i + chunk])[0] for i in range(0, len(t_s), chunk)]
    )
    radius = np.linalg.norm(position, axis=1)
    slack = _slack_rad(scene, step_s)
    nearest = math.cos(min(math.pi, _reach_rad(scene, float(radius.max())) + slack))
    lowest_sun = math.sin(max(-math.pi / 2, math.radians(scene.min_sun_elevation_deg) - slack))
    direction = (scene.place_km / np.linalg.norm(scene.place_km, axis=1, keepdims=True)).T
    runs = []
    for i in range(0, len(t_s), chunk):
        part = slice(i, i + chunk)
        sun = sun_itrs(scene.orbit.epoch, t_s[part])
        sun /= np.linalg.norm(sun, axis=1, keepdims=True)
        near = (position[part] / radius[part, None]) @ direction >= nearest
        when, which = np.nonzero(near & (sun @ scene.up.T >= lowest_sun))
        runs.append(np.stack([which, when + i]))
    which, when = np.concatenate(runs, axis=1)
    order = np.lexsort((when, which))
    which, when = which[order], when[order]
    fresh = np.append(True, (np.diff(which) != 0) | (np.diff(when) != 1))[: len(which)]
    final = np.append(fresh[1:], True)[: len(which)]
    start = t_s[np.maximum(when[fresh] - 1, 0)]
    end = t_s[np.minimum(when[final] + 1, len(t_s) - 1)]
    return which[fresh], start, end


def _reach_rad(scene: Scene, radius_km: float) -> float:
    """Largest central angle from satellite to target, on a sphere inside the ellipsoid."""
    # Geodetic nadir leaves the geocentric one by up to 0.2 deg.
    off_nadir = math.radians(min(90.0, scene.max_off_nadir_deg + 0.2))
    beyond = radius_km / POLAR_RADIUS_KM * math.sin(off_nadir)
    if beyond >= 1.0:
        return math.acos(min(1.0, POLAR_RADIUS_KM / radius_km))
    return math.asin(beyond) - off_nadir


def _slack_rad(scene: Scene, step_s: float) -> float:
    """How far satellite, Sun and Earth can turn in a step, and what spheres leave out."""
    return math.radians(_SLACK_DEG) + step_s * (scene.orbit.perigee_rate_rad_s + _EARTH_RATE_RAD_S)


def _batches(length_s: Floats, step_s: float) -> Iterator[slice]:
    """Runs of windows that make about `_BATCH_SAMPLES` fine samples together."""
    samples = np.cumsum(length_s / step_s)
    begin = 0
    while begin < len(samples):
        base = samples[begin - 1] if begin else 0.0
        stop = int(np.searchsorted(samples, base + _BATCH_SAMPLES, side="right"))
        stop = max(stop, begin + 1)
        yield slice(begin, stop)
        begin = stop


def _search_windows(
    scene: Scene,
    names: Sequence[str],
    target: Indices,
    start_s: Floats,
    end_s: Floats,
    fine_s: float,
) -> list[Access]:
    found = find_intervals(
        lambda t, window: scene.margin_deg(t, target[window]),
        start_s,
        end_s,
        step_s=fine_s,
        tolerance_s=ACCESS_TOLERANCE_S,
    )
    if not len(found.start_s):
        return []
    return _sampled(scene, names, target[found.window], found, fine_s / _SAMPLES_PER_FINE_STEP)


def _sampled(
    scene: Scene, names: Sequence[str], target: Indices, found: Intervals, step_s: float
) -> list[Access]:
    """Accesses of the intervals found; their arrays are views of a few long ones."""
    t_s, first = sample_intervals(found, step_s=step_s, least_spans=_LEAST_SPANS)
    roll, pitch, _, sun = scene.look(t_s, np.repeat(target, np.diff(first)))
    off_nadir = _off_nadir(roll, pitch)
    closest_s, negative = largest_in_intervals(
        lambda t, which: -scene.off_nadir_deg(t, target[which]),
        t_s,
        -off_nadir,
        first,
        ACCESS_TOLERANCE_S,
    )
    sun_at_closest = scene.sun_elevation_deg(closest_s, target)
    return [
        Access(
            target=names[target[k]],
            start_s=float(found.start_s[k]),
            end_s=float(found.end_s[k]),
            closest_s=float(closest_s[k]),
            min_off_nadir_deg=float(-negative[k]),
            sun_elevation_deg=float(sun_at_closest[k]),
            t_s=t_s[part],
            off_nadir_deg=off_nadir[part],
            roll_deg=roll[part],
            pitch_deg=pitch[part],
            target_sun_elevation_deg=sun[part],
        )
        for k, part in enumerate(sample_slices(first))
    ]


def _off_nadir(roll_deg: Floats, pitch_deg: Floats) -> Floats:
    roll, pitch = np.radians(roll_deg), np.radians(pitch_deg)
    # The angle of (sin pitch, cos pitch sin roll, cos pitch cos roll) from z, exact near 0 too.
    across = np.hypot(np.sin(pitch), np.cos(pitch) * np.sin(roll))
    off_nadir: Floats = np.degrees(np.arctan2(across, np.cos(pitch) * np.cos(roll)))
    return off_nadir


def _degrees_above(sine: Floats) -> Floats:
    degrees: Floats = np.degrees(np.arcsin(np.clip(sine, -1.0, 1.0)))
    return degrees
