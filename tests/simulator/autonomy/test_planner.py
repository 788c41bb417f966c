"""Plans break neither slew nor limits, whatever accesses they are made from."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulator.autonomy.optimal import OptimalPlanner
from simulator.autonomy.planner import CaptureLimit, Opportunity, PlanningProblem
from simulator.autonomy.planners import PLANNERS
from simulator.geometry import Access
from simulator.spacecraft.attitude import NADIR, Agility

SLEW_S = 1e-6
VALUE_ROUNDING = 1e-9
AGILITY = Agility(slew_rate_deg_s=1.0, settle_s=5.0)
EXPOSURE_S = 1.5


def access(target: str, start_s: float, end_s: float, roll_deg: float) -> Access:
    t_s = np.linspace(start_s, end_s, 6)
    pitch_deg = np.linspace(30.0, -30.0, 6)
    roll = np.full(6, roll_deg)
    off_nadir = np.degrees(np.arccos(np.cos(np.radians(roll)) * np.cos(np.radians(pitch_deg))))
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

some_targets = st.none() | st.frozensets(st.integers(0, 12).map("t{}".format))
limits = st.lists(
    st.tuples(st.floats(0.0, 500.0), st.floats(0.0, 500.0), st.integers(0, 4), some_targets),
    max_size=3,
).map(lambda rows: [CaptureLimit(s, s + d, n, "energy", of) for s, d, n, of in rows])


@pytest.mark.parametrize("name", sorted(PLANNERS))
@given(offered=opportunities, scarce=limits)
@settings(max_examples=60, deadline=None)
def test_no_plan_breaks_slew_windows_or_limits(name, offered, scarce):
    problem = PlanningProblem(offered, 0.0, NADIR, AGILITY, EXPOSURE_S, scarce)
    plan = PLANNERS[name]().solve(problem).captures
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
        of = {c.target for c in plan} if limit.targets is None else limit.targets
        inside = [c for c in plan if limit.start_s <= c.capture_s < limit.end_s and c.target in of]
        assert len(inside) <= limit.captures


def test_greedy_prefers_value_and_fifo_the_first():
    near = opportunity("first", 1000.0, -25.0, 1.0)
    rich = opportunity("rich", 1010.0, 25.0, 3.0)
    tight = Agility(slew_rate_deg_s=0.2, settle_s=30.0)
    problem = PlanningProblem([near, rich], 0.0, NADIR, tight, EXPOSURE_S)
    assert [c.target for c in PLANNERS["greedy"]().solve(problem).captures] == ["rich"]
    assert [c.target for c in PLANNERS["fifo"]().solve(problem).captures] == ["first"]


def test_two_captures_in_one_pass_leave_time_to_turn():
    west, east = opportunity("west", 100.0, -20.0, 2.0), opportunity("east", 120.0, 20.0, 1.0)
    problem = PlanningProblem([west, east], 0.0, NADIR, AGILITY, EXPOSURE_S)
    plan = PLANNERS["greedy"]().solve(problem).captures
    assert {c.target for c in plan} == {"west", "east"}


def test_a_limit_of_zero_stops_captures_in_its_window_only():
    early, late = opportunity("early", 0.0, 0.0, 5.0), opportunity("late", 500.0, 0.0, 1.0)
    none = CaptureLimit(0.0, 300.0, 0, "energy")
    problem = PlanningProblem([early, late], 0.0, NADIR, AGILITY, EXPOSURE_S, [none])
    plan = PLANNERS["greedy"]().solve(problem).captures
    assert [c.target for c in plan] == ["late"]


@given(offered=opportunities, scarce=limits)
@settings(max_examples=40, deadline=None)
def test_optimal_is_worth_no_less_than_the_others_and_no_more_than_its_bound(offered, scarce):
    problem = PlanningProblem(offered, 0.0, NADIR, AGILITY, EXPOSURE_S, scarce)
    best = PLANNERS["optimal"]().solve(problem)
    for name in ("greedy", "fifo"):
        assert best.value >= PLANNERS[name]().solve(problem).value
    assert best.value <= best.bound + VALUE_ROUNDING
    assert best.gap_fraction >= -VALUE_ROUNDING


def test_optimal_takes_two_where_greedy_takes_the_richest_one():
    """The richest lies between two others, too near to both: greedy is short by a third."""
    slow = Agility(slew_rate_deg_s=0.5, settle_s=60.0)
    offered = [
        opportunity("before", 1000.0, -30.0, 3.0),
        opportunity("richest", 1075.0, 0.0, 4.0),
        opportunity("after", 1150.0, 30.0, 3.0),
    ]
    problem = PlanningProblem(offered, 0.0, NADIR, slow, EXPOSURE_S)
    greedy, best = PLANNERS["greedy"]().solve(problem), PLANNERS["optimal"]().solve(problem)
    assert [c.target for c in greedy.captures] == ["richest"]
    assert [c.target for c in best.captures] == ["before", "after"]
    assert best.gap_fraction == 0.0
    assert greedy.gap_fraction is None


def test_optimal_repeats_itself_and_says_its_gap_when_stopped_early():
    rng = np.random.default_rng(3)
    offered = [
        opportunity(f"t{n}", float(s), float(r), float(v))
        for n, (s, r, v) in enumerate(rng.uniform((0, -30, 0), (900, 30, 5), (80, 3)))
    ]
    problem = PlanningProblem(offered, 0.0, NADIR, AGILITY, EXPOSURE_S)
    first, second = (OptimalPlanner(work_limit_s=0.05).solve(problem) for _ in range(2))
    assert first == second
    assert first.gap_fraction > 0.0
    assert OptimalPlanner(work_limit_s=2.0).solve(problem).gap_fraction <= first.gap_fraction


def test_optimal_out_of_time_gives_what_is_known_and_says_so():
    rng = np.random.default_rng(3)
    offered = [
        opportunity(f"t{n}", float(s), float(r), float(v))
        for n, (s, r, v) in enumerate(rng.uniform((0, -30, 0), (900, 30, 5), (80, 3)))
    ]
    problem = PlanningProblem(offered, 0.0, NADIR, AGILITY, EXPOSURE_S)
    hurried = OptimalPlanner(wall_limit_s=1e-6).solve(problem)
    assert hurried.ended == "wall limit"
    assert hurried.value >= PLANNERS["greedy"]().solve(problem).value
    assert 0.0 < hurried.gap_fraction < 1.0
    assert OptimalPlanner(work_limit_s=0.05).solve(problem).ended == "work limit"
    assert PLANNERS["greedy"]().solve(problem).ended == "complete"
