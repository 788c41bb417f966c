"""Repeat requirements and areas in a mission: planned, satisfied, covered, period by period."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from simulator.autonomy.tasking import Task, chances
from simulator.geometry import Access
from simulator.mission import assign_tasks
from simulator.scenario.targets import Target
from simulator.telemetry.audit import audit
from simulator.telemetry.run_folder import RunFolder
from simulator.world import World

DAY_S = 86_400.0
REPEAT_DAYS = 1.5
WIDE = {"satellites__*__imager__max_off_nadir_deg": 50}
"""So wide a field of regard shows every target nearly every day."""


def rows(run: RunFolder, name: str) -> list[dict]:
    return run.events(name).to_pylist()


ORBIT_S = 5700.0


def a_world(seen_s: dict[str, dict[str, float]]) -> World:
    """Satellites and when each first sees each target; nothing else of a world."""
    targets = sorted({target for seen in seen_s.values() for target in seen})
    flights = {
        name: SimpleNamespace(
            period_s=ORBIT_S,
            accesses=[
                SimpleNamespace(target=target, start_s=start_s, end_s=start_s + 60.0)
                for target, start_s in seen.items()
            ],
        )
        for name, seen in seen_s.items()
    }
    return cast(
        World, SimpleNamespace(targets=[Target(t, 0.0, 0.0) for t in targets], flights=flights)
    )


def opened(world: World) -> dict[str, set[str]]:
    tasks = assign_tasks(world, DAY_S)
    assert all(len(of) == len(world.targets) for of in tasks.values()), "every one knows all"
    return {name: {key[0] for key, t in of.items() if t.open} for name, of in tasks.items()}


def test_a_train_shares_what_it_sees_within_a_revolution():
    first = {f"t{n}": 1000.0 + 10 * n for n in range(9)}
    behind = {name: start_s + 30.0 for name, start_s in first.items()}
    last = {name: start_s + 60.0 for name, start_s in first.items()}
    shared = opened(a_world({"a": first, "b": behind, "c": last}))
    assert {name: len(targets) for name, targets in shared.items()} == {"a": 3, "b": 3, "c": 3}


def test_who_sees_a_target_days_later_is_not_asked_for_it():
    seen = {"a": {"north": 0.0, "south": 3 * DAY_S}, "b": {"north": 2 * DAY_S, "south": 0.0}}
    assert opened(a_world(seen)) == {"a": {"north"}, "b": {"south"}}


def test_who_sees_a_target_after_its_deadline_only_is_not_given_it():
    world = a_world({"early": {"lake": 1000.0}, "late": {"lake": 4000.0, "hill": 10.0}})
    world.targets[:] = [replace(t, deadline_h=0.5) for t in world.targets]
    assert opened(world)["early"] == {"lake"}


def test_an_access_after_the_deadline_is_no_chance():
    task = Task(Target("lake", 0.0, 0.0), deadline_s=2000.0)
    seen = [
        cast(Access, SimpleNamespace(target="lake", start_s=t_s, end_s=t_s + 60.0))
        for t_s in (1000.0, 1990.0, 2000.0, 90_000.0)
    ]
    assert [access.start_s for access, _ in chances({task.key: task}, seen)] == [1000.0, 1990.0]


@pytest.fixture(scope="module")
def wanted(tmp_path_factory) -> Path:
    """A point and an area wanted every day and a half, an area wanted once, a point wanted once."""
    path = tmp_path_factory.mktemp("tasking") / "wanted.geojson"

    def feature(kind: str, coordinates: object, **properties: object) -> dict:
        geometry = {"type": kind, "coordinates": coordinates}
        return {"type": "Feature", "geometry": geometry, "properties": properties}

    def square(west: float, south: float, edge: float) -> list:
        east, north = west + edge, south + edge
        return [[[west, south], [east, south], [east, north], [west, north], [west, south]]]

    features = [
        feature("Point", [-150.0, 64.0], name="dam", repeat_days=REPEAT_DAYS, priority=3),
        feature("Polygon", square(24.0, 62.0, 0.3), name="city", repeat_days=REPEAT_DAYS),
        feature("Polygon", square(-5.0, 40.0, 0.18), name="delta", max_cloud_fraction=0.5),
        feature("Polygon", square(68.0, 24.0, 6.0), name="basin", spacing_km=200),
        feature("Point", [10.0, 45.0], name="once"),
    ]
    path.write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    return path


@pytest.fixture(scope="module")
def flown(fly, wanted) -> RunFolder:
    return fly(targets=str(wanted), duration_h=84, **WIDE)


def test_a_repeated_target_is_imaged_in_each_period_and_not_twice_when_clear(flown):
    captures = [row for row in rows(flown, "capture") if row["target"] == "dam"]
    assert {row["period"] for row in captures} >= {0, 1}
    assert all(row["period"] == int(row["t_s"] // (REPEAT_DAYS * DAY_S)) for row in captures)
    again = Counter(row["period"] for row in captures if not row["reacquisition"])
    assert set(again.values()) == {1}


def test_attempts_start_anew_with_each_period(flown):
    attempts = defaultdict(list)
    for row in rows(flown, "capture"):
        attempts[row["target"], row["period"]].append(row["attempt"])
    assert all(found == list(range(1, len(found) + 1)) for found in attempts.values())


def test_coverage_grows_frame_by_frame_and_the_metrics_say_where_it_ended(flown):
    targets = {f["properties"]["name"]: f["properties"] for f in flown.targets()["features"]}
    share = defaultdict(float)
    for row in rows(flown, "coverage"):
        share[row["area"], row["period"]] += targets[row["target"]]["area_share"]
        assert row["covered_fraction"] == pytest.approx(share[row["area"], row["period"]])
    metrics = flown.metrics()
    assert set(metrics["area_coverage_fraction_by_area"]) == {"city", "delta", "basin"}
    whole = [share["city", period] for period in (0, 1)]  # the third is cut off by the end
    assert metrics["area_coverage_fraction_by_area"]["city"] >= sum(whole) / 2 - 1e-9
    assert 0.0 < metrics["area_coverage_fraction"] <= 1.0
    frames = sum(name.startswith("city") for name in targets) + 1
    assert metrics["periods_due"] == 2 * frames
    assert 0.0 < metrics["periods_satisfied_fraction"] <= 1.0


def test_spacing_leaves_one_frame_for_each_cell(flown):
    frames = [f for f in flown.targets()["features"] if f["properties"]["area"] == "basin"]
    assert len(frames) == 13  # rows of 3 or 4 as the meridians close in
    assert sum(f["properties"]["area_share"] for f in frames) == pytest.approx(1.0)


def test_the_auditor_accepts_it(flown):
    report = audit(flown)
    assert report.passed, report.text()


@pytest.mark.parametrize("share", [0.5, 1.0])
def test_what_came_down_by_the_deadline_covers_and_nothing_else(
    flown, fly, wanted, tmp_path, share
):
    """The deadline lies between a capture and its delivery, or between delivery and contact end."""
    pixels = {row["product"]: row["capture"] for row in rows(flown, "product")}
    down_s = {pixels[r["product"]]: r["end_s"] for r in rows(flown, "downlink") if r["complete"]}
    captured_s = {row["capture"]: row["t_s"] for row in rows(flown, "capture")}
    learned_s = {
        row["capture"]: row["t_s"]
        for row in rows(flown, "ground")
        if row["satisfied"] and row["source"] == "downlink" and row["target"].startswith("basin")
    }
    last = max(learned_s, key=captured_s.__getitem__)
    began_s, ended_s = (captured_s, down_s) if share < 1 else (down_s, learned_s)
    deadline_s = (began_s[last] + ended_s[last]) / 2
    urgent = json.loads(wanted.read_text())
    (basin,) = (f for f in urgent["features"] if f["properties"]["name"] == "basin")
    basin["properties"]["deadline_h"] = deadline_s / 3600
    path = tmp_path / "urgent.geojson"
    path.write_text(json.dumps(urgent))
    run = fly(targets=str(path), duration_h=84, **WIDE)
    booked = [row for row in rows(run, "coverage") if row["area"] == "basin"]
    pixels = {row["product"]: row["capture"] for row in rows(run, "product")}
    down_s = {pixels[r["product"]]: r["end_s"] for r in rows(run, "downlink") if r["complete"]}
    came_clear = {
        (row["target"], row["t_s"]): down_s[row["capture"]] <= deadline_s
        for row in rows(run, "ground")
        if row["source"] == "downlink" and row["satisfied"] and row["target"].startswith("basin")
    }
    assert {(row["target"], row["t_s"]) for row in booked} == {
        key for key, in_time in came_clear.items() if in_time
    }
    assert booked
    if share < 1:
        assert False in came_clear.values()
    else:
        assert any(row["t_s"] > deadline_s for row in booked), "down in time, learned after it"
    covered = run.metrics()["area_coverage_fraction_by_area"]["basin"]
    assert covered == pytest.approx(booked[-1]["covered_fraction"])
    report = audit(run)
    assert report.passed, report.text()


@pytest.mark.parametrize("policy", ["bent_pipe", "prune"])
def test_the_ground_asks_again_within_the_period_only(fly, wanted, policy):
    run = fly(
        targets=str(wanted),
        duration_h=84,
        autonomy__policy=policy,
        ground__processing_delay_h=2,
        weather__forecast_sigma_24h=1.0,
        **WIDE,
    )
    asked = [row for row in rows(run, "ground") if row["tasking_ready_s"] >= 0]
    assert asked
    targets = {f["properties"]["name"]: f["properties"] for f in run.targets()["features"]}
    for row in asked:
        if targets[row["target"]]["repeat_days"]:
            assert row["tasking_ready_s"] < (row["period"] + 1) * REPEAT_DAYS * DAY_S
    report = audit(run)
    assert report.passed, report.text()


def test_two_satellites_share_the_periods_between_them(small_scenario, fly, wanted):
    first = small_scenario().satellites[0].model_dump(mode="json", exclude_none=True)
    other = {"sun_synchronous": {"altitude_km": 560, "ltan_h": 13.5}}
    second = first | {"name": "neph-2", "orbit": other}
    run = fly(satellites=[first, second], targets=str(wanted), duration_h=84, **WIDE)
    by_period = defaultdict(set)
    for row in rows(run, "capture"):
        by_period[row["target"], row["period"]].add(row["satellite"])
    assert all(len(seen) == 1 for seen in by_period.values())
    assert len({name for seen in by_period.values() for name in seen}) == 2
    report = audit(run)
    assert report.passed, report.text()
