"""The payload computer's orbits: an instant belongs to one of them, edges to the one they open."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from simulator.spacecraft.computer import orbit_number


@given(st.integers(0, 500), st.floats(3000.0, 90_000.0))
def test_the_edge_of_an_orbit_belongs_to_the_orbit_it_opens(number, orbit_s):
    assert orbit_number(number * orbit_s, orbit_s) == number


@given(st.floats(0.0, 1e7), st.floats(3000.0, 90_000.0))
def test_the_next_edge_is_always_ahead(t_s, orbit_s):
    number = orbit_number(t_s, orbit_s)
    assert number * orbit_s <= t_s < (number + 1) * orbit_s
