"""Thinned series keep what matters: extremes of levels, means of loads."""

from __future__ import annotations

from pathlib import Path

import pytest

from dashboard.downsampling import extremes, step_means
from dashboard.event_store import EventStore

WINDOW = {"satellite": "neph-1", "from_s": 0.0, "to_s": 1e9}
MEAN_TOLERANCE = 1e-9


@pytest.fixture(scope="module")
def store(flown: Path) -> EventStore:
    return EventStore(flown)


def test_no_dip_is_lost(store: EventStore) -> None:
    every = store.rows("SELECT charge_fraction FROM power")["charge_fraction"]
    thinned = store.rows(extremes("power", "charge_fraction"), **WINDOW, bin_s=7200.0)
    assert len(thinned) < len(every)
    assert thinned["charge_fraction"].min() == every.min()
    assert thinned["charge_fraction"].max() == every.max()


def test_one_bin_gives_the_mean_by_time(store: EventStore) -> None:
    rows = store.rows("SELECT t_s, load_w FROM power ORDER BY t_s, event_row")
    lasts_s = rows["t_s"].diff().shift(-1).fillna(0.0)
    expected = (rows["load_w"] * lasts_s).sum() / lasts_s.sum()
    thinned = store.rows(step_means("power", ("load_w",)), **WINDOW, bin_s=1e9)
    assert thinned["load_w"].iloc[0] == pytest.approx(expected, rel=MEAN_TOLERANCE)
