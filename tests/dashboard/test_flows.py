"""What the Sankey of bytes is made of: nothing that the ledger counts is lost or counted twice."""

from __future__ import annotations

import pytest

from dashboard.charts.flows import byte_balance, byte_streams


def test_what_comes_in_goes_out() -> None:
    moved = {"captured": 100.0, "sent": 40.0, "dropped_policy": 25.0, "queued": 30.0}
    sources, outcomes = byte_balance(moved)
    assert sum(outcomes.values()) == pytest.approx(sum(sources.values()))
    assert outcomes["on board"] == pytest.approx(5.0)
    streams = byte_streams(sources, outcomes)
    assert {stream.source for stream in streams} == {"captured"}


def test_previews_and_changes_without_a_name_are_shown() -> None:
    moved = {
        "captured": 100.0,
        "derived": 4.0,
        "compressed": 50.0,
        "sent": 30.0,
        "dropped_heat": 1.0,
    }
    sources, outcomes = byte_balance(moved)
    assert outcomes["dropped heat"] == 1.0
    assert sum(outcomes.values()) == pytest.approx(104.0)
    streams = byte_streams(sources, outcomes)
    assert sum(s.amount for s in streams if s.target == "memory") == pytest.approx(104.0)
    assert sum(s.amount for s in streams if s.source == "memory") == pytest.approx(104.0)
