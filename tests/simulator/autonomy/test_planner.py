"""Plans break neither slew nor limits, whatever accesses they are made from."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulator.autonomy.planner import (
    PLANNERS,
    CaptureLimit,
    Opportunity,
    PlanningProblem,
)
from simulator.geometry import Access
from simulator.spacecraft.attitude import NADIR, Agility

SLEW_S = 1e-6
AGILITY = Agility(slew_rate_deg_s=1.0, settle_s=5.0)
EXPOSURE_S = 1.5


def access(target: str, start_s: float, end_s: float, roll_deg: float) -> Access:
    t_s = np.linspace(start_s, end_s, 6)
    pitch_deg = np.linspace(30.0, -30.0, 6)
    roll = np.full(6, roll_deg)
    off_nadir = np.degrees(
        np.arccos(np.cos(np.radians(roll)) * np.cos(np.radians(pitch_deg)))
    )
    sun = np.full(6, 40.0)
    middle_s = 0.5 * (start_s + end_s)
    return Access(
        target, start_s, end_s, middle_s, abs(roll_deg), 40.0, t_s, off_nadir, roll, pitch_deg, sun
    )


def opportunity(target: str, start_s: float, roll_deg: float, value: float) -> Opportunity:
    found = access(target, start_s, start_s + 80.0, roll_deg)
    return Opportunity(target, found, found.start_s, found.end_s, value, 0.3)


opportunities = st.lists(
    st.tuples(
        st.integers(0, 12), st.floats(0.0, 900.0), st.floats(-30.0, 30.0), st.floats(0.0, 5.0)
    ),
    max_size=25,
).map(lambda rows: [opportunity(f"t{n}", s, r, v) for n, s, r, v in rows])

limits = st.lists(
    st.tuples(st.floats(0.0, 500.0), st.floats(0.0, 500.0), st.integers(0, 4)), max_size=3
).map(lambda rows: [CaptureLimit(s, s + d, n, "energy") for s, d, n in rows])


@pytest.mark.parametrize("name", sorted(PLANNERS))
@given(offered=opportunities, scarce=limits)
@settings(max_examples=60, deadline=None)
def test_no_plan_breaks_slew_windows_or_limits(name, offered, scarce):
    problem = PlanningProblem(offered, 0.0, NADIR, AGILITY, EXPOSURE_S, scarce)
    plan = PLANNERS[name]().plan(problem)
    assert len({c.target for c in plan}) == len(plan)
    ready_s, attitude = 0.0, NADIR
    for capture in plan:
        assert capture.capture_s - ready_s >= AGILITY.slew_s(attitude, capture.attitude) - SLEW_S
        assert any(
            o.target == capture.target and o.earliest_s <= capture.capture_s <= o.latest_s
            for o in offered
        )
        ready_s, attitude = capture.capture_s + EXPOSURE_S, capture.attitude
    for limit in scarce:
        inside = [c for c in plan if limit.start_s <= c.capture_s < limit.end_s]
        assert len(inside) <= limit.captures


def test_greedy_prefers_value_and_fifo_the_first():
    near = opportunity("first", 1000.0, -25.0, 1.0)
    rich = opportunity("rich", 1010.0, 25.0, 3.0)
    tight = Agility(slew_rate_deg_s=0.2, settle_s=30.0)
    problem = PlanningProblem([near, rich], 0.0, NADIR, tight, EXPOSURE_S)
    assert [c.target for c in PLANNERS["greedy"]().plan(problem)] == ["rich"]
    assert [c.target for c in PLANNERS["fifo"]().plan(problem)] == ["first"]


def test_two_captures_in_one_pass_leave_time_to_turn():
    west, east = opportunity("west", 100.0, -20.0, 2.0), opportunity("east", 120.0, 20.0, 1.0)
    problem = PlanningProblem([west, east], 0.0, NADIR, AGILITY, EXPOSURE_S)
    plan = PLANNERS["greedy"]().plan(problem)
    assert {c.target for c in plan} == {"west", "east"}


def test_a_limit_of_zero_stops_captures_in_its_window_only():
    early, late = opportunity("early", 0.0, 0.0, 5.0), opportunity("late", 500.0, 0.0, 1.0)
    none = CaptureLimit(0.0, 300.0, 0, "energy")
    plan = PLANNERS["greedy"]().plan(
        PlanningProblem([early, late], 0.0, NADIR, AGILITY, EXPOSURE_S, [none])
    )
    assert [c.target for c in plan] == ["late"]
