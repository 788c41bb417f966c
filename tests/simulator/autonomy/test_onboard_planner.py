"""The plan on board through many replans: what is committed stays, what is wanted once is once."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulator.autonomy.onboard import OnboardPlanner
from simulator.autonomy.planner import CaptureLimit
from simulator.autonomy.planners import PLANNERS
from simulator.autonomy.prospects import Look, Prospects
from simulator.autonomy.tasking import DAY_S, Task, tasks_of
from simulator.geometry import Access
from simulator.scenario.targets import Target
from simulator.spacecraft.attitude import NADIR, Agility

AGILITY = Agility(slew_rate_deg_s=1.0, settle_s=5.0)
EXPOSURE_S = 1.5
SLEW_S = 1e-6
SPAN_S = 2000.0


def access(target: str, start_s: float, roll_deg: float) -> Access:
    t_s = np.linspace(start_s, start_s + 80.0, 6)
    pitch, roll = np.linspace(30.0, -30.0, 6), np.full(6, roll_deg)
    off_nadir = np.degrees(np.arccos(np.cos(np.radians(roll)) * np.cos(np.radians(pitch))))
    return Access(
        target, start_s, start_s + 80.0, start_s + 40.0, abs(roll_deg), 40.0, t_s, off_nadir, roll,
        pitch, np.full(6, 40.0),
    )  # fmt: skip


def onboard(tasks: dict, found: list[Access], covers=None, **prospects) -> OnboardPlanner:
    covers = covers or {}
    return OnboardPlanner(
        tasks,
        sorted(found, key=lambda a: (a.start_s, a.target)),
        PLANNERS["greedy"](),
        lambda asked, _: [covers.get(name, 0.0) for name, _ in asked],
        Prospects(
            **(
                {"target_cloud_fraction": 0.2, "forecast_sigma_24h": 0.2, "correlation_h": 18.0}
                | prospects
            )
        ),
        AGILITY,
        EXPOSURE_S,
    )


def once(*names: str) -> dict:
    return {(name, 0): Task(Target(name, 0.0, 0.0), None) for name in names}


views = st.lists(
    st.tuples(st.integers(0, 8), st.floats(60.0, SPAN_S), st.floats(-30.0, 30.0)), max_size=20
)
disturbances = st.lists(
    st.tuples(
        st.floats(0.0, SPAN_S),
        st.sampled_from(["result", "forecast", "fault", "pass", "glance", "low power"]),
        st.integers(0, 8),
        st.floats(0.0, 1.0),
        st.integers(0, 5),
    ),
    max_size=12,
)


@given(seen=views, disturbed=disturbances)
@settings(max_examples=80, deadline=None, derandomize=True)
def test_no_replan_touches_what_is_committed_or_breaks_a_slew(seen, disturbed):
    """Whatever comes between, a capture begun is taken as it was, and the next leaves room."""
    found = [access(f"t{n}", start_s, roll) for n, start_s, roll in seen]
    planner = onboard(once(*(f"t{n}" for n in range(9))), found)
    free_s, attitude, taken = 0.0, NADIR, []
    limits: list[CaptureLimit] = []

    def replan(trigger: str, now_s: float) -> None:
        planner.replan(
            trigger, free_s=max(free_s, now_s), not_before_s=max(free_s, now_s),
            attitude=attitude, limits=limits,
        )  # fmt: skip

    replan("start", 0.0)
    for at_s, trigger, target, cover, captures in [*sorted(disturbed), (9e9, "horizon", 0, 0, 9)]:
        while planner.plan:
            upcoming = planner.plan[0]
            begins_s = upcoming.capture_s - AGILITY.slew_s(attitude, upcoming.attitude)
            if begins_s > at_s:
                break
            planner.commit(upcoming)
            taken.append((upcoming, free_s, attitude))
            free_s, attitude = upcoming.capture_s + EXPOSURE_S, upcoming.attitude
        if trigger == "glance":
            for one in found:
                if one.target == f"t{target}" and one.closest_s > at_s:
                    planner.glanced(one, cover)
        if trigger == "low power":
            limits = [CaptureLimit(at_s, at_s + 600.0, captures, "energy")]
        if trigger != "horizon":
            replan(trigger, at_s)
        assert not {c.key for c, _, _ in taken} & {c.key for c in planner.plan}
        assert all(c.capture_s >= free_s for c in planner.plan)
        for limit in limits:
            within = [c for c in planner.plan if limit.start_s <= c.capture_s < limit.end_s]
            assert len(within) <= limit.captures
    for capture, ready_s, pointing in taken:
        assert ready_s + AGILITY.slew_s(pointing, capture.attitude) <= capture.capture_s + SLEW_S
    assert all(a.capture_s + EXPOSURE_S <= b.capture_s for (a, *_), (b, *_) in pairwise(taken))
    assert len({c.key for c, _, _ in taken}) == len(taken)


@given(st.floats(0.0, 500.0), st.one_of(st.none(), st.floats(0.0, 500.0)))
def test_an_access_is_wanted_until_the_deadline(start_s, deadline_s):
    target = Target("north", 0.0, 0.0)
    view = access("north", start_s, 0.0)
    planner = onboard({("north", 0): Task(target, deadline_s)}, [view])
    in_time = deadline_s is None or start_s < deadline_s
    assert planner.wanted(view) == (("north", 0) if in_time else None)


def test_a_glance_of_cloud_frees_the_time_for_a_neighbour_that_is_clear():
    cloudy, clear = access("cloudy", 500.0, -25.0), access("clear", 505.0, 25.0)
    tight = {"cloudy": 0.0, "clear": 0.15}
    planner = onboard(once("cloudy", "clear"), [cloudy, clear], tight, glance_sigma=0.1)
    planner._agility = Agility(slew_rate_deg_s=0.4, settle_s=20.0)
    now = {"free_s": 460.0, "not_before_s": 460.0, "attitude": NADIR}
    planner.replan("start", **now)
    assert [c.target for c in planner.plan] == ["cloudy"]
    planner.glanced(cloudy, 0.9)
    changes = planner.replan("glance", **now)
    assert [c.target for c in planner.plan] == ["clear"]
    assert [(c.change, c.trigger) for c in changes] == [("remove", "glance"), ("add", "glance")]
    assert changes[0].reason == "a glance ahead saw cover 0.90"


def test_a_glance_of_clear_sky_brings_back_what_the_forecast_had_given_up():
    hidden = access("hidden", 500.0, 0.0)
    late = access("hidden", 60_000.0, 0.0)
    planner = onboard(once("hidden"), [hidden, late], {"hidden": 0.9}, glance_sigma=0.1)
    now = {"free_s": 400.0, "not_before_s": 400.0, "attitude": NADIR}
    planner.replan("start", **now)
    assert [c.access_start_s for c in planner.plan] == [60_000.0]  # its last chance
    planner.glanced(hidden, 0.05)
    (_, added) = planner.replan("glance", **now)
    assert [c.access_start_s for c in planner.plan] == [500.0]
    assert added.reason == "first image; a glance ahead saw cover 0.05"


def seen_cloudy(planner: OnboardPlanner, at_s: float, cover: float) -> None:
    """The plan's first capture is taken and found cloudy, and its task opened again."""
    capture = planner.plan[0]
    planner.commit(capture)
    planner.looked(capture.target, Look(capture.capture_s, cover))
    planner.tasks[capture.key] = replace(planner.tasks[capture.key].imaged().reopened())
    planner.replan("result", free_s=at_s, not_before_s=at_s, attitude=NADIR)


