"""Missions under each planner: the reference flies too, repeats itself, and reports its gap."""

from __future__ import annotations

from collections import Counter

import pytest

from simulator.scenario import ScenarioError
from simulator.telemetry.audit import audit

DISTURBED = [
    {"kind": "payload_faults", "crash_per_frame": 0.3, "reboot_s": 20},
    {"kind": "payload_outage", "from_h": 20, "to_h": 22},
]


@pytest.mark.parametrize("planner", ["fifo", "optimal"])
def test_every_planner_flies_a_mission_that_the_auditor_accepts(fly, planner):
    run = fly(autonomy__planner=planner, duration_h=24)
    assert run.metrics()["captures"] > 5
    assert audit(run).passed


def test_each_plan_reports_its_cost_and_optimal_its_gap(fly):
    for planner, knows_gap in (("greedy", False), ("optimal", True)):
        plans = fly(autonomy__planner=planner, duration_h=24).host_events("planning").to_pylist()
        assert len(plans) > 5
        assert all(row["wall_s"] > 0.0 for row in plans)
        assert all((row["gap_fraction"] >= 0.0) is knows_gap for row in plans)
        assert all(row["bound"] >= row["value"] - 1e-9 for row in plans if knows_gap)


def test_the_search_of_optimal_says_why_it_ended(fly):
    plans = fly(autonomy__planner="optimal", duration_h=24).host_events("planning").to_pylist()
    assert {row["ended"] for row in plans} <= {"proved", "work limit"}
    hurried = fly(autonomy__planner="optimal", duration_h=24, autonomy__planner_wall_limit_s=1e-6)
    cut_short = hurried.host_events("planning").to_pylist()
    assert "wall limit" in {row["ended"] for row in cut_short}
    gaps = [row["gap_fraction"] for row in cut_short]
    assert hurried.metrics()["plan_gap_fraction"] == max(gaps) >= 0.0
    assert all(row["value"] > 0.0 for row in cut_short if row["captures"])


def test_a_limit_of_no_time_is_refused(small_scenario):
    with pytest.raises(ScenarioError, match="planner_wall_limit_s"):
        small_scenario(autonomy__planner_wall_limit_s=0)


def test_everything_that_matters_makes_the_plan_anew(fly):
    """A result, a forecast, a fault, a finished pass, low power and its end, and time itself."""
    run = fly(faults=DISTURBED, weather__forecast_sigma_24h=1.0)
    triggers = {row["trigger"] for row in run.host_events("planning").to_pylist()}
    assert {"start", "result", "forecast", "fault", "pass", "horizon"} <= triggers
    hungry = fly(
        satellites__0__power__panel_area_m2=0.022,
        satellites__0__power__battery_wh=12,
    )
    low = {row["trigger"] for row in hungry.host_events("planning").to_pylist()}
    assert "low power" in low
    empty = fly(satellites__0__power__initial_fraction=0.25, duration_h=12)
    recovered = {row["trigger"] for row in empty.host_events("planning").to_pylist()}
    assert "power recovered" in recovered


def test_every_change_of_the_plan_says_what_and_why(fly):
    for row in fly(faults=DISTURBED, weather__forecast_sigma_24h=1.0).events("plan").to_pylist():
        assert row["change"] in ("add", "remove", "skip")
        assert row["trigger"]
        assert row["target"]
        assert row["reason"]


def test_no_replan_loses_a_product(fly):
    """Each product is on the ground, on board, or dropped for a cause, however often it replans."""
    run = fly(
        faults=DISTURBED,
        weather__forecast_sigma_24h=1.0,
        satellites__0__look_ahead={},
        satellites__0__radio__rate_mbps=0.2,
    )
    assert run.metrics()["plans"] > 60
    sent, done, held = Counter(), set(), Counter()
    for row in run.events("downlink").to_pylist():
        sent[row["product"]] += row["bytes"]
        done |= {row["product"]} if row["complete"] else set()
    for row in run.events("storage").to_pylist():
        held[row["capture"]] += row["delta_bytes"] * (
            1 if row["change"] in ("captured", "derived") else -1
        )
    overflowed = {
        row["capture"]
        for row in run.events("storage").to_pylist()
        if row["change"] == "dropped_overflow"
    }
    products = run.events("product").to_pylist()
    assert len(products) > 5
    for row in products:
        left = row["bytes"] - sent[row["product"]]
        assert (row["product"] in done) == (left == 0)
        assert held[row["capture"]] == (0 if row["capture"] in overflowed else left)
    begun = {row["capture"] for row in run.events("decision").to_pylist()}
    assert {row["capture"] for row in products} <= begun
    report = audit(run)
    assert report.passed, report.text()
