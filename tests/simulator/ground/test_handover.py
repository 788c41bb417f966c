"""Who is asked again: the satellite that can image first after its next uplink."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from simulator.ground.handover import soonest
from simulator.ground.operations import Report

REPORT = Report("first", "first-00001", "lake", 1, "downlink", 0.9, 0.2)


def flight(uplinks_s: list[float], lake_s: list[float]) -> SimpleNamespace:
    return SimpleNamespace(
        passes=[SimpleNamespace(served_s=((t, t + 300.0),)) for t in uplinks_s],
        accesses=[SimpleNamespace(target="lake", end_s=t) for t in lake_s],
    )


@pytest.mark.parametrize(
    ("other", "expected"),
    [
        (flight([150.0], [400.0]), "second"),
        (flight([150.0], [120.0, 900.0]), "first"),
        (flight([450.0], [400.0, 900.0]), "first"),
        (flight([50.0], [400.0]), "first"),
        (flight([150.0], []), "first"),
        (flight([150.0], [500.0]), "first"),
    ],
    ids=["sooner", "seen before its uplink", "uplink too late", "no uplink left", "blind", "a tie"],
)
def test_the_soonest_is_asked(other, expected):
    assign = soonest({"first": flight([200.0], [500.0]), "second": other})
    assert assign(REPORT, 100.0) == expected


def test_where_nobody_sees_the_target_again_the_last_one_keeps_it():
    assign = soonest({"second": flight([], []), "first": flight([], [])})
    assert assign(REPORT, 100.0) == "first"
