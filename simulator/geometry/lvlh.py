"""The satellite's own axes and where it looks in them.

LVLH: z is geodetic nadir, x the direction of (inertial) flight made level with it, y to the right
of flight. A line of sight is told by two angles: pitch, positive forward, is its angle out of the
y-z plane; roll, positive to the right, is its turn about x. Roll and pitch 0 look straight down,
and ``cos(off_nadir) = cos(pitch) cos(roll)``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from simulator.geometry.ellipsoid import Floats, nadir


class Pointed(Protocol):
    """Anything that looks somewhere: it has a roll and a pitch."""

    @property
    def roll_deg(self) -> float:
        """Roll, deg, positive to the right of flight."""

    @property
    def pitch_deg(self) -> float:
        """Pitch, deg, positive forward."""


@dataclass(frozen=True, slots=True)
class Pointing:
    """Where a satellite looks to see a target, and how the target is lit.

    Attributes
    ----------
    roll_deg, pitch_deg : float
        Line of sight in LVLH axes; right and forward are positive.
    off_nadir_deg : float
        Angle of the line of sight from geodetic nadir.
    sun_elevation_deg : float
        Elevation of the Sun at the target.
    """

    roll_deg: float
    pitch_deg: float
    off_nadir_deg: float
    sun_elevation_deg: float


def slew_angle_deg(a: Pointed, b: Pointed) -> float:
    """Angle between two lines of sight in LVLH axes, deg: the least rotation from one to the other.

    Rotation about the line of sight itself is free: a frame has no preferred azimuth.
    """
    first, second = _line_of_sight(a), _line_of_sight(b)
    # The half-angle form keeps its precision for small angles, where an arc cosine loses it.
    return math.degrees(2.0 * math.asin(min(1.0, 0.5 * math.dist(first, second))))


def _line_of_sight(pointing: Pointed) -> tuple[float, float, float]:
    roll, pitch = math.radians(pointing.roll_deg), math.radians(pointing.pitch_deg)
    return (
        math.sin(pitch),
        math.cos(pitch) * math.sin(roll),
        math.cos(pitch) * math.cos(roll),
    )


def lvlh_axes(position_km: Floats, velocity_km_s: Floats) -> tuple[Floats, Floats, Floats]:
    """Unit vectors x (flight), y (right), z (nadir), each (n, 3), in the frame of the input.

    Parameters
    ----------
    position_km, velocity_km_s : ndarray, shape (n, 3)
        State whose velocity is inertial, in any frame with z along the Earth's axis.
    """
    down = nadir(position_km)
    right = np.cross(down, velocity_km_s)
    right /= np.linalg.norm(right, axis=1, keepdims=True)
    return np.cross(right, down), right, down
