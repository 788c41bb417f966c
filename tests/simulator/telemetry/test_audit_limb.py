"""Whether the Sun is hidden, where it can be said by hand: over the equator and over a pole."""

from __future__ import annotations

import math

import numpy as np
import pytest

from simulator.telemetry.audit.limb import (
    LIMB_TOLERANCE_DEG,
    PENUMBRA,
    SUNLIT,
    UMBRA,
    darkness_bounds,
)

ALTITUDE_KM = 600.0
SUN_KM = 149_597_870.7
SUN_RADIUS_DEG = 0.2666
"""The disc's angular radius at one astronomical unit, to 0.0001 deg."""

EQUATOR, POLE = np.array([1.0, 0.0, 0.0]), np.array([0.0, 0.0, 1.0])
SEA_LEVEL_KM = {"equator": 6378.137, "pole": 6356.752}
WIDE, NARROW = 1.2 * LIMB_TOLERANCE_DEG, 0.8 * LIMB_TOLERANCE_DEG


def bounds_at(place: str, past_limb_deg: float) -> tuple[int, int]:
    """Of a satellite above the equator or a pole, the Sun's centre so far outside the limb.

    From straight above the equator the limb is looked for along it, where it is a circle's. From
    above a pole the satellite sees a circle too, which touches the meridian's ellipse.
    """
    up = EQUATOR if place == "equator" else POLE
    distance_km = SEA_LEVEL_KM[place] + ALTITUDE_KM
    if place == "equator":
        limb = math.asin(SEA_LEVEL_KM["equator"] / distance_km)
    else:  # the tangent from (0, d) to x^2 / a^2 + z^2 / b^2 = 1
        squares = distance_km**2 - SEA_LEVEL_KM["pole"] ** 2
        limb = math.atan(SEA_LEVEL_KM["equator"] / math.sqrt(squares))
    angle = limb + math.radians(past_limb_deg)
    across = np.array([0.0, 1.0, 0.0])
    sight = -math.cos(angle) * up + math.sin(angle) * across
    satellite_km = distance_km * up
    least, most = darkness_bounds(satellite_km[None], (satellite_km + SUN_KM * sight)[None])
    return int(least[0]), int(most[0])


@pytest.mark.parametrize("place", ["equator", "pole"])
@pytest.mark.parametrize(
    ("past_limb_deg", "expected"),
    [
        (-60.0, (UMBRA, UMBRA)),
        (-SUN_RADIUS_DEG - WIDE, (UMBRA, UMBRA)),
        (-SUN_RADIUS_DEG - NARROW, (PENUMBRA, UMBRA)),
        (-SUN_RADIUS_DEG + NARROW, (PENUMBRA, UMBRA)),
        (-SUN_RADIUS_DEG + WIDE, (PENUMBRA, PENUMBRA)),
        (SUN_RADIUS_DEG - WIDE, (PENUMBRA, PENUMBRA)),
        (SUN_RADIUS_DEG - NARROW, (SUNLIT, PENUMBRA)),
        (SUN_RADIUS_DEG + NARROW, (SUNLIT, PENUMBRA)),
        (SUN_RADIUS_DEG + WIDE, (SUNLIT, SUNLIT)),
        (90.0, (SUNLIT, SUNLIT)),
    ],
)
def test_edges_of_the_disc_at_the_limb(
    place: str, past_limb_deg: float, expected: tuple[int, int]
) -> None:
    assert bounds_at(place, past_limb_deg) == expected


def test_straight_behind_the_earth_it_is_dark() -> None:
    behind = np.array([[-7000.0, 0.0, 0.0]])
    least, most = darkness_bounds(behind, np.array([[SUN_KM, 0.0, 0.0]]))
    assert (least[0], most[0]) == (UMBRA, UMBRA)
