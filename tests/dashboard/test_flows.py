"""What the Sankey of bytes is made of: nothing that the ledger counts is lost or counted twice."""

from __future__ import annotations

from pathlib import Path

import pytest

from dashboard.charts.budgets import against_caps
from dashboard.charts.flows import Stream, byte_balance, byte_streams, sankey
from dashboard.colours import CLOUDY
from dashboard.delivery import BYTES, PIXELS
from dashboard.event_store import EventStore


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


def test_every_pixel_and_byte_of_a_run_is_somewhere(flown: Path) -> None:
    store = EventStore(flown)
    pixels = store.rows(PIXELS).iloc[0].fillna(0)
    for kind in ("clear", "cloud"):
        outcomes = [value for name, value in pixels.items() if str(name).startswith(kind)]
        assert sum(outcomes) == store.value(f"SELECT sum({kind}_px) FROM capture")
    sources, outcomes = byte_balance(store.rows(BYTES).set_index("change")["mib"].to_dict())
    assert sum(outcomes.values()) == pytest.approx(sum(sources.values()))


def test_large_amounts_are_written_out() -> None:
    (drawn,) = sankey([Stream("captured", "delivered", 123_456.7, CLOUDY)], "MiB").data
    assert list(drawn.node.label) == ["captured, 123,457 MiB", "delivered, 123,457 MiB"]
    (peaks,) = against_caps({"memory": (512.25, 16_384.0, "MiB")}).data
    assert list(peaks.text) == ["512.2 of 16,384 MiB"]
