"""Contacts: data flows only inside passes, one product at a time, no faster than the radio can.

Each product's bytes are followed to the ground; each pass's account is added up from its
downlinks; antennas, those assigned before flight too, station outages and the order of the queue
are respected.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any

from simulator.telemetry.audit.findings import (
    TIME_TOLERANCE_S,
    Finding,
    RunLog,
    at,
    by_satellite,
    repeated,
)
from simulator.telemetry.audit.order import check_order
from simulator.telemetry.events import Antenna, Downlink, Pass

CLOSED = ("too_short", "outage", "no_rate")
"""Outcomes of a pass in which nothing could have flowed."""


def check_contacts(log: RunLog) -> Iterator[Finding]:
    """Follow the bytes to the ground."""
    yield from _chains(log)
    for name, rows in by_satellite(log.downlinks).items():
        for one, next_one in pairwise(sorted(rows, key=lambda row: row.start_s)):
            if next_one.start_s < one.end_s - TIME_TOLERANCE_S:
                yield Finding(at(next_one), f"starts while the radio still sends {one.product}")
        if name in log.sections:
            for row in rows:
                yield from _rate(row, log.sections[name]["radio"], log)
    yield from check_order(log)
    yield from _antennas(log)
    yield from _assigned(log)
    for name, passes in by_satellite(log.passes).items():
        if name in log.sections:
            yield from _passes(passes, [d for d in log.downlinks if d.satellite == name], log)
    sent_outside = {id(row) for row in log.downlinks} - {
        id(row) for contact in log.passes for row in _sent_in(contact, log.downlinks)
    }
    for row in log.downlinks:
        if id(row) in sent_outside and not log.may_be_of_a_pass_under_way(row.satellite, row.t_s):
            yield Finding(at(row), f"no pass over {row.station} covers this transfer")


def _chains(log: RunLog) -> Iterator[Finding]:
    """Each transfer continues where the one before left the product."""
    for name in repeated(row.product for row in log.products):
        yield Finding(f"product {name}", "two products have this name")
    left = {row.product: row.bytes for row in log.products}
    for row in log.downlinks:
        product = log.product_by_name.get(row.product)
        if product is None:
            yield Finding(at(row), "there is no such product")
            continue
        if (row.capture, row.target) != (product.capture, product.target):
            yield Finding(at(row), f"the product is of {product.capture}, {product.target}")
        if row.start_s < product.t_s or row.end_s < row.start_s or row.t_s != row.end_s:
            yield Finding(at(row), f"{row.start_s} to {row.end_s} is no time for this transfer")
        left[row.product] -= row.bytes
        if row.bytes <= 0 or row.remaining_bytes != left[row.product]:
            yield Finding(
                at(row), f"remaining_bytes is {row.remaining_bytes}, left {left[row.product]}"
            )
        if row.complete != (row.remaining_bytes == 0):
            yield Finding(at(row), f"complete is {row.complete} with {row.remaining_bytes} left")


def _rate(row: Downlink, radio: Mapping[str, Any], log: RunLog) -> Iterator[Finding]:
    fixed_mbps = radio.get("rate_mbps")
    steps_mbps = [step["rate_mbps"] for step in radio.get("modcod") or ()]
    fastest_mbps = fixed_mbps or max(steps_mbps, default=None)
    possible = (row.end_s - row.start_s) * (fastest_mbps or 0.0) * 1e6 / 8
    if fastest_mbps and row.bytes > possible + 1:
        yield Finding(at(row), f"{row.bytes} bytes were sent in the time of {possible:.0f}")
    if fixed_mbps and row.bytes < possible - 1:
        yield Finding(at(row), f"only {row.bytes} bytes were sent in the time of {possible:.0f}")
    timeline = log.timelines.get(row.satellite)
    if timeline is not None and any(
        state.radio_w != radio["power_w"]
        for state in timeline.during(row.start_s + TIME_TOLERANCE_S, row.end_s - TIME_TOLERANCE_S)
    ):
        yield Finding(at(row), "the radio is not on all the time of the transfer")


def _antennas(log: RunLog) -> Iterator[Finding]:
    antennas = {s["name"]: s.get("antennas", 1) for s in log.scenario["ground"]["stations"]}
    for what, rows in (("downlink", log.downlinks), ("contact", log.antennas)):
        over: dict[str, list[tuple[float, float]]] = defaultdict(list)
        for row in rows:
            over[row.station].append((row.start_s, row.end_s))
        for station, spans in over.items():
            if station not in antennas:
                yield Finding(f"{what} over {station}", "there is no such station")
                continue
            for t_s, busy in _crowded(spans, antennas[station]):
                yield Finding(
                    f"{what} over {station} at {t_s:.3f} s",
                    f"{busy} at once, antennas: {antennas[station]}",
                )


def _crowded(spans: Sequence[tuple[float, float]], most: int) -> Iterator[tuple[float, int]]:
    """Moments at which more than `most` spans overlap, and how many."""
    changes = [(start_s + TIME_TOLERANCE_S, 1) for start_s, _ in spans]
    changes += [(end_s - TIME_TOLERANCE_S, -1) for _, end_s in spans]
    busy = 0
    for t_s, change in sorted(changes):
        busy += change
        if busy > most:
            yield t_s, busy


def _assigned(log: RunLog) -> Iterator[Finding]:
    """Contacts assigned before flight lie in passes, and nothing is sent outside them."""
    if log.scenario["ground"].get("antenna_assignment", "priority") != "optimal":
        for contact in log.antennas:
            yield Finding(at(contact), "antennas are not assigned in this scenario")
        return
    contacts = by_satellite(log.antennas)
    passes = by_satellite(log.passes)
    for name, rows in contacts.items():
        for t_s, busy in _crowded([(row.start_s, row.end_s) for row in rows], 1):
            yield Finding(f"contact of {name} at {t_s:.3f} s", f"it has {busy} at once")
        # In a run that was stopped, a pass that was not over has no row.
        seen_s = max((row.los_s for row in passes.get(name, ())), default=0.0)
        for contact in rows:
            if contact.start_s < seen_s or log.run.complete:
                yield from _contact(contact, passes.get(name, ()), log)
    for row in log.downlinks:
        if not any(_covers(contact, row) for contact in contacts.get(row.satellite, ())):
            yield Finding(at(row), f"no antenna of {row.station} was assigned for it")
    for over in log.passes:
        own = [row for row in contacts.get(over.satellite, ()) if _within(row, over)]
        if over.usable_s > 0.0 and (over.outcome == "no_antenna") != (not own):
            yield Finding(at(over), f"outcome is {over.outcome!r} with {len(own)} contacts")


def _contact(contact: Antenna, passes: Sequence[Pass], log: RunLog) -> Iterator[Finding]:
    over = next((row for row in passes if _within(contact, row)), None)
    if over is None or contact.t_s != 0.0 or not contact.start_s < contact.end_s:
        yield Finding(at(contact), f"{contact.start_s} to {contact.end_s} is no part of a pass")
        return
    radio = log.sections[contact.satellite]["radio"] if contact.satellite in log.sections else {}
    outages_s = log.outages_s("station_outage", station=contact.station)
    if not any(
        start_s - TIME_TOLERANCE_S <= contact.start_s and contact.end_s <= end_s + TIME_TOLERANCE_S
        for start_s, end_s in _usable(over, radio.get("acquisition_s", 0.0), outages_s)
    ):
        yield Finding(at(contact), f"the station {contact.station} was not usable then")
    expected = (contact.end_s - contact.start_s) * (radio.get("rate_mbps") or 0.0) * 1e6 / 8
    if contact.capacity_bytes > over.capacity_bytes or (
        radio.get("rate_mbps") and abs(contact.capacity_bytes - expected) > 1
    ):
        yield Finding(at(contact), f"it cannot carry {contact.capacity_bytes} bytes")


def _within(contact: Antenna, over: Pass) -> bool:
    return (
        contact.station == over.station
        and over.aos_s - TIME_TOLERANCE_S <= contact.start_s
        and contact.end_s <= over.los_s + TIME_TOLERANCE_S
    )


def _covers(contact: Antenna, row: Downlink) -> bool:
    return (
        contact.station == row.station
        and contact.start_s - TIME_TOLERANCE_S <= row.start_s
        and row.end_s <= contact.end_s + TIME_TOLERANCE_S
    )


def _passes(
    passes: Sequence[Pass], downlinks: Sequence[Downlink], log: RunLog
) -> Iterator[Finding]:
    radio = log.sections[passes[0].satellite]["radio"]
    acquisition_s = radio.get("acquisition_s", 0.0)
    last_los_s: dict[str, float] = {}
    for row in sorted(passes, key=lambda row: row.aos_s):
        if row.aos_s < last_los_s.get(row.station, 0.0) or not row.aos_s < row.los_s == row.t_s:
            yield Finding(at(row), f"AOS {row.aos_s} and LOS {row.los_s} are no pass of their own")
        last_los_s[row.station] = row.los_s
        windows = _usable(row, acquisition_s, log.outages_s("station_outage", station=row.station))
        usable_s = sum(end - start for start, end in windows)
        # Where the rate follows elevation, a pass may have parts in which nothing flows.
        excess_s = row.usable_s - usable_s
        if excess_s > TIME_TOLERANCE_S or (radio.get("rate_mbps") and excess_s < -TIME_TOLERANCE_S):
            yield Finding(at(row), f"usable_s is {row.usable_s}, less outages {usable_s}")
        sent = _sent_in(row, downlinks)
        sent_bytes = sum(downlink.bytes for downlink in sent)
        sent_s = sum(downlink.end_s - downlink.start_s for downlink in sent)
        if row.bytes != sent_bytes or row.bytes > row.capacity_bytes:
            yield Finding(
                at(row), f"bytes is {row.bytes} of {row.capacity_bytes}, sent {sent_bytes}"
            )
        if not sent_s - TIME_TOLERANCE_S <= row.transmit_s <= row.usable_s + TIME_TOLERANCE_S:
            yield Finding(at(row), f"transmit_s is {row.transmit_s}, transfers took {sent_s}")
        if radio.get("rate_mbps"):
            yield from _fixed_rate_account(row, windows, sent_s, radio["rate_mbps"])
        for downlink in sent:
            if not any(
                start - TIME_TOLERANCE_S <= downlink.start_s
                and downlink.end_s <= end + TIME_TOLERANCE_S
                for start, end in windows
            ):
                yield Finding(at(downlink), f"the station {row.station} was not usable then")
        if (row.outcome == "used") != (sent_bytes > 0):
            yield Finding(at(row), f"outcome is {row.outcome!r} with {sent_bytes} bytes")
        if row.usable_s > 0.0 and row.outcome in CLOSED:
            yield Finding(at(row), f"outcome is {row.outcome!r} with {row.usable_s:.1f} s usable")
        if row.usable_s == 0.0 and row.outcome != _closed(row, acquisition_s, bool(windows)):
            yield Finding(at(row), f"outcome is {row.outcome!r} with nothing usable")


def _closed(row: Pass, acquisition_s: float, in_service: bool) -> str:
    """Why nothing of a pass could be used."""
    if in_service:
        return "no_rate"
    return "too_short" if row.los_s - row.aos_s <= acquisition_s else "outage"


def _fixed_rate_account(
    row: Pass, windows: Sequence[tuple[float, float]], sent_s: float, rate_mbps: float
) -> Iterator[Finding]:
    byte_s = 8.0 / (rate_mbps * 1e6)
    if row.transmit_s > sent_s + len(windows) * byte_s + TIME_TOLERANCE_S:
        yield Finding(at(row), f"transmit_s is {row.transmit_s}, transfers took only {sent_s}")
    capacity = sum((end - start) / byte_s for start, end in windows)
    if abs(capacity - row.capacity_bytes) > len(windows) + 1:
        yield Finding(at(row), f"capacity_bytes is {row.capacity_bytes}, expected {capacity:.0f}")


def _usable(
    row: Pass, acquisition_s: float, outages_s: Sequence[tuple[float, float]]
) -> list[tuple[float, float]]:
    """Parts of a pass that are neither acquisition nor outage."""
    at_s, windows = row.aos_s + acquisition_s, []
    for start_s, end_s in sorted(outages_s):
        if start_s > at_s:
            windows.append((at_s, min(start_s, row.los_s)))
        at_s = max(at_s, end_s)
        if at_s >= row.los_s:
            break
    windows.append((at_s, row.los_s))
    return [(start_s, end_s) for start_s, end_s in windows if end_s > start_s]


def link_windows(over: Pass, log: RunLog) -> list[tuple[float, float]]:
    """Parts of a pass in which there may be a link: in service, and with an antenna if assigned."""
    if log.scenario["ground"].get("antenna_assignment", "priority") == "optimal":
        own = (row for row in log.antennas if row.satellite == over.satellite)
        return [(row.start_s, row.end_s) for row in own if _within(row, over)]
    radio = log.sections[over.satellite]["radio"] if over.satellite in log.sections else {}
    outages_s = log.outages_s("station_outage", station=over.station)
    return _usable(over, radio.get("acquisition_s", 0.0), outages_s)


def contact_ends_s(satellite: str, log: RunLog) -> set[float]:
    """When contacts of a satellite may have ended, which is when the ground learns.

    That is where a link does: at LOS, at a station outage or where an assigned antenna goes to
    another - unless the battery was empty by then, for then the contact ended as it ran empty.
    """
    windows = [
        w for row in log.passes if row.satellite == satellite for w in link_windows(row, log)
    ]
    ends_s = {end_s for _, end_s in windows if not has_no_power(satellite, end_s, log)}
    return ends_s | {
        empty_s
        for empty_s, _ in _without_power_s(satellite, log)
        if any(start_s <= empty_s <= end_s for start_s, end_s in windows)
    }


def has_no_power(satellite: str, t_s: float, log: RunLog) -> bool:
    """Whether the radio was shed before `t_s` and still is."""
    return any(start < t_s < end for start, end in _without_power_s(satellite, log))


def _without_power_s(satellite: str, log: RunLog) -> tuple[tuple[float, float], ...]:
    timeline = log.timelines.get(satellite)
    return () if timeline is None else timeline.empty_s


def _sent_in(contact: Pass, downlinks: Sequence[Downlink]) -> list[Downlink]:
    """Transfers of a pass; `downlinks` are in the order of their ends."""
    last = bisect_right(downlinks, contact.los_s + TIME_TOLERANCE_S, key=lambda row: row.t_s)
    first = bisect_right(downlinks, contact.aos_s - TIME_TOLERANCE_S, key=lambda row: row.t_s)
    return [
        row
        for row in downlinks[first:last]
        if (row.satellite, row.station) == (contact.satellite, contact.station)
        and row.start_s >= contact.aos_s - TIME_TOLERANCE_S
    ]
