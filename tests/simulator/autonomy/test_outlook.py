"""Limits on captures: who keeps them never falls below the floor of the battery."""

from __future__ import annotations

import numpy as np
from hypothesis import example, given, settings
from hypothesis import strategies as st

from simulator.autonomy.outlook import energy_limits, storage_limits
from simulator.spacecraft.battery import Battery, BatteryState, GenerationCurve

ORBIT_S, SHADOW_S = 5700.0, 2100.0
ORBITS = 4
UNTIL_S = ORBITS * ORBIT_S
CHARGE_WH = 1e-6


def sunlit(power_w: float, phase_s: float) -> tuple[GenerationCurve, list[float]]:
    """Full sun and shadow in turn, with edges of ten seconds; and the times of the edges."""
    knots, watts = [0.0], [power_w]
    for orbit in range(-1, ORBITS + 1):
        enters_s = orbit * ORBIT_S + phase_s
        for t_s, w in (
            (enters_s, power_w), (enters_s + 10, 0.0), (enters_s + SHADOW_S, 0.0),
            (enters_s + SHADOW_S + 10, power_w),
        ):  # fmt: skip
            if t_s > knots[-1]:
                knots.append(t_s)
                watts.append(w)
    knots.append(UNTIL_S + ORBIT_S)
    watts.append(watts[-1])
    changes = [t for t in knots[1:-1] if t < UNTIL_S]
    return GenerationCurve(np.array(knots), np.array(watts)), changes


cases = st.fixed_dictionaries(
    {
        "power_w": st.floats(8.0, 25.0),
        "phase_s": st.floats(0.0, 5000.0),
        "load_w": st.floats(4.0, 9.0),
        "capacity_wh": st.floats(6.0, 30.0),
        "fraction": st.floats(0.3, 1.0),
        "capture_wh": st.floats(0.05, 1.5),
        "wishes": st.lists(st.floats(0.0, UNTIL_S - 1.0), max_size=60),
    }
)


def charges(battery, state, load_w, captures_s, capture_wh, times_s):
    """Charge at each time, when each capture takes its energy at once."""
    found = []
    for t_s, cost_wh in sorted([(t, capture_wh) for t in captures_s] + [(t, 0.0) for t in times_s]):
        state = battery.advance(state, t_s, load_w)
        state = BatteryState(t_s, state.charge_wh - cost_wh) if cost_wh else state
        found.append(state.charge_wh)
    return found


@given(case=cases)
@settings(max_examples=300, deadline=None, derandomize=True)
def test_captures_within_the_limits_never_pass_the_floor(case):
    curve, changes = sunlit(case["power_w"], case["phase_s"])
    battery = Battery(case["capacity_wh"], curve)
    floor_wh = 0.2 * case["capacity_wh"]
    start = BatteryState(0.0, case["fraction"] * case["capacity_wh"])
    limits = energy_limits(
        battery, start, base_load_w=lambda *_: case["load_w"], capture_wh=case["capture_wh"],
        floor_wh=floor_wh, sunlight_changes_s=changes, until_s=UNTIL_S,
    )  # fmt: skip
    edges = [*changes, UNTIL_S]
    idle = charges(battery, start, case["load_w"], [], 0.0, edges)
    taken: list[float] = []
    for wish_s in case["wishes"]:
        within = [limit for limit in limits if limit.start_s <= wish_s < limit.end_s]
        if all(
            sum(limit.start_s <= t < limit.end_s for t in taken) < limit.captures
            for limit in within
        ):
            taken.append(wish_s)
    flown = charges(battery, start, case["load_w"], taken, case["capture_wh"], edges)
    if min(idle) >= floor_wh:
        assert min(flown) >= floor_wh - CHARGE_WH
    elif idle[0] < floor_wh or start.charge_wh < floor_wh:
        assert not [t for t in taken if t < edges[0]]


def test_a_battery_that_fills_again_forgets_what_was_taken_before():
    curve, changes = sunlit(25.0, 1000.0)
    battery = Battery(20.0, curve)
    limits = energy_limits(
        battery, BatteryState(0.0, 20.0), base_load_w=lambda *_: 6.0, capture_wh=1.0, floor_wh=10.0,
        sunlight_changes_s=changes, until_s=UNTIL_S,
    )  # fmt: skip
    whole = [limit.captures for limit in limits if limit.start_s == 0.0]
    one_night = [limit.captures for limit in limits if limit.end_s - limit.start_s < ORBIT_S]
    assert min(one_night) == 6  # 20 Wh less 10 Wh, less 3.5 Wh for 35 minutes in the dark
    assert max(whole) > 2 * min(one_night)


@given(
    free=st.integers(0, 40),
    held=st.integers(0, 40),
    passes=st.lists(st.tuples(st.floats(1.0, 900.0), st.integers(0, 12)), max_size=4),
    wishes=st.lists(st.floats(0.0, 999.0), max_size=60),
)
@example(free=0, held=0, passes=[(1.0, 1)], wishes=[1.0])
@example(free=2, held=1, passes=[(1.0, 9)], wishes=[2.0, 3.0, 4.0, 5.0])
@settings(max_examples=300, deadline=None, derandomize=True)
def test_captures_within_the_limits_always_fit_into_storage(free, held, passes, wishes):
    """Frames of ten bytes; each pass carries away what it can at its end."""
    ends = sorted(passes)
    limits = storage_limits(
        now_s=0.0, free_bytes=free * 10, capacity_bytes=(free + held) * 10, frame_bytes=10,
        passes=[(los_s, frames * 10) for los_s, frames in ends], until_s=1000.0,
    )  # fmt: skip
    taken: list[float] = []
    for wish_s in sorted(wishes):
        within = [limit for limit in limits if limit.start_s <= wish_s < limit.end_s]
        if all(
            sum(limit.start_s <= t < limit.end_s for t in taken) < limit.captures
            for limit in within
        ):
            taken.append(wish_s)
    events = [(t, 1, 1) for t in taken] + [(los_s, 0, -frames) for los_s, frames in ends]
    stored = held
    for _, kind, frames in sorted(events):
        stored = stored + 1 if kind else max(stored + frames, 0)
        assert stored <= free + held
