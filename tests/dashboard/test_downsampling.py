"""Thinned series keep what matters: extremes of levels, means of loads."""

from __future__ import annotations

from pathlib import Path

import duckdb
import pytest

from dashboard.downsampling import (
    CHARGE,
    MOST_WAITING,
    STORED_MIB,
    extremes,
    orbit_means,
    step_means,
)
from dashboard.event_store import EventStore

WINDOW = {"satellite": "neph-1", "from_s": 0.0, "to_s": 1e9}
MEAN_TOLERANCE = 1e-9


@pytest.fixture(scope="module")
def store(flown: Path) -> EventStore:
    return EventStore(flown)


def test_no_dip_is_lost(store: EventStore) -> None:
    every = store.rows("SELECT charge_fraction FROM power")["charge_fraction"]
    thinned = store.rows(extremes(CHARGE, "charge_fraction"), **WINDOW, bin_s=7200.0)
    assert len(thinned) < len(every)
    assert thinned["charge_fraction"].min() == every.min()
    assert thinned["charge_fraction"].max() == every.max()


def part_between_events(store: EventStore) -> dict[str, object]:
    """The middle of the longest time in which the battery is charged and nothing is logged."""
    power = store.rows("SELECT t_s, charge_fraction, generation_w FROM power ORDER BY event_row")
    lasts_s = power["t_s"].diff().shift(-1)
    longest = lasts_s.where((power["generation_w"] > 0) & (power["charge_fraction"] < 1)).idxmax()
    from_s = power["t_s"][longest] + 0.2 * lasts_s[longest]
    to_s = power["t_s"][longest] + 0.9 * lasts_s[longest]
    return {"satellite": "neph-1", "from_s": from_s, "to_s": to_s, "bin_s": (to_s - from_s) / 400}


def test_charge_and_loads_are_known_where_no_event_lies(store: EventStore) -> None:
    part = part_between_events(store)
    before = store.rows(
        "SELECT * FROM power WHERE t_s <= $at_s ORDER BY event_row DESC LIMIT 1",
        at_s=part["from_s"],
    ).iloc[0]
    charge = store.rows(extremes(CHARGE, "charge_fraction"), **part).set_index("time_h")
    loads = store.rows(step_means("power", ("load_w", "generation_w")), **part)
    ends_h = [part["from_s"] / 3600, part["to_s"] / 3600]
    assert [charge.index[0], charge.index[-1]] == ends_h
    capacity_wh = before["charge_wh"] / before["charge_fraction"]
    for end_h in ends_h:
        gained_wh = (before["generation_w"] - before["load_w"]) * (end_h - before["t_s"] / 3600)
        expected = min(1.0, before["charge_fraction"] + gained_wh / capacity_wh)
        assert charge["charge_fraction"][end_h] == pytest.approx(expected, abs=1e-5)
    assert list(loads["time_h"]) == pytest.approx(ends_h)
    assert set(loads["load_w"]) == {before["load_w"]}
    assert set(loads["generation_w"]) == {before["generation_w"]}


def test_battery_that_became_full_between_events_stays_full() -> None:
    """Charged by 10 % in each 100 s, 10 Wh in all: full after 400 s of the 1000 s to the next."""
    with duckdb.connect() as log:
        log.execute(
            "CREATE TABLE power AS SELECT 's' AS satellite, * FROM (VALUES (0, 0.0, 0.6, 6.0, 0.0),"
            " (1, 1000.0, 1.0, 10.0, 6.0)) AS p(event_row, t_s, charge_fraction, charge_wh, "
            "curtailed_wh)"
        )
        part = {"satellite": "s", "from_s": 100.0, "to_s": 700.0}
        found = log.execute(f"{CHARGE} ORDER BY 1", part).df()
    assert list(found["t_s"]) == pytest.approx([100.0, 400.0, 700.0])
    assert list(found["charge_fraction"]) == pytest.approx([0.7, 1.0, 1.0])


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
