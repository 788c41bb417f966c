"""Storage: every byte captured or made is stored, sent or gone for a named cause, row by row.

The ledger must add up in itself, and each of its movements must be somebody's event: a capture, a
decision, a downlink.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import accumulate, zip_longest

from simulator.telemetry.audit.findings import Finding, RunLog, at, by_satellite, is_pixels
from simulator.telemetry.events import Decision, Product, Storage

_CUMULATIVE = {
    "captured": "captured_bytes",
    "derived": "derived_bytes",
    "sent": "sent_bytes",
    "compressed": "compressed_bytes",
    "dropped_policy": "dropped_policy_bytes",
    "dropped_overflow": "dropped_overflow_bytes",
    "dropped_fault": "dropped_fault_bytes",
    "dropped_released": "dropped_released_bytes",
}
_INFLOWS = ("captured", "derived")
_LEAVES_QUEUE = ("sent", "dropped_overflow", "dropped_fault")


def check_storage(log: RunLog) -> Iterator[Finding]:
    """Add up each satellite's ledger and hold its movements against the events."""
    grouped = by_satellite(log.storages)
    for name, section in log.sections.items():
        rows = grouped.get(name, [])
        capacity = int(section["storage_gib"] * 2**30)
        yield from _ledger(rows, capacity)
        yield from _queue(rows, [p for p in log.products if p.satellite == name])
        yield from _quotas(rows, capacity, log)
    yield from _movements(log)
    yield from _compression(log)


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
        stored = sum(v if change in _INFLOWS else -v for change, v in totals.items())
        if row.stored_bytes != stored:
            yield Finding(
                at(row), f"stored_bytes is {row.stored_bytes}, what came in less what went {stored}"
            )
        if row.capacity_bytes != capacity:
            yield Finding(at(row), f"capacity is {row.capacity_bytes}, by the scenario {capacity}")
        if stored < 0 or (stored > capacity and not _turned_away(row, following)):
            yield Finding(at(row), f"{stored} bytes are stored of {capacity}")


def _queue(rows: Sequence[Storage], products: Sequence[Product]) -> Iterator[Finding]:
    """Hold the queue against the products made so far, less what left them.

    Products made in the very instant of a row may or may not be in the queue yet.
    """
    made = {product.product for product in products}
    times = [product.t_s for product in products]
    sizes = list(accumulate((product.bytes for product in products), initial=0))
    left = 0
    for row in rows:
        if row.product:
            left += row.delta_bytes
            if row.product not in made or row.change not in _LEAVES_QUEUE:
                yield Finding(at(row), f"{row.product} is not in the queue, or does not leave it")
        first, last = bisect_left(times, row.t_s), bisect_right(times, row.t_s)
        if row.queued_bytes + left not in sizes[first : last + 1]:
            yield Finding(
                at(row), f"queued_bytes is {row.queued_bytes}, expected {sizes[last] - left}"
            )


def _quotas(rows: Sequence[Storage], capacity: int, log: RunLog) -> Iterator[Finding]:
    """What targets up to a priority hold together stays within its share of the memory."""
    quotas = log.scenario.get("data_handling", {}).get("storage_quotas", ())
    targets = {row.capture: row.target for row in log.captures}
    for quota in quotas:
        held = 0
        for row, following in zip_longest(rows, rows[1:]):
            priority = log.targets.get(targets.get(row.capture, ""), {}).get("priority", 1.0)
            if priority > quota["max_priority"]:
                continue
            held += row.delta_bytes if row.change in _INFLOWS else -row.delta_bytes
            if held > int(quota["fraction"] * capacity) and not _turned_away(row, following):
                yield Finding(
                    at(row),
                    f"priority {quota['max_priority']:g} and below hold {held} bytes, over "
                    f"{quota['fraction']:g} of {capacity}",
                )


def _turned_away(row: Storage, following: Storage | None) -> bool:
    """Whether the next row drops, in the same instant, what this one let in."""
    return (
        following is not None
        and following.change == "dropped_overflow"
        and (following.t_s, following.capture) == (row.t_s, row.capture)
    )


