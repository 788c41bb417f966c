"""Missions under each planner: the reference flies too, repeats itself, and reports its gap."""

from __future__ import annotations

import pytest

from simulator.telemetry.audit import audit


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
