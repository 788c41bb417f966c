"""The ground loop and the plan: who learned what when, and what the plan made of it.

The ground learns of a capture at the end of a contact, from its pixels or from telemetry, and asks
again after its delay; what goes up was ready. A contact is the part of a pass in which there is a
link. The size of the plan follows from its changes.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence

from simulator.telemetry.audit.contacts import contact_ends_s, has_no_power, link_windows
from simulator.telemetry.audit.findings import (
    TIME_TOLERANCE_S,
    Finding,
    RunLog,
    at,
    by_satellite,
    is_pixels,
)
from simulator.telemetry.audit.previews import check_previews, pixels_delivered_s
from simulator.telemetry.audit.shown import Shown
from simulator.telemetry.events import Plan

GROUND_TASKED_POLICIES = ("bent_pipe", "discard", "prune", "prioritise")
DEATHS = ("out_of_memory", "crashed", "timeout", "link_lost")
PERFECT = (None, "perfect")
COVER_TOLERANCE = 1e-6
QUANTISED_COVER_TOLERANCE = 0.01
"""`oracle` reports truth quantised per block; no mask of it is in the log."""


def check_loop(log: RunLog) -> Iterator[Finding]:
    """Hold news, tasking, plan and faults against what they rest on."""
    yield from _news(log)
    yield from _deliveries_are_learned(log)
    yield from check_previews(log)
    yield from _tasking(log)
    yield from _plan(log)
    yield from _faults(log)


def _news(log: RunLog) -> Iterator[Finding]:
    ends_s = {name: contact_ends_s(name, log) for name in log.sections}
    delay_s = log.scenario["ground"]["processing_delay_h"] * 3600.0
    delivered_s = pixels_delivered_s(log)
    decisions = {row.capture: row for row in log.decisions}
    inferences = {row.capture: row for row in log.inferences}
    shown = Shown(log)
    for row in log.grounds:
        capture, decision = log.capture_by_name.get(row.capture), decisions.get(row.capture)
        if capture is None or decision is None or capture.target != row.target:
            yield Finding(at(row), f"no capture {row.capture} of {row.target} was decided on")
            continue
        if capture.period != row.period:
            yield Finding(at(row), f"period is {row.period}, the capture's {capture.period}")
        if row.t_s not in ends_s.get(row.satellite, ()) and not log.may_be_of_a_pass_under_way(
            row.satellite, row.t_s
        ):
            yield Finding(at(row), "the ground learns at the end of a contact, and none ends then")
        tolerance = COVER_TOLERANCE
        if row.source in ("mask", "thumbnail"):
            continue  # `check_previews`
        if row.source == "downlink":
            known_s = delivered_s.get(row.capture, float("inf"))
            cover = shown.by_truth(decision)
            if row.mask_sha256:
                cover = shown.by_ground(row.mask_sha256, decision)
            if bool(row.mask_sha256) == (log.scenario["ground"].get("screening") in PERFECT):
                yield Finding(at(row), "the ground's mask does not go with its screening")
        elif row.source == "telemetry":
            known_s, seen = decision.t_s, inferences.get(row.capture)
            if seen is not None:
                cover = shown.by_payload(seen, decision)
            else:
                cover = shown.by_truth(decision)
                tolerance = QUANTISED_COVER_TOLERANCE
        else:
            known_s, cover = capture.t_s, 1.0
        if row.t_s < known_s:
            yield Finding(at(row), f"learned from {row.source} before {known_s:.3f} s")
        if abs(row.cover - cover) > tolerance:
            yield Finding(at(row), f"cover is {row.cover}, {row.source} shows {cover}")
        if row.tasking_ready_s not in (-1.0, row.t_s + delay_s):
            yield Finding(
                at(row), f"tasking is ready at {row.tasking_ready_s}, not after the delay"
            )


def _deliveries_are_learned(log: RunLog) -> Iterator[Finding]:
    learned = Counter((row.capture, row.source) for row in log.grounds)
    last_los_s = {row.satellite: row.los_s for row in log.passes}
    for row in log.downlinks:
        over = row.end_s <= last_los_s.get(row.satellite, 0.0)
        product = log.product_by_name.get(row.product)
        source = "downlink" if product is None or is_pixels(product) else product.kind
        if row.complete and over and learned[row.capture, source] != 1:
            times = learned[row.capture, source]
            yield Finding(at(row), f"the ground learned of it {times} times")


def _tasking(log: RunLog) -> Iterator[Finding]:
    """Who is asked may be another satellite than the one that took the last capture."""
    asked: dict[tuple[str, int], list[float]] = defaultdict(list)
    for row in log.grounds:
        if row.tasking_ready_s >= 0.0:
            asked[row.target, row.period].append(row.tasking_ready_s)
    sent_s: dict[tuple[str, int], list[float]] = defaultdict(list)
    links = [
        (c.satellite, c.station, *window) for c in log.passes for window in link_windows(c, log)
    ]
    for uplink in log.uplinks:
        if not any(
            (satellite, station) == (uplink.satellite, uplink.station)
            and start_s - TIME_TOLERANCE_S <= uplink.t_s <= end_s + TIME_TOLERANCE_S
            for satellite, station, start_s, end_s in links
        ) and not log.may_be_of_a_pass_under_way(uplink.satellite, uplink.t_s):
            yield Finding(at(uplink), f"there is no link over {uplink.station} then")
        if has_no_power(uplink.satellite, uplink.t_s, log):
            yield Finding(at(uplink), "the battery is empty, the radio is shed")
        if len(uplink.periods) != len(uplink.targets):
            yield Finding(at(uplink), "targets and periods differ in number")
        for key in zip(uplink.targets, uplink.periods, strict=False):
            if not any(t_s <= uplink.t_s for t_s in asked[key]):
                yield Finding(at(uplink), f"no tasking for {key[0]} was ready")
            sent_s[key].append(uplink.t_s)
    for key, times in sent_s.items():
        if len(times) > len(asked[key]):
            yield Finding(
                f"uplink of {key[0]}", f"sent {len(times)} times, asked {len(asked[key])}"
            )
    if log.scenario["autonomy"]["policy"] in GROUND_TASKED_POLICIES:
        for capture in log.captures:
            asked_by_s = [t for t in sent_s[capture.target, capture.period] if t <= capture.t_s]
            if capture.reacquisition and len(asked_by_s) < capture.attempt - 1:
                yield Finding(at(capture), "it repeats a capture, and the ground had not asked")


def _plan(log: RunLog) -> Iterator[Finding]:
    taken = by_satellite(log.captures)
    for name, rows in by_satellite(log.plans).items():
        starts_s = sorted(capture.slew_start_s for capture in taken.get(name, []))
        yield from _plan_size(rows, starts_s)
    planned: dict[tuple[str, int], list[float]] = defaultdict(list)
    for row in log.plans:
        if row.change == "add":
            planned[row.target, row.period].append(row.t_s)
    for capture in log.captures:
        times = planned[capture.target, capture.period]
        added = bisect_right(times, capture.slew_start_s + TIME_TOLERANCE_S)
        if added < capture.attempt:
            yield Finding(at(capture), f"planned {added} times by attempt {capture.attempt}")


def _plan_size(rows: Sequence[Plan], starts_s: Sequence[float]) -> Iterator[Finding]:
    """Captures in the plan: added, less removed, less begun (a skipped one was begun before)."""
    skips_s = [row.t_s for row in rows if row.change == "skip"]
    changes = {"add": 1, "remove": -1}
    size = skipped = 0
    for index, row in enumerate(rows):
        size += changes.get(row.change, 0)
        skipped += row.change == "skip"
        if index + 1 < len(rows) and (rows[index + 1].t_s, rows[index + 1].trigger) == (
            row.t_s,
            row.trigger,
        ):
            continue
        most = size - skipped - bisect_right(starts_s, row.t_s - TIME_TOLERANCE_S)
        begun_now = bisect_right(starts_s, row.t_s + TIME_TOLERANCE_S) - bisect_right(
            starts_s, row.t_s - TIME_TOLERANCE_S
        )
        # One capture may be under way that will yet be skipped, or never finish.
        under_way = begun_now + int(any(t_s > row.t_s for t_s in skips_s) or index + 1 == len(rows))
        if not most - under_way <= row.planned_captures <= most:
            yield Finding(
                at(row), f"planned_captures is {row.planned_captures}, by its changes {most}"
            )


def _faults(log: RunLog) -> Iterator[Finding]:
    died = Counter(
        (row.satellite, row.capture, row.status) for row in log.inferences if row.status in DEATHS
    )
    written = Counter((f.satellite, f.capture, f.kind) for f in log.faults if f.kind in DEATHS)
    for satellite, capture, kind in sorted(died - written):
        yield Finding(f"fault {capture} {satellite}", f"the payload's {kind} was not written down")
    for satellite, capture, kind in sorted(written - died):
        yield Finding(f"fault {capture} {satellite}", f"no inference ended with {kind}")
    for fault in log.faults:
        if fault.end_s < fault.t_s:
            yield Finding(at(fault), f"it ends before it begins, at {fault.end_s}")
        if fault.kind == "payload_outage":
            ordered = log.outages_s("payload_outage", satellite=fault.satellite)
            if (fault.t_s, fault.end_s) not in ordered:
                yield Finding(at(fault), "the scenario orders no such outage")
    yield from _ordered_outages(log)


def _ordered_outages(log: RunLog) -> Iterator[Finding]:
    inferring = log.scenario["autonomy"]["policy"] not in ("bent_pipe", "oracle")
    written = {(f.satellite, f.t_s) for f in log.faults if f.kind == "payload_outage"}
    for name in log.sections:
        for start_s, _ in log.outages_s("payload_outage", satellite=name):
            if inferring and start_s < log.run.horizon_s and (name, start_s) not in written:
                yield Finding(f"fault {name}", f"the outage at {start_s} s was not written down")
