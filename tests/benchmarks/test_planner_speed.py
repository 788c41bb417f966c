"""How long a replan takes: 1,000 targets, and every access of seven days in the plan.

Speed is asserted as a ratio to a plain Python loop timed in the same run, in processor time, so
that a slow or busy machine makes no difference. On a quiet 2020s core the loop takes some 30 ms
and the ratio's limit stands for 100 ms; the figures of a run are in the benchmark's extra_info.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime

import numpy as np
import pytest

from simulator.autonomy import onboard
from simulator.autonomy.onboard import OnboardPlanner
from simulator.autonomy.planner import CaptureLimit
from simulator.autonomy.planners import PLANNERS
from simulator.autonomy.prospects import Prospects
from simulator.autonomy.tasking import Task
from simulator.geometry import Orbit, accesses
from simulator.scenario.targets import Target
from simulator.spacecraft.attitude import NADIR, Agility

TARGETS = 1000
WEEK_S = 7 * 86400.0
LOOP_STEPS = 1_000_000
LARGEST_RATIO = 3.0
ROUNDS = 5


def plain_loop_s() -> float:
    """Processor time of a fixed amount of plain Python, the least of three."""

    def once() -> float:
        started_s, total = time.process_time(), 0.0
        for step in range(LOOP_STEPS):
            total += step * 0.5
        return time.process_time() - started_s

    return min(once() for _ in range(3))


@pytest.fixture(scope="module")
def week() -> OnboardPlanner:
    """A planner with a thousand targets and their accesses of one week."""
    rng = np.random.default_rng(0)
    latitude_deg, longitude_deg = rng.uniform(-50, 65, TARGETS), rng.uniform(-180, 180, TARGETS)
    priority = rng.integers(1, 5, TARGETS)
    names = [f"t{n:04d}" for n in range(TARGETS)]
    orbit = Orbit.from_sun_synchronous(
        datetime(2024, 6, 1, tzinfo=UTC), altitude_km=510, ltan_h=10.5
    )
    found = accesses(
        orbit,
        names,
        list(latitude_deg),
        list(longitude_deg),
        max_off_nadir_deg=35,
        min_sun_elevation_deg=10,
        duration_s=WEEK_S,
    )
    tasks = {
        (name, 0): Task(Target(name, latitude, longitude, float(weight)), None)
        for name, latitude, longitude, weight in zip(
            names, latitude_deg, longitude_deg, priority, strict=True
        )
    }
    covers = rng.beta(0.4, 0.4, len(found))
    cover = {(a.target, a.closest_s): c for a, c in zip(found, covers, strict=True)}
    return OnboardPlanner(
        tasks,
        found,
        PLANNERS["greedy"](),
        lambda asked, _: [float(cover[key]) for key in asked],
        Prospects(target_cloud_fraction=0.2, forecast_sigma_24h=0.2, correlation_h=18.0),
        Agility(slew_rate_deg_s=1.0, settle_s=5.0),
        1.5,
    )


@pytest.mark.benchmark(timer=time.process_time, warmup=True)
def test_greedy_replans_a_thousand_targets_over_a_week(benchmark, week, monkeypatch):
    monkeypatch.setattr(onboard, "HORIZON_S", WEEK_S)
    limits = [CaptureLimit(0.0, orbit * 5670.0, 40 * orbit, "energy") for orbit in range(1, 6)]

    def replan() -> None:
        week.replan("result", free_s=0.0, not_before_s=0.0, attitude=NADIR, limits=limits)

    benchmark.pedantic(replan, rounds=ROUNDS, warmup_rounds=1)
    if benchmark.stats is None:
        pytest.skip("benchmarks are off: they need one process, without --benchmark-disable")
    loop_s = plain_loop_s()
    replan_s = benchmark.stats.stats.min
    benchmark.extra_info.update(
        replan_ms=1e3 * replan_s,
        loop_ms=1e3 * loop_s,
        opportunities=week.offered,
        captures=len(week.plan),
    )
    assert week.offered > TARGETS / 2
    assert replan_s / loop_s < LARGEST_RATIO
