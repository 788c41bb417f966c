"""Storage: every byte captured is stored, sent or dropped for a named cause, row by row.

The ledger must add up in itself, and each of its movements must be somebody's event: a capture, a
decision, a downlink.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import accumulate, zip_longest

from simulator.telemetry.audit.findings import Finding, RunLog, at, by_satellite
from simulator.telemetry.events import Product, Storage

_CUMULATIVE = {
    "captured": "captured_bytes",
    "sent": "sent_bytes",
    "dropped_policy": "dropped_policy_bytes",
    "dropped_overflow": "dropped_overflow_bytes",
    "dropped_fault": "dropped_fault_bytes",
}


def check_storage(log: RunLog) -> Iterator[Finding]:
    """Add up each satellite's ledger and hold its movements against the events."""
    grouped = by_satellite(log.storages)
    for name, section in log.sections.items():
        rows = grouped.get(name, [])
        capacity = int(section["storage_gib"] * 2**30)
        yield from _ledger(rows, capacity)
        yield from _queue(rows, [p for p in log.products if p.satellite == name])
    yield from _movements(log)


def _ledger(rows: Sequence[Storage], capacity: int) -> Iterator[Finding]:
    totals = dict.fromkeys(_CUMULATIVE, 0)
    for row, following in zip_longest(rows, rows[1:]):
        if row.change not in totals or row.delta_bytes <= 0:
            yield Finding(at(row), f"{row.change} by {row.delta_bytes} bytes is no movement")
            continue
        totals[row.change] += row.delta_bytes
        for change, column in _CUMULATIVE.items():
            if getattr(row, column) != totals[change]:
                yield Finding(
                    at(row), f"{column} is {getattr(row, column)}, moved so far {totals[change]}"
                )
        stored = totals["captured"] - sum(v for k, v in totals.items() if k != "captured")
        if row.stored_bytes != stored:
            yield Finding(
                at(row), f"stored_bytes is {row.stored_bytes}, captured - sent - dropped {stored}"
            )
        if row.capacity_bytes != capacity:
            yield Finding(at(row), f"capacity is {row.capacity_bytes}, by the scenario {capacity}")
        turned_away = (
            following is not None
            and following.change == "dropped_overflow"
            and (following.t_s, following.capture) == (row.t_s, row.capture)
        )
        if stored < 0 or (stored > capacity and not turned_away):
            yield Finding(at(row), f"{stored} bytes are stored of {capacity}")


def _queue(rows: Sequence[Storage], products: Sequence[Product]) -> Iterator[Finding]:
    """Hold the queue against the products made so far, less what left them.

    Products made in the very instant of a row may or may not be in the queue yet.
    """
    made = {product.capture for product in products}
    times = [product.t_s for product in products]
    sizes = list(accumulate((product.bytes for product in products), initial=0))
    left = 0
    for row in rows:
        if row.change in ("sent", "dropped_overflow", "dropped_fault") and row.capture in made:
            left += row.delta_bytes
        first, last = bisect_left(times, row.t_s), bisect_right(times, row.t_s)
        if row.queued_bytes + left not in sizes[first : last + 1]:
            yield Finding(
                at(row), f"queued_bytes is {row.queued_bytes}, expected {sizes[last] - left}"
            )


def _movements(log: RunLog) -> Iterator[Finding]:
    overflowed = {c.capture for c in log.captures if not c.stored}
    expected = {
        "captured": Counter((c.capture, c.bytes) for c in log.captures),
        "sent": Counter((d.capture, d.bytes) for d in log.downlinks),
        "dropped_policy": Counter(
            (d.capture, d.bytes_raw - d.bytes_kept)
            for d in log.decisions
            if d.bytes_kept < d.bytes_raw and d.capture not in overflowed
        ),
    }
    for change, movements in expected.items():
        booked = Counter((s.capture, s.delta_bytes) for s in log.storages if s.change == change)
        for capture, size in sorted(movements - booked):
            yield Finding(f"storage {capture}", f"{size} bytes {change} are not booked")
        for capture, size in sorted(booked - movements):
            yield Finding(f"storage {capture}", f"{size} bytes {change} belong to no event")
    yield from _overflow(log, overflowed)


def _overflow(log: RunLog, overflowed: set[str]) -> Iterator[Finding]:
    """A frame is turned away whole; else only what is left of a product may be pushed out."""
    dropped = Counter[str]()
    for row in log.storages:
        if row.change == "dropped_overflow":
            dropped[row.capture] += row.delta_bytes
    sent = Counter[str]()
    for downlink in log.downlinks:
        sent[downlink.capture] += downlink.bytes
    captures = log.capture_by_name
    for capture in overflowed | dropped.keys():
        product = log.product_by_capture.get(capture)
        if capture in overflowed:
            whole = captures[capture].bytes
        elif product is not None:
            whole = product.bytes - sent[capture]
        else:
            whole = 0
        if dropped[capture] != whole:
            yield Finding(
                f"storage {capture}", f"{dropped[capture]} bytes overflowed, not the {whole} left"
            )
