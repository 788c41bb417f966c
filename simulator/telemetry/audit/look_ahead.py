"""Look-ahead: every glance lies on the line ahead, is powered, and its power has a glance."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from itertools import pairwise
from typing import Any

import numpy as np

from simulator.telemetry.audit.findings import (
    TIME_TOLERANCE_S,
    Finding,
    RunLog,
    at,
    by_satellite,
)
from simulator.telemetry.audit.skies import Sky
from simulator.telemetry.events import Glance

PITCH_TOLERANCE_DEG = 0.01
COVER_STEP = 0.01
"""Cover is rounded to this before the planner hears of it."""

DAY_S = 86_400.0

REACH_SAMPLES = 61
"""Moments between an overflight and another period at which the target has to be in reach."""

OUTLIER_SIGMAS = 6.0
"""No draw of a mission lies farther out; a forged cover may."""


def check_look_ahead(log: RunLog) -> Iterator[Finding]:
    """Hold every glance against camera, power and weather, and the power against glances."""
    grouped = by_satellite(log.glances)
    for name in grouped.keys() - log.sections.keys():
        yield Finding(at(grouped[name][0]), f"there is no satellite {name!r}")
    for name, satellite in log.sections.items():
        rows, section = grouped.get(name, []), satellite.get("look_ahead")
        if section is None:
            for row in rows[:1]:
                yield Finding(at(row), "no look-ahead camera is on board")
            section = {"power_w": 0.0, "decide_s": 0.0}
        else:
            for row in rows:
                yield from _glance(row, section, log)
        yield from _powered_without_a_glance(name, rows, section, log)


def _glance(row: Glance, section: Mapping[str, Any], log: RunLog) -> Iterator[Finding]:
    if row.target not in log.targets:
        yield Finding(at(row), f"{row.target!r} is no target of this mission")
    if abs(row.pitch_deg - section["pitch_deg"]) > PITCH_TOLERANCE_DEG:
        yield Finding(at(row), f"pitch_deg is {row.pitch_deg}, it looks {section['pitch_deg']} deg")
    if abs(row.roll_deg) > section["half_swath_deg"] + PITCH_TOLERANCE_DEG:
        yield Finding(at(row), f"{row.roll_deg:.3f} deg to the side is outside the swath")
    if abs(row.looked_s + row.lead_s - row.closest_s) > TIME_TOLERANCE_S or row.lead_s <= 0.0:
        yield Finding(at(row), f"lead_s {row.lead_s} does not lead to {row.closest_s:.3f} s")
    yield from _period(row, log)
    shed = row.outcome == "shed"
    decided_s = row.looked_s + section["decide_s"]
    late = row.t_s > decided_s + TIME_TOLERANCE_S
    if late or (not shed and row.t_s < decided_s - TIME_TOLERANCE_S):
        yield Finding(at(row), f"the cover is known at {decided_s:.3f} s")
    spread = OUTLIER_SIGMAS * section["cover_sigma"] + COVER_STEP
    if shed != (row.cover_seen == -1.0) or row.outcome not in ("seen", "shed"):
        yield Finding(at(row), f"outcome is {row.outcome}, cover_seen {row.cover_seen}")
    elif not shed and not 0.0 <= row.cover_seen <= 1.0:
        yield Finding(at(row), f"cover_seen {row.cover_seen} is no fraction")
    elif not shed and abs(row.cover_seen - row.weather_cover) > spread:
        yield Finding(at(row), f"cover {row.weather_cover} cannot be seen as {row.cover_seen}")
    if row.forecast_cover != -1.0 and not 0.0 <= row.forecast_cover <= 1.0:
        yield Finding(at(row), f"forecast_cover {row.forecast_cover} is no fraction")
    if not 0.0 <= row.weather_cover <= 1.0:
        yield Finding(at(row), f"weather_cover {row.weather_cover} is no fraction")
    timeline = log.timelines.get(row.satellite)
    states = timeline.during(row.looked_s, row.t_s) if timeline else ()
    if any(state.look_ahead_w != section["power_w"] for state in states):
        yield Finding(at(row), "the camera has no power between glance and decision")


def _period(row: Glance, log: RunLog) -> Iterator[Finding]:
    """It is for the period in which the overflight lies, or begins or ends."""
    days = log.targets.get(row.target, {}).get("repeat_days")
    period_s = days * DAY_S if days else math.inf
    meant = int(row.closest_s / period_s)
    if row.period == meant or (days and _reaches(row, period_s, log)):
        return
    yield Finding(at(row), f"period is {row.period}, the overflight lies in {meant}")


def _reaches(row: Glance, period_s: float, log: RunLog) -> bool:
    """Whether the target is in reach all the time between the overflight and the period."""
    edge_s = period_s * (row.period if row.closest_s < row.period * period_s else row.period + 1)
    sky = Sky(log.run.orbits()[row.satellite], datetime.fromisoformat(log.run.manifest.epoch))
    between_s = np.linspace(row.closest_s, edge_s, REACH_SAMPLES)
    imager = log.sections[row.satellite]["imager"]
    return bool(sky.in_reach(row.latitude_deg, row.longitude_deg, imager, between_s).all())


def _powered_without_a_glance(
    name: str, rows: Sequence[Glance], section: Mapping[str, Any], log: RunLog
) -> Iterator[Finding]:
    """Power of the camera must be some glance's; one that the mission's end cut off has no row."""
    spans: list[list[float]] = []
    for looked_s, known_s in sorted((row.looked_s, row.t_s) for row in rows):
        if spans and looked_s <= spans[-1][1] + TIME_TOLERANCE_S:
            spans[-1][1] = max(spans[-1][1], known_s)
        else:
            spans.append([looked_s, known_s])
    starts_s = [start_s for start_s, _ in spans]
    open_from_s = log.run.horizon_s - section["decide_s"]
    for before, after in pairwise(row for row in log.powers if row.satellite == name):
        lasts = after.t_s > before.t_s + TIME_TOLERANCE_S
        if before.look_ahead_w == 0.0 or not lasts or before.t_s >= open_from_s:
            continue
        index = bisect_right(starts_s, before.t_s + TIME_TOLERANCE_S) - 1
        # One that the end cut off may have begun while the last known ones still looked.
        if index < 0 or spans[index][1] < min(after.t_s, open_from_s) - TIME_TOLERANCE_S:
            yield Finding(at(before), "the look-ahead camera draws power, and nothing is looked at")
