"""Repeat periods and areas: each capture in its period, coverage counted again from deliveries."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from typing import Any

from simulator.telemetry import events as ev
from simulator.telemetry.audit.findings import TIME_TOLERANCE_S, Finding, RunLog, at, is_pixels

DAY_S = 86_400.0
SHARE_TOLERANCE = 1e-9


def check_areas(log: RunLog) -> Iterator[Finding]:
    """Hold periods and coverage against the targets' requirements and what was delivered."""
    for capture in log.captures:
        yield from _period(capture, log.targets.get(capture.target, {}))
    yield from _coverage(log)


def _period(row: ev.Capture, properties: Mapping[str, Any]) -> Iterator[Finding]:
    days = properties.get("repeat_days")
    if days is None:
        if row.period != 0:
            yield Finding(at(row), f"period is {row.period}, and the target is wanted once")
        return
    start_s = row.period * days * DAY_S
    end_s = start_s + days * DAY_S
    if not start_s - TIME_TOLERANCE_S <= row.t_s <= end_s + TIME_TOLERANCE_S:
        yield Finding(at(row), f"period {row.period} of {days:g} days does not hold then")


def _coverage(log: RunLog) -> Iterator[Finding]:
    """The ground books a frame once a period, when it learns of a product clear and in time."""
    sizes = Counter(p["area"] for p in log.targets.values() if p.get("area") is not None)
    pixels = {row.product: row.capture for row in log.products if is_pixels(row)}
    delivered_s = {
        pixels[row.product]: row.end_s
        for row in log.downlinks
        if row.complete and row.product in pixels
    }
    learned = {
        (row.target, row.period, row.t_s)
        for row in log.grounds
        if row.source == "downlink" and row.satisfied
        if delivered_s.get(row.capture, math.inf) <= _deadline_s(log.targets.get(row.target, {}))
    }
    first_s: dict[tuple[str, int], float] = {}
    for target, period, t_s in sorted(learned, key=lambda known: known[2]):
        first_s.setdefault((target, period), t_s)
    covered: dict[tuple[str, int], dict[str, float]] = defaultdict(dict)
    for row in log.coverages:
        properties = log.targets.get(row.target, {})
        if properties.get("area") != row.area:
            yield Finding(at(row), f"{row.target} is no frame of {row.area}")
            continue
        if first_s.get((row.target, row.period)) != row.t_s:
            yield Finding(at(row), f"the ground did not learn then that {row.target} came clear")
        frames = covered[row.area, row.period]
        if row.target in frames:
            yield Finding(at(row), f"{row.target} is booked twice in period {row.period}")
        frames[row.target] = properties["area_share"]
        whole = min(1.0, math.fsum(frames.values()))
        if (row.frames, row.frames_covered) != (sizes[row.area], len(frames)):
            yield Finding(
                at(row), f"{len(frames)} of {sizes[row.area]} frames are covered by its account"
            )
        if abs(row.covered_fraction - whole) > SHARE_TOLERANCE:
            yield Finding(at(row), f"covered_fraction is {row.covered_fraction}, counted {whole}")
    booked = {(row.target, row.period) for row in log.coverages}
    for target, period in sorted(first_s.keys() - booked):
        if log.targets.get(target, {}).get("area") is not None:
            yield Finding(f"coverage of {target}", f"period {period} came clear and is not booked")


def _deadline_s(properties: Mapping[str, Any]) -> float:
    hours = properties.get("deadline_h")
    return math.inf if hours is None else float(hours) * 3600.0


def recount(log: RunLog, satisfied: set[tuple[str, int]]) -> dict[str, Any]:
    """The metrics of repeats and areas, target by target and period by period."""
    horizon_s = log.run.horizon_s
    due: list[tuple[str, int]] = []
    ground: dict[str, float] = defaultdict(float)
    areas: dict[str, dict[str, Any]] = {}
    for name, properties in log.targets.items():
        days, area = properties.get("repeat_days"), properties.get("area")
        end_s = min(horizon_s, _deadline_s(properties))
        period = 0
        while days is not None and (period + 1) * days * DAY_S <= end_s + 1e-6:
            due.append((name, period))
            period += 1
        periods = range(1) if days is None else range(period)
        if area is not None:
            areas[area] = {"periods": len(periods)}
            ground[area] += properties["area_share"] * sum((name, p) in satisfied for p in periods)
    by_area = {
        area: min(1.0, ground[area] / known["periods"])
        for area, known in areas.items()
        if known["periods"]
    }
    met = [key for key in due if key in satisfied]
    return {
        "periods_due": len(due),
        "periods_satisfied_fraction": len(met) / len(due) if due else None,
        "area_coverage_fraction": sum(by_area.values()) / len(by_area) if by_area else None,
        "area_coverage_fraction_by_area": by_area,
    }
