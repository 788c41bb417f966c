"""The battery integrates exactly: energy balances, levels are met where roots say."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from simulator.spacecraft.battery import Battery, BatteryState, GenerationCurve

BALANCE_WH = 1e-9
LEVEL_WH = 1e-9
BRUTE_FORCE_WH = 2e-3
"""A Riemann sum of 20,000 steps is good to about a milliwatt-hour here."""


@st.composite
def batteries(draw):
    steps = draw(st.lists(st.floats(1.0, 3000.0), min_size=1, max_size=8))
    t_s = np.concatenate([[0.0], np.cumsum(steps)])
    power = st.one_of(st.just(0.0), st.floats(0.0, 30.0))
    power_w = np.array(draw(st.lists(power, min_size=len(t_s), max_size=len(t_s))))
    capacity_wh = draw(st.floats(0.05, 20.0))
    charge_wh = capacity_wh * draw(st.floats(0.0, 1.0))
    return Battery(capacity_wh, GenerationCurve(t_s, power_w)), BatteryState(0.0, charge_wh)


loads = st.one_of(st.just(0.0), st.floats(0.0, 20.0))


@example(
    (
        Battery(1.0, GenerationCurve(np.array([0.0, 3.0]), np.array([0.0, 1.0]))),
        BatteryState(0.0, 1.0),
    ),
    [(0.0, 5e-324)],
)
@given(batteries(), st.lists(st.tuples(st.floats(0.0, 1.0), loads), max_size=6))
def test_generated_is_consumed_stored_and_curtailed(setup, switches):
    battery, start = setup
    end_s = float(battery.generation.t_s[-1])
    state, load_w = start, 3.0
    for share, next_load_w in [*sorted(switches), (1.0, 0.0)]:
        state = battery.advance(state, max(share * end_s, state.t_s), load_w)
        load_w = next_load_w
        assert 0.0 <= state.charge_wh <= battery.capacity_wh
        stored_wh = state.charge_wh - start.charge_wh
        used_wh = state.consumed_wh + stored_wh + state.curtailed_wh
        assert state.generated_wh == pytest.approx(used_wh, abs=BALANCE_WH)
        assert min(state.curtailed_wh, state.unserved_wh) >= -BALANCE_WH


@given(batteries(), loads, st.floats(0.05, 0.95))
def test_a_crossing_is_on_the_level_and_the_first(setup, load_w, share):
    battery, start = setup
    level_wh = share * battery.capacity_wh
    end_s = float(battery.generation.t_s[-1])
    crossing_s = battery.next_crossing_s(start, load_w, level_wh, end_s)
    last_s = min(crossing_s, end_s)
    if math.isfinite(crossing_s):
        there = battery.advance(start, crossing_s, load_w)
        assert there.charge_wh == pytest.approx(level_wh, abs=LEVEL_WH)
    if abs(start.charge_wh - level_wh) > LEVEL_WH:
        side = start.charge_wh > level_wh
        for t_s in np.linspace(0.0, last_s, 20)[:-1]:
            charge_wh = battery.advance(start, float(t_s), load_w).charge_wh
            assert (charge_wh > level_wh) == side or abs(charge_wh - level_wh) < LEVEL_WH


ALMOST_FLAT = (
    Battery(1.0, GenerationCurve(np.array([0.0, 1.0, 61.0, 62.0]), np.array([0.0, 0.0, 0.0, 1.0]))),
    BatteryState(0.0, 1.0),
)
"""Falls by less than rounding just before it rises, and by more before that."""


@example(ALMOST_FLAT, 2.0**-24)
@given(batteries(), loads)
def test_nowhere_is_the_charge_lower_than_at_its_minima(setup, load_w):
    battery, start = setup
    end_s = float(battery.generation.t_s[-1])
    assume(math.isinf(battery.next_crossing_s(start, load_w, 0.0, end_s)))  # empty is a crossing
    state, lowest_wh = start, start.charge_wh
    while math.isfinite(minimum_s := battery.next_minimum_s(state, load_w, end_s)):
        assert state.t_s < minimum_s < end_s
        state = battery.advance(state, minimum_s, load_w)
        lowest_wh = min(lowest_wh, state.charge_wh)
    lowest_wh = min(lowest_wh, battery.advance(start, end_s, load_w).charge_wh)
    for t_s in np.linspace(0.0, end_s, 60):
        assert battery.advance(start, float(t_s), load_w).charge_wh >= lowest_wh - LEVEL_WH


@pytest.mark.parametrize("load_w", [0.5, 4.0, 9.0])
def test_against_a_riemann_sum(load_w):
    t_s = np.array([0.0, 1800.0, 1810.0, 4000.0, 4010.0, 6000.0])
    power_w = np.array([12.0, 12.0, 0.0, 0.0, 12.0, 9.0])
    battery = Battery(5.0, GenerationCurve(t_s, power_w))
    exact = battery.advance(BatteryState(0.0, 2.0), 6000.0, load_w)
    steps = 20_000
    mid_s = (np.arange(steps) + 0.5) * 6000.0 / steps
    charge_wh = 2.0
    for net_w in np.interp(mid_s, t_s, power_w) - load_w:
        charge_wh = min(5.0, max(0.0, charge_wh + net_w * 6000.0 / steps / 3600.0))
    assert exact.charge_wh == pytest.approx(charge_wh, abs=BRUTE_FORCE_WH)


def test_surplus_of_a_full_battery_is_curtailed_and_hunger_of_an_empty_one_unserved():
    sunny = Battery(1.0, GenerationCurve(np.array([0.0, 3600.0]), np.array([10.0, 10.0])))
    state = sunny.advance(BatteryState(0.0, 1.0), 3600.0, 4.0)
    assert (state.charge_wh, state.curtailed_wh) == (1.0, pytest.approx(6.0))
    dark = Battery(1.0, GenerationCurve(np.array([0.0, 3600.0]), np.array([0.0, 0.0])))
    state = dark.advance(BatteryState(0.0, 1.0), 3600.0, 4.0)
    assert (state.charge_wh, state.consumed_wh) == (0.0, pytest.approx(1.0))
    assert state.unserved_wh == pytest.approx(3.0)


def test_going_back_in_time_is_refused():
    battery = Battery(1.0, GenerationCurve(np.array([0.0, 10.0]), np.array([1.0, 1.0])))
    with pytest.raises(ValueError, match="cannot advance"):
        battery.advance(BatteryState(5.0, 0.5), 4.0, 1.0)
