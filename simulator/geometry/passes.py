"""Passes: when a ground station sees the satellite above its mask.

Elevation is geometric, against the WGS84 horizon of the station, refraction off. Every local
maximum of the elevation is searched for, so a pass of a second is found as surely as one of ten
minutes; one under way at either end of the mission is clipped there.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np

from simulator.geometry.ellipsoid import Floats, earth_fixed_position, vertical
from simulator.geometry.orbit import Orbit
from simulator.geometry.search import (
    Indices,
    Intervals,
    find_intervals,
    largest_in_intervals,
    sample_intervals,
    sample_slices,
)

PASS_TOLERANCE_S: Final = 1e-3
"""Largest error of AOS and LOS, s."""

PASS_SAMPLE_STEP_S: Final = 10.0
"""Largest spacing of a pass's samples, s."""


class Station(Protocol):
    """A place on the ground with an antenna."""

    @property
    def name(self) -> str:
        """Name, as events and metrics show it."""

    @property
    def latitude_deg(self) -> float:
        """Geodetic latitude, deg."""

    @property
    def longitude_deg(self) -> float:
        """Longitude, deg, positive east."""

    @property
    def altitude_m(self) -> float:
        """Height over the WGS84 ellipsoid, m."""


@dataclass(frozen=True, eq=False)
class Pass:
    """One stretch of time in which a station sees a satellite above its mask.

    Attributes
    ----------
    station : str
        Name of the station.
    aos_s, los_s : float
        Acquisition and loss of signal, s since the epoch; clipped to the mission.
    culmination_s, max_elevation_deg : float
        When the satellite stands highest, and how high.
    t_s, elevation_deg, range_km : ndarray, shape (n,)
        Samples at most `PASS_SAMPLE_STEP_S` apart, both ends included.
    """

    station: str
    aos_s: float
    los_s: float
    culmination_s: float
    max_elevation_deg: float
    t_s: Floats
    elevation_deg: Floats
    range_km: Floats


def passes(
    orbit: Orbit, station: Station, min_elevation_deg: float, duration_s: float
) -> list[Pass]:
    """Every pass of the satellite over a station from 0 to `duration_s`, in order of time.

    Parameters
    ----------
    orbit : Orbit
        The satellite.
    station : object
        Anything with ``name``, ``latitude_deg``, ``longitude_deg`` and ``altitude_m``.
    min_elevation_deg : float
        The station's mask.
    duration_s : float
        Length of the mission, s.
    """

    def above_mask(t_s: Floats, _: Indices) -> Floats:
        return look_angles(orbit, station, t_s)[0] - min_elevation_deg

    found = find_intervals(
        above_mask,
        np.array([0.0]),
        np.array([duration_s]),
        step_s=orbit.search_step_s,
        tolerance_s=PASS_TOLERANCE_S,
    )
    return _sampled(orbit, station, found) if len(found.start_s) else []


def look_angles(orbit: Orbit, station: Station, t_s: Floats) -> tuple[Floats, Floats]:
    """Elevation (deg) and range (km) of the satellite from a station, each of shape (n,)."""
    place = earth_fixed_position(station.latitude_deg, station.longitude_deg, station.altitude_m)
    up = vertical(station.latitude_deg, station.longitude_deg)[0]
    line = orbit.itrs(t_s)[0] - place
    distance = np.linalg.norm(line, axis=1)
    return np.degrees(np.arcsin(np.clip(line @ up / distance, -1.0, 1.0))), distance


def _sampled(orbit: Orbit, station: Station, found: Intervals) -> list[Pass]:
    """Passes of the intervals found; their arrays are views of three long ones."""
    t_s, first = sample_intervals(found, step_s=PASS_SAMPLE_STEP_S, least_spans=2)
    elevation, distance = look_angles(orbit, station, t_s)

    def height(times: Floats, _: Indices) -> Floats:
        return look_angles(orbit, station, times)[0]

    culmination, highest = largest_in_intervals(height, t_s, elevation, first, PASS_TOLERANCE_S)
    return [
        Pass(
            station=station.name,
            aos_s=float(found.start_s[k]),
            los_s=float(found.end_s[k]),
            culmination_s=float(culmination[k]),
            max_elevation_deg=float(highest[k]),
            t_s=t_s[part],
            elevation_deg=elevation[part],
            range_km=distance[part],
        )
        for k, part in enumerate(sample_slices(first))
    ]
