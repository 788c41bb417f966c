"""Thinned series keep what matters: extremes of levels, means of loads."""

from __future__ import annotations

from pathlib import Path

import duckdb
import pytest

from dashboard.downsampling import MOST_WAITING, STORED_MIB, extremes, orbit_means, step_means
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


def test_mean_of_an_orbit_is_that_of_its_steps(store: EventStore) -> None:
    """Each row is the mean by time from one umbra to the next, worked out here by pandas."""
    umbras_s = store.rows("SELECT start_s FROM eclipse WHERE kind = 'umbra' ORDER BY 1")["start_s"]
    thinned = store.rows(
        orbit_means("power", ("generation_w",)), **{**WINDOW, "from_s": umbras_s[0]}
    )
    rows = store.rows("SELECT t_s, generation_w FROM power ORDER BY t_s, event_row")
    rows["lasts_s"] = rows["t_s"].diff().shift(-1).fillna(0.0)
    first = rows[(rows["t_s"] >= umbras_s[0]) & (rows["t_s"] < umbras_s[1])]
    expected = (first["generation_w"] * first["lasts_s"]).sum() / first["lasts_s"].sum()
    assert len(thinned) in (len(umbras_s), len(umbras_s) - 1)
    assert thinned["generation_w"].iloc[0] == pytest.approx(expected, rel=MEAN_TOLERANCE)


def test_frames_wait_from_step_to_step() -> None:
    """One frame is on the computer for 100 s and another waits for it; a step has 10 s."""
    with duckdb.connect() as log:
        log.execute(
            "CREATE TABLE inference AS SELECT 'neph-1' AS satellite, * FROM (VALUES "
            "(5.0, 0.0, 105.0), (105.0, 81.0, 125.0)) AS work(start_s, queued_s, t_s)"
        )
        window = {"satellite": "neph-1", "from_s": 40.0, "to_s": 400.0, "bin_s": 10.0}
        found = log.execute(MOST_WAITING, window).df()
    at_s = (found["time_h"] * 3600).round(6)
    assert list(at_s) == [45.0 + 10 * step for step in range(9)]
    assert list(found["frames"][at_s < 105]) == [2] * 6
    assert list(found["frames"][at_s > 105]) == [1] * 2


def test_bytes_on_board_stay_until_the_end_of_the_time_drawn() -> None:
    """Two captures of 1 MiB, one of them sent; then nothing changes for an hour and a half."""
    with duckdb.connect() as log:
        log.execute(
            "CREATE TABLE storage AS SELECT 'neph-1' AS satellite, row_number() OVER () AS "
            "event_row, 1048576 AS delta_bytes, * FROM (VALUES (100.0, 'captured', 'a'), "
            "(200.0, 'captured', 'b'), (1800.0, 'sent', 'a')) AS change(t_s, change, capture)"
        )
        log.execute(
            "CREATE TABLE capture AS SELECT * FROM (VALUES ('a', 'north'), ('b', 'south')) "
            "AS c(capture, target)"
        )
        log.execute(
            "CREATE TABLE target AS SELECT * FROM (VALUES ('north', 5.0), ('south', 1.0)) "
            "AS t(name, priority)"
        )
        window = {"satellite": "neph-1", "from_s": 0.0, "to_s": 7200.0, "bin_s": 18.0}
        found = log.execute(STORED_MIB, window).df()
    last = found[found["time_h"] == 2.0]
    assert dict(zip(last["priority"], last["mib"], strict=True)) == {1.0: 1.0, 5.0: 0.0}
    assert found["mib"].max() == 1.0
