"""What the pages say of delivered targets and pixels is what the metrics and the ledger say."""

from __future__ import annotations

from pathlib import Path

import pytest

from dashboard.delivery import SATISFIED, TARGET_STATES
from dashboard.event_store import EventStore
from simulator.mission import run_mission
from simulator.scenario import load_scenario


@pytest.fixture(scope="module")
def cropped(tmp_path_factory: pytest.TempPathFactory) -> EventStore:
    """A run in which only the middle of each frame is kept, with a station it meets each orbit."""
    changes = {
        "duration_h": 4,
        "satellites.*.payload.model": "threshold",
        "ground.stations": ["svalsat"],
        "data_handling.region_of_interest_km": [2, 2],
    }
    scenario = load_scenario("first_light", changes)
    return EventStore(run_mission(scenario, tmp_path_factory.mktemp("cropped")))


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
