"""Pointing: how far and how long the satellite turns between two lines of sight.

Pointing is held in the orbital frame (roll and pitch from nadir) between captures. A slew is one
rotation about a fixed axis at the agility's rate, followed by a settling time; the rate is an
average that includes spin-up and spin-down.
"""

from __future__ import annotations

from dataclasses import dataclass

from simulator.geometry import slew_angle_deg


@dataclass(frozen=True)
class Attitude:
    """A direction of the line of sight in the orbital frame, degrees from nadir."""

    roll_deg: float = 0.0
    pitch_deg: float = 0.0


NADIR = Attitude()


@dataclass(frozen=True)
class Agility:
    """How fast the satellite turns.

    Attributes
    ----------
    slew_rate_deg_s : float
        Mean rate of a slew, deg/s.
    settle_s : float
        Time after a slew before an exposure may start, s. No slew, no settling.
    """

    slew_rate_deg_s: float
    settle_s: float

    @property
    def longest_slew_s(self) -> float:
        """Time of half a turn, which no slew exceeds, s."""
        return 180.0 / self.slew_rate_deg_s + self.settle_s

    def slew_s(self, start: Attitude, end: Attitude) -> float:
        """Time to turn from `start` to `end` and settle, s."""
        angle_deg = slew_angle_deg(start, end)
        return angle_deg / self.slew_rate_deg_s + self.settle_s if angle_deg > 0.0 else 0.0
