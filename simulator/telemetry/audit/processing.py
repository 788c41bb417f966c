"""Processing: each frame is decided on once, and the payload works on one frame at a time.

Frame by frame: capture before inference before decision before product. Satellite by satellite: no
two frames at once, none past its deadline, energy is power times time and stays within the limit
of each orbit.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import Any

from simulator.telemetry.audit.findings import (
    TIME_TOLERANCE_S,
    Finding,
    RunLog,
    at,
    by_satellite,
    is_pixels,
    repeated,
)
from simulator.telemetry.audit.skies import nodal_period_s
from simulator.telemetry.events import Inference

DETECTING_POLICIES = ("discard", "prune", "prioritise", "reschedule")
ENERGY_TOLERANCE = 1e-9
TILE_PX = 512

ORBIT_TOLERANCE_S = 1e-3
"""A frame that waited for the next orbit starts on its very edge, which rounding blurs."""


def check_processing(log: RunLog) -> Iterator[Finding]:
    """Follow every frame through the payload computer."""
    yield from _one_each(log)
    captures = log.capture_by_name
    for row in log.inferences:
        capture = captures.get(row.capture)
        if capture is None:
            continue
        yield from _frame(row, capture.t_s, log)
        yield from _cost(row, log)
    for name, rows in by_satellite(log.inferences).items():
        worked = sorted((row for row in rows if row.latency_s > 0.0), key=lambda row: row.start_s)
        for one, next_one in pairwise(worked):
            if next_one.start_s < one.t_s - TIME_TOLERANCE_S:
                yield Finding(at(next_one), f"starts while {one.capture} is still being processed")
        if name in log.sections:
            yield from _energy_per_orbit(worked, log.sections[name]["payload"], log, name)


def _one_each(log: RunLog) -> Iterator[Finding]:
    names = {row.capture for row in log.captures}
    stored = {row.capture for row in log.captures if row.stored}
    inferring = log.scenario["autonomy"]["policy"] in DETECTING_POLICIES
    kept = {row.capture for row in log.decisions if row.bytes_kept > 0}
    pixels = [row.capture for row in log.products if is_pixels(row)]
    # Pixels behind a preview become a product only when the ground asks for them.
    waiting = {row.capture for row in log.products if not is_pixels(row)} - set(pixels)
    expected: dict[str, tuple[list[str], set[str] | None]] = {
        "inference": ([row.capture for row in log.inferences], stored if inferring else set()),
        "decision": ([row.capture for row in log.decisions], names),
        "product": (pixels, kept - waiting),
        "preview": ([row.capture for row in log.products if not is_pixels(row)], None),
    }
    for kind, (found, wanted) in expected.items():
        for name in sorted(repeated(found)):
            yield Finding(f"{kind} {name}", "there are two for this capture")
        if wanted is None:
            continue
        for name in sorted(wanted - set(found) - log.on_the_way):
            yield Finding(f"{kind} {name}", "there is none for this capture")
        for name in sorted(set(found) - wanted):
            yield Finding(f"{kind} {name}", "there should be none for this capture")
    times = {row.capture: row.t_s for row in log.inferences}
    for decision in log.decisions:
        capture = log.capture_by_name.get(decision.capture)
        earliest_s = times.get(decision.capture, capture.t_s if capture else -math.inf)
        if decision.t_s < earliest_s:
            yield Finding(at(decision), f"decided before {earliest_s:.3f} s, when it was known")
    for product in log.products:
        capture = log.capture_by_name.get(product.capture)
        if capture is not None and product.target != capture.target:
            yield Finding(at(product), f"the capture shows {capture.target}, not {product.target}")
        priority = log.targets.get(product.target, {}).get("priority", 1.0)
        if product.priority != priority:
            yield Finding(at(product), f"priority is {product.priority}, the target's {priority}")


def _frame(row: Inference, captured_s: float, log: RunLog) -> Iterator[Finding]:
    payload = log.sections[row.satellite]["payload"]
    if row.start_s < captured_s or row.t_s < row.start_s - TIME_TOLERANCE_S:
        yield Finding(at(row), f"capture {captured_s}, start {row.start_s}: out of order")
    if abs(row.queued_s - (row.start_s - captured_s)) > TIME_TOLERANCE_S:
        yield Finding(at(row), f"queued_s is {row.queued_s}, start - capture is not")
    late_s = row.t_s - captured_s - payload["frame_deadline_s"]
    if row.status == "ok" and late_s > TIME_TOLERANCE_S:
        yield Finding(
            at(row), f"finished {late_s:.3f} s after its deadline, and counted as in time"
        )
    if row.status == "deadline_missed" and late_s < -TIME_TOLERANCE_S:
        yield Finding(at(row), f"given up {-late_s:.3f} s before its deadline")
    if row.latency_s < row.t_s - row.start_s - TIME_TOLERANCE_S:
        yield Finding(at(row), f"latency_s is {row.latency_s}, end - start more")
    if row.tiles != len(row.tile_sha256):
        yield Finding(at(row), f"tiles is {row.tiles}, {len(row.tile_sha256)} are named")
    if row.model:
        height, width = log.sections[row.satellite]["imager"]["frame_px"]
        tiles = math.ceil(height / TILE_PX) * math.ceil(width / TILE_PX)
        if row.status == "ok" and row.tiles != tiles:
            yield Finding(at(row), f"a frame has {tiles} tiles, {row.tiles} were processed")
        if log.run.manifest.models.get(row.model) != row.model_sha256:
            yield Finding(
                at(row), f"model {row.model} {row.model_sha256[:12]} is not the manifest's"
            )
    elif row.status not in ("deadline_missed", "mission_end"):
        yield Finding(at(row), f"status is {row.status!r} without a model")


def _cost(row: Inference, log: RunLog) -> Iterator[Finding]:
    """Energy is the power that the power rows show, over the time of the work."""
    timeline = log.timelines.get(row.satellite)
    payload = log.sections[row.satellite]["payload"]
    if timeline is None or row.latency_s == 0.0:
        if row.energy_wh != 0.0:
            yield Finding(at(row), f"{row.energy_wh} Wh for no work")
        return
    states = list(timeline.during(row.start_s, row.t_s))
    if row.start_s >= row.t_s:  # given up at the very moment the work was to go on
        return
    power_w = states[0].payload_w
    if any(state.payload_w != power_w or state.low_power for state in states):
        yield Finding(at(row), "the payload's power changes while it works on the frame")
    if power_w > payload["power_limit_w"] * (1.0 + ENERGY_TOLERANCE):
        yield Finding(at(row), f"{power_w} W exceed the limit of {payload['power_limit_w']} W")
    expected_wh = power_w * row.latency_s / 3600.0
    if abs(row.energy_wh - expected_wh) > ENERGY_TOLERANCE * max(1.0, expected_wh):
        yield Finding(
            at(row), f"energy is {row.energy_wh} Wh, {power_w} W over the latency {expected_wh}"
        )


def _energy_per_orbit(
    rows: list[Inference], payload: Mapping[str, Any], log: RunLog, name: str
) -> Iterator[Finding]:
    elements = log.run.orbits().get(name)
    if elements is None:
        yield Finding("orbits.json", f"satellite {name} is missing")
        return
    period_s = nodal_period_s(elements)
    spent: dict[int, list[float]] = defaultdict(list)
    free_s = 0.0
    for row in rows:
        for start_s, energy_wh in _stretches(row, free_s, log):
            spent[math.floor((start_s + ORBIT_TOLERANCE_S) / period_s)].append(energy_wh)
        free_s = row.t_s
    limit_wh = payload["energy_limit_wh_per_orbit"]
    for orbit, energies_wh in spent.items():
        # In real time what a frame takes is known when it is done: the last may overrun.
        judged_wh = math.fsum(energies_wh[:-1] if payload["pace"] == "realtime" else energies_wh)
        if judged_wh > limit_wh * (1.0 + ENERGY_TOLERANCE):
            yield Finding(
                f"inference {name}", f"{judged_wh} Wh in orbit {orbit} exceed {limit_wh} Wh"
            )


def _stretches(row: Inference, free_s: float, log: RunLog) -> Iterator[tuple[float, float]]:
    """When work on a frame began, and went on after the payload was off; energy of each, Wh.

    The row tells of the last stretch. Earlier ones are where the payload, free since `free_s`,
    drew the same power; one that idles at the power it works at does not show them.
    """
    power_w = row.energy_wh * 3600.0 / row.latency_s
    timeline = log.timelines.get(row.satellite)
    from_s = max(free_s, row.start_s - row.queued_s)
    earlier = () if timeline is None else timeline.at_payload_power(from_s, row.start_s, power_w)
    stretches = [*earlier, (row.start_s, row.t_s)]
    worked_s = math.fsum(end_s - begin_s for begin_s, end_s in stretches)
    if worked_s > row.latency_s + TIME_TOLERANCE_S:
        stretches = stretches[-1:]
    for begin_s, end_s in stretches:
        yield begin_s, power_w * (end_s - begin_s) / 3600.0
