"""Roll, pitch and the slew between two lines of sight."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator.geometry import Pointing, slew_angle_deg
from simulator.geometry.lvlh import lvlh_axes

ANGLE_TOLERANCE_DEG = 1e-9
angles = st.floats(-60.0, 60.0)
pointings = st.builds(
    Pointing, roll_deg=angles, pitch_deg=angles, off_nadir_deg=st.just(0.0),
    sun_elevation_deg=st.just(0.0),
)  # fmt: skip
NADIR = Pointing(0.0, 0.0, 0.0, 0.0)


@given(a=pointings, b=pointings, c=pointings)
def test_slew_is_a_distance(a: Pointing, b: Pointing, c: Pointing) -> None:
    assert slew_angle_deg(a, a) == 0.0
    assert slew_angle_deg(a, b) == slew_angle_deg(b, a)
    assert slew_angle_deg(a, c) <= slew_angle_deg(a, b) + slew_angle_deg(b, c) + ANGLE_TOLERANCE_DEG


@given(roll=angles, pitch=angles)
def test_slew_from_nadir_is_the_off_nadir_angle(roll: float, pitch: float) -> None:
    off_nadir = np.degrees(np.arccos(np.cos(np.radians(roll)) * np.cos(np.radians(pitch))))
    found = slew_angle_deg(NADIR, Pointing(roll, pitch, 0.0, 0.0))
    # An arc cosine loses half the digits near zero: the reference is the coarser of the two.
    assert found == pytest.approx(off_nadir, abs=2e-6)


@given(first=angles, second=angles)
def test_pure_rolls_and_pure_pitches_add_up(first: float, second: float) -> None:
    for a, b in (
        (Pointing(first, 0, 0, 0), Pointing(second, 0, 0, 0)),
        (Pointing(0, first, 0, 0), Pointing(0, second, 0, 0)),
    ):
        assert slew_angle_deg(a, b) == pytest.approx(abs(first - second), abs=1e-9)


def test_axes_of_a_northbound_satellite_over_the_equator() -> None:
    x, y, z = lvlh_axes(np.array([[7000.0, 0.0, 0.0]]), np.array([[0.0, 0.1, 7.5]]))
    assert np.allclose(z, [[-1.0, 0.0, 0.0]])
    assert x[0, 2] > 0.99  # north
    assert y[0, 1] > 0.99  # east, to the right of flight
