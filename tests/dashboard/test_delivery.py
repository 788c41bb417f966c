"""What the pages say of delivered targets and pixels is what the metrics and the ledger say."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import duckdb
import pytest

from dashboard.charts.flows import story
from dashboard.delivery import BYTES, PIXELS, SATISFIED, STORY, TARGET_STATES
from dashboard.event_store import EventStore
from simulator.mission import run_mission
from simulator.scenario import load_scenario

# With a station that the satellite meets on each orbit, a few hours are enough.
SHORT = {
    "duration_h": 4,
    "satellites.*.payload.model": "threshold",
    "ground.stations": ["svalsat"],
}


@pytest.fixture(scope="module")
def cropped(tmp_path_factory: pytest.TempPathFactory) -> EventStore:
    """A run in which only the middle of each frame is kept."""
    changes = {**SHORT, "data_handling.region_of_interest_km": [2, 2]}
    scenario = load_scenario("first_light", changes)
    return EventStore(run_mission(scenario, tmp_path_factory.mktemp("cropped")))


@pytest.fixture(scope="module")
def asked_for(tmp_path_factory: pytest.TempPathFactory) -> EventStore:
    """A run in which masks go down first, and the ground lets go what they show to be cloudy."""
    changes = {
        **SHORT,
        "satellites.*.imager.frame_px": [512, 512],
        "ground.processing_delay_h": 0.1,
        "data_handling.preview": "mask",
        "data_handling.request_delay_h": 0.1,
        "data_handling.request_max_cloud_fraction": 0.2,
    }
    scenario = load_scenario("first_light", changes)
    return EventStore(run_mission(scenario, tmp_path_factory.mktemp("asked_for")))


def test_targets_of_a_region_of_interest_are_satisfied_as_in_the_metric(
    cropped: EventStore,
) -> None:
    satisfied = cropped.run.metrics()["targets_satisfied"]
    assert satisfied > 0
    assert len(cropped.rows(SATISFIED)) == satisfied
    states = cropped.rows(TARGET_STATES, now_s=cropped.run.horizon_s)["state"]
    assert (states == "delivered clear").sum() == satisfied


def test_targets_of_whole_frames_are_satisfied_as_in_the_metric(flown: Path) -> None:
    store = EventStore(flown)
    satisfied = store.run.metrics()["targets_satisfied"]
    assert len(store.rows(SATISFIED)) == satisfied


def test_targets_whose_time_was_over_are_not_satisfied(cropped: EventStore, tmp_path: Path) -> None:
    run = Path(shutil.copytree(cropped.run.path, tmp_path / "run"))
    targets = json.loads((run / "targets.geojson").read_text(encoding="utf-8"))
    for feature in targets["features"]:
        feature["properties"]["deadline_h"] = 0.001
    (run / "targets.geojson").write_text(json.dumps(targets), encoding="utf-8")
    assert len(cropped.rows(SATISFIED)) > 0
    assert len(EventStore(run).rows(SATISFIED)) == 0


@pytest.mark.parametrize("kind", ["clear", "cloud"])
def test_pixels_that_the_ground_let_go_are_not_the_policys(
    asked_for: EventStore, kind: str
) -> None:
    let_go = asked_for.value(f"""
        SELECT sum({kind}_px_kept) FROM decision SEMI JOIN
            (SELECT capture FROM storage WHERE change = 'dropped_released') USING (capture)""")
    by_policy = asked_for.value(f"SELECT sum({kind}_px - {kind}_px_kept) FROM decision")
    pixels = asked_for.rows(PIXELS).iloc[0].fillna(0)
    assert let_go > 0
    assert pixels[f"{kind}_released"] == let_go
    assert pixels[f"{kind}_dropped"] == by_policy
    outcomes = [value for name, value in pixels.items() if str(name).startswith(kind)]
    assert sum(outcomes) == asked_for.value(f"SELECT sum({kind}_px) FROM capture")


@pytest.mark.parametrize(
    ("now_s", "gone", "state"),
    [(150.0, "sent", "stored clear"), (250.0, "sent", "cloudy"),
     (150.0, "dropped_overflow", "stored clear"), (250.0, "dropped_overflow", "cloudy")],
)  # fmt: skip
def test_an_image_is_on_board_until_it_is_sent_or_lost(now_s: float, gone: str, state: str) -> None:
    """The payload took it for clear; the ground saw it was not."""
    with duckdb.connect() as log:
        for name, row in {
            "target": "'a' AS name, 0 AS latitude_deg, 0 AS longitude_deg, 1 AS priority, "
            "0.2 AS cloud_limit, NULL::DOUBLE AS deadline_h",
            "capture": "'c' AS capture, 'a' AS target, 100 AS t_s",
            "decision": "'c' AS capture, 110 AS t_s, 'keep' AS action, 0.1 AS cover_detected, "
            "100 AS region_px",
            "product": "'p' AS product, 'c' AS capture, 'a' AS target, 4 AS blocks, 60 AS clear_px",
            "downlink": f"'p' AS product, {gone == 'sent'} AS complete, 200 AS end_s",
        }.items():
            log.execute(f"CREATE TABLE {name} AS SELECT {row}")
        log.execute(
            "CREATE TABLE storage AS SELECT * FROM (VALUES (100, 'c', 'captured', 8), "
            f"(200, 'c', '{gone}', 8)) AS ledger(t_s, capture, change, delta_bytes)"
        )
        (found,) = log.execute(TARGET_STATES, {"now_s": now_s}).df()["state"]
    assert found == state


@pytest.mark.parametrize(
    ("deadline_s", "state"), [(199.0, "came too late"), (200.0, "delivered clear")]
)
def test_what_came_down_after_the_deadline_is_too_late(deadline_s: float, state: str) -> None:
    with duckdb.connect() as log:
        for name, row in {
            "target": "'a' AS name, 0 AS latitude_deg, 0 AS longitude_deg, 1 AS priority, "
            f"0.2 AS cloud_limit, {deadline_s} / 3600 AS deadline_h",
            "capture": "'c' AS capture, 'a' AS target, 100 AS t_s",
            "decision": "'c' AS capture, 110 AS t_s, 'keep' AS action, 0.1 AS cover_detected, "
            "100 AS region_px",
            "product": "'p' AS product, 'c' AS capture, 'a' AS target, 4 AS blocks, 95 AS clear_px",
            "downlink": "'p' AS product, true AS complete, 200 AS end_s",
            "storage": "200 AS t_s, 'c' AS capture, 'sent' AS change, 8 AS delta_bytes",
        }.items():
            log.execute(f"CREATE TABLE {name} AS SELECT {row}")
        (found,) = log.execute(TARGET_STATES, {"now_s": 300.0}).df()["state"]
    assert found == state


def test_what_is_queued_at_the_end_is_the_metric_of_it(tmp_path: Path) -> None:
    """Storage tells of a frame before it joins the queue, so its last row is no balance."""
    changes = {**SHORT, "autonomy.policy": "bent_pipe", "ground.stations": ["matera"]}
    store = EventStore(run_mission(load_scenario("first_light", changes), tmp_path))
    queued = store.rows(BYTES).set_index("change")["mib"]["queued"]
    assert queued > 0
    assert queued == pytest.approx(store.run.metrics()["backlog_mib"])


@pytest.mark.parametrize(
    ("action", "cover", "outcome"),
    [("keep", 0.1, "came clear"), ("keep", 0.6, "cloudy, kept whole"),
     ("keep_unprocessed", 0.6, "cloudy, kept whole"), ("prune", 0.6, "cloudy, kept in part"),
     ("prune", 0.1, "came clear"), ("drop", 0.1, "dropped"),
     ("overflow", 0.6, "lost to full storage"), (None, 0.6, "not decided yet"),
     (None, 0.1, "not decided yet")],
)  # fmt: skip
def test_story_tells_what_became_of_a_frame_and_draws_it(
    action: str | None, cover: float, outcome: str
) -> None:
    with duckdb.connect() as log:
        for name, row in {
            "target": "'a' AS name, 0.2 AS cloud_limit",
            "capture": f"'c' AS capture, 'a' AS target, 100 AS t_s, 1 AS attempt, {cover} AS "
            "cover, false AS reacquisition, 10.0 AS gsd_m",
            "decision": f"'c' AS capture, '{action}' AS action, 100 AS region_px",
            "product": "'p' AS product, 'c' AS capture, 'a' AS target, 8 AS bytes, 4 AS blocks, "
            "60 AS clear_px, 40 AS cloud_px",
            "downlink": "'p' AS product, false AS complete, 200 AS end_s",
        }.items():
            some = "" if action or name != "decision" else " WHERE false"
            log.execute(f"CREATE TABLE {name} AS SELECT {row}{some}")
        attempts = log.execute(STORY, {"most": 1, "skip": 0}).df()
    assert list(attempts["outcome"]) == [outcome]
    drawn = {trace.name: len(trace.x) for trace in story(attempts).data}
    assert drawn[outcome] == 1