@pytest.mark.parametrize("forecast_sigma_24h", [0.2, 0.0])
def test_an_access_is_good_for_one_image_of_a_target(forecast_sigma_24h):
    """A minute later the clouds are the same, whatever is forecast and however surely."""
    now, tomorrow = access("north", 500.0, 0.0), access("north", 500.0 + DAY_S, 0.0)
    planner = onboard(once("north"), [now, tomorrow], forecast_sigma_24h=forecast_sigma_24h)
    planner.replan("start", free_s=0.0, not_before_s=0.0, attitude=NADIR)
    assert planner.plan[0].access_start_s == now.start_s
    seen_cloudy(planner, 540.0, cover=0.9)
    assert [c.access_start_s for c in planner.plan] == [tomorrow.start_s]
    assert planner.wanted(now) is None
    assert planner.wanted(tomorrow) == ("north", 0)


def test_an_access_that_could_not_be_used_is_still_good():
    view = access("north", 500.0, 0.0)
    planner = onboard(once("north"), [view])
    planner.replan("start", free_s=0.0, not_before_s=0.0, attitude=NADIR)
    capture = planner.plan[0]
    planner.commit(capture)
    planner.give_up(capture)
    assert planner.wanted(view) == ("north", 0)


ORBIT_S = 5700.0
OLD_FORECAST_S = 36_000.0


def test_what_was_just_seen_outweighs_an_old_forecast_and_fades():
    first, soon, later = (
        access("north", OLD_FORECAST_S + orbits * ORBIT_S, 0.0) for orbits in (0, 1, 9)
    )
    planner = onboard(once("north"), [first, soon, later])
    planner.replan("start", free_s=0.0, not_before_s=0.0, attitude=NADIR)
    seen_cloudy(planner, first.closest_s, cover=0.9)
    (again,) = planner.plan
    assert again.access_start_s == later.start_s
    assert 0.0 < again.forecast_cover < 0.9


def test_each_period_is_planned_once_and_within_itself():
    target = Target("field", 0.0, 0.0, repeat_days=0.25)
    tasks = {task.key: task for task in tasks_of(target, DAY_S)}
    found = [access("field", start_s, 0.0) for start_s in range(1000, 86_000, 5000)]
    planner = onboard(tasks, found)
    planner.replan("start", free_s=0.0, not_before_s=0.0, attitude=NADIR)
    assert [c.period for c in planner.plan] == [0, 1, 2, 3]
    assert all(c.period == int(c.capture_s // (0.25 * DAY_S)) for c in planner.plan)


def test_a_deadline_ends_the_periods():
    target = Target("field", 0.0, 0.0, repeat_days=1.0, deadline_h=36.0)
    tasks = tasks_of(target, 10 * DAY_S)
    assert [(task.opens_s, task.deadline_s) for task in tasks] == [
        (0.0, DAY_S),
        (DAY_S, 1.5 * DAY_S),
    ]
