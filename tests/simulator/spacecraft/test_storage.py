"""Every byte captured is stored, sent or dropped for a named cause."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator.scenario import StorageQuota
from simulator.spacecraft.storage import Movement, Storage

ALL_OF_IT = StorageQuota(max_priority=1, fraction=1.0)

sizes = st.integers(1, 1000)
steps = st.lists(
    st.tuples(
        st.sampled_from(["admit", "refuse", "drop", "compress", "derive", "enqueue", "send"]),
        st.integers(0, 9),
        st.floats(0, 1),
    ),
    max_size=60,
)


@given(st.integers(1, 5000), sizes, steps)
def test_the_ledger_always_balances(capacity_bytes, size_bytes, actions):
    movements: list[Movement] = []
    storage, queued = Storage(capacity_bytes, movements.append), set[str]()
    for index, (action, which, share) in enumerate(actions):
        capture = f"c{which}"
        held = storage.held_bytes(capture)
        if action == "admit":
            fits = storage.free_bytes >= size_bytes
            assert storage.admit(f"c{index % 10}-{index}" if held else capture, size_bytes) == fits
        elif action == "refuse" and not held:
            assert not storage.admit(capture, size_bytes, refused=True)
        elif action == "compress":
            storage.compress(capture, int(share * held))
        elif action == "derive" and storage.free_bytes >= 3:
            storage.derive(f"{capture}-m-{index}", capture, 3)
        elif action == "drop":
            storage.drop(capture, int(share * held), "policy")
        elif action == "enqueue" and held and capture not in queued:
            storage.enqueue(capture, f"{capture}-p")
            queued.add(capture)
        elif action == "send":
            storage.send(capture, int(share * held))
        if not storage.held_bytes(capture):
            queued.discard(capture)
        dropped = sum(storage.dropped_bytes.values())
        came = storage.captured_bytes + storage.derived_bytes
        went = storage.sent_bytes + storage.compressed_away_bytes + dropped
        assert came == storage.stored_bytes + went
        assert storage.free_within(ALL_OF_IT) == storage.free_bytes
        assert 0 <= storage.queued_bytes <= storage.stored_bytes <= capacity_bytes
    booked = sum(m.delta_bytes for m in movements if m.change in ("captured", "derived"))
    gone = sum(m.delta_bytes for m in movements if m.change not in ("captured", "derived"))
    came = storage.captured_bytes + storage.derived_bytes
    assert (booked, booked - gone) == (came, storage.stored_bytes)


def test_a_frame_that_does_not_fit_is_dropped_by_overflow():
    storage = Storage(100, lambda _: None)
    assert storage.admit("a", 60)
    assert not storage.admit("b", 60)
    assert storage.dropped_bytes["overflow"] == 60
    assert storage.held_bytes("b") == 0


def test_more_than_is_held_cannot_leave():
    storage = Storage(100, lambda _: None)
    storage.admit("a", 60)
    with pytest.raises(ValueError, match="cannot release 61 of 60"):
        storage.send("a", 61)


def test_a_share_is_counted_by_priority():
    storage = Storage(100, lambda _: None)
    storage.admit("a", 20, 1.0)
    storage.admit("b", 30, 5.0)
    storage.derive("a-m", "a", 4, 1.0)
    assert storage.free_within(StorageQuota(max_priority=1, fraction=0.5)) == 50 - 24
    assert storage.free_within(StorageQuota(max_priority=1, fraction=0.2)) == 20 - 24
    assert storage.free_within(StorageQuota(max_priority=5, fraction=0.5)) == 50 - 54