def _movements(log: RunLog) -> Iterator[Finding]:
    overflowed = {c.capture for c in log.captures if not c.stored}
    expected = {
        "captured": Counter((c.capture, c.bytes) for c in log.captures),
        "sent": Counter((d.capture, d.bytes) for d in log.downlinks),
        "derived": Counter((p.capture, p.bytes) for p in log.products if not is_pixels(p)),
        "compressed": Counter(
            (d.capture, _raw_share(d) - d.bytes_kept)
            for d in log.decisions
            if d.bytes_kept < _raw_share(d)
        ),
        "dropped_policy": Counter(
            (d.capture, d.bytes_raw - _raw_share(d))
            for d in log.decisions
            if d.blocks_kept < d.blocks and d.capture not in overflowed
        ),
    }
    for change, movements in expected.items():
        booked = Counter((s.capture, s.delta_bytes) for s in log.storages if s.change == change)
        for capture, size in sorted(movements - booked):
            if capture in log.on_the_way and change == "captured":
                continue  # it is booked when its exposure ends
            yield Finding(f"storage {capture}", f"{size} bytes {change} are not booked")
        for capture, size in sorted(booked - movements):
            yield Finding(f"storage {capture}", f"{size} bytes {change} belong to no event")
    yield from _overflow(log, overflowed)


def _raw_share(decision: Decision) -> int:
    """Raw bytes of the blocks that are kept."""
    return decision.bytes_raw * decision.blocks_kept // decision.blocks


def _compression(log: RunLog) -> Iterator[Finding]:
    """A block's size is a matter of its pixels and of how they are stored: their bands and bits."""
    compressing = log.scenario.get("data_handling", {}).get("compression", "none") != "none"
    known: dict[tuple[str, int, int, int], int] = {}
    for row in log.decisions:
        if len(row.block_bytes) != (row.blocks_kept if compressing else 0):
            yield Finding(at(row), f"{len(row.block_bytes)} sizes for {row.blocks_kept} blocks")
            continue
        raw = _raw_share(row)
        expected = min(raw, sum(row.block_bytes)) if compressing else raw
        if row.bytes_kept != expected:
            yield Finding(at(row), f"bytes_kept is {row.bytes_kept}, its blocks have {expected}")
        capture = log.capture_by_name.get(row.capture)
        frame = capture.frame_sha256 if capture else ""
        imager = log.sections[row.satellite]["imager"]
        for block, size in zip(row.kept_blocks, row.block_bytes, strict=False):
            stored = frame, block, imager["bands"], imager["bit_depth"]
            if size <= 0 or known.setdefault(stored, size) != size:
                yield Finding(at(row), f"block {block} has {size} bytes, seen before with others")


def _overflow(log: RunLog, overflowed: set[str]) -> Iterator[Finding]:
    """A frame is turned away whole; else all that is left of what was kept is pushed out.

    What the ground releases is all of the kept pixels, and it had said so.
    """
    dropped = Counter[str]()
    for row in log.storages:
        if row.change == "dropped_overflow":
            dropped[row.capture] += row.delta_bytes
    sent = Counter[str]()
    for downlink in log.downlinks:
        product = log.product_by_name.get(downlink.product)
        if product is not None and is_pixels(product):
            sent[downlink.capture] += downlink.bytes
    captures = log.capture_by_name
    kept = {row.capture: row.bytes_kept for row in log.decisions}
    for capture in overflowed | dropped.keys():
        if capture in overflowed and capture in captures:
            whole = captures[capture].bytes
        else:
            whole = kept.get(capture, 0) - sent[capture]
        if dropped[capture] != whole:
            yield Finding(
                f"storage {capture}", f"{dropped[capture]} bytes overflowed, not the {whole} left"
            )
    for row in log.storages:
        if row.change == "dropped_released" and row.delta_bytes != kept.get(row.capture):
            yield Finding(at(row), f"{row.delta_bytes} bytes released, kept {kept[row.capture]}")
