"""Captures: each was within reach, lit, powered and in time for the slew before it."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Any

from simulator.telemetry.audit.findings import (
    TIME_TOLERANCE_S,
    Finding,
    RunLog,
    at,
    by_satellite,
    repeated,
)
from simulator.telemetry.events import Capture

ANGLE_TOLERANCE_DEG = 0.02
"""Pointing is interpolated between samples of an access to 0.01 deg."""

SLEW_TOLERANCE_DEG = 1e-6
GROUND_SPEED_KM_S = 7.0
"""Speed of a push-broom frame over the ground; the model's own round figure."""


def check_imaging(log: RunLog) -> Iterator[Finding]:
    """Hold every capture against the limits of imager, attitude, power and tasking."""
    for name in repeated(row.capture for row in log.captures):
        yield Finding(f"capture {name}", "two captures have this name")
    for name, rows in by_satellite(log.captures).items():
        section = log.sections.get(name)
        if section is None:
            yield Finding(f"capture {rows[0].capture}", f"there is no satellite {name!r}")
            continue
        for row in rows:
            yield from _limits(row, section["imager"], log.targets)
            yield from _powered(row, section["imager"], log)
        yield from _slews(name, rows, section, log)
    yield from _attempts(log)


def _limits(
    row: Capture, imager: Mapping[str, Any], targets: Mapping[str, Mapping[str, Any]]
) -> Iterator[Finding]:
    if row.off_nadir_deg > imager["max_off_nadir_deg"] + ANGLE_TOLERANCE_DEG:
        yield Finding(at(row), f"{row.off_nadir_deg:.3f} deg off nadir is out of reach")
    if row.sun_elevation_deg < imager["min_sun_elevation_deg"] - ANGLE_TOLERANCE_DEG:
        yield Finding(at(row), f"the Sun is only {row.sun_elevation_deg:.3f} deg high")
    x, y, z = _line_of_sight(row.roll_deg, row.pitch_deg)
    off_nadir_deg = math.degrees(math.atan2(math.hypot(x, y), z))
    if abs(off_nadir_deg - row.off_nadir_deg) > SLEW_TOLERANCE_DEG:
        yield Finding(at(row), f"roll and pitch are {off_nadir_deg:.6f} deg off nadir")
    height, width = imager["frame_px"]
    size = math.ceil(height * width * imager["bands"] * imager["bit_depth"] / 8)
    if (row.bytes, row.gsd_m) != (size, imager["gsd_m"]):
        yield Finding(at(row), f"a frame of this imager has {size} bytes at {imager['gsd_m']} m")
    if not 0.0 <= row.weather_cover <= 1.0:
        yield Finding(at(row), f"weather_cover {row.weather_cover} is no fraction")
    if row.target not in targets:
        yield Finding(at(row), f"{row.target!r} is no target of this mission")


def _powered(row: Capture, imager: Mapping[str, Any], log: RunLog) -> Iterator[Finding]:
    exposure_s = imager["frame_px"][0] * imager["gsd_m"] / 1000.0 / GROUND_SPEED_KM_S
    start_s, end_s = row.t_s - imager["warmup_s"], row.t_s + exposure_s
    timeline = log.timelines.get(row.satellite)
    if timeline is None:
        return
    for state in timeline.during(start_s + TIME_TOLERANCE_S, end_s - TIME_TOLERANCE_S):
        if state.low_power or state.imager_w != imager["power_w"]:
            yield Finding(
                at(row),
                f"the imager is not on at {max(state.t_s, start_s):.3f} s, warm-up included",
            )
            return


def _slews(
    name: str, rows: list[Capture], section: Mapping[str, Any], log: RunLog
) -> Iterator[Finding]:
    """Pointing is held between captures, so each slew starts where the last capture looked."""
    rate_deg_s = section["agility"]["slew_rate_deg_s"]
    exposure_s = (
        section["imager"]["frame_px"][0] * section["imager"]["gsd_m"] / 1000.0 / GROUND_SPEED_KM_S
    )
    # A capture that low power cut short has turned the satellite, and left no capture row.
    cut_short_s = [p.t_s for p in log.plans if p.satellite == name and p.change == "skip"]
    pointing, free_s = (0.0, 0.0), 0.0
    for row in rows:
        turned = math.degrees(
            _angle(_line_of_sight(*pointing), _line_of_sight(row.roll_deg, row.pitch_deg))
        )
        known = not any(free_s <= t_s <= row.t_s for t_s in cut_short_s)
        if known and abs(turned - row.slew_deg) > SLEW_TOLERANCE_DEG:
            yield Finding(at(row), f"slew_deg is {row.slew_deg}, the pointing turned {turned:.6f}")
        if row.slew_start_s < free_s - TIME_TOLERANCE_S:
            yield Finding(at(row), f"the slew starts before the last exposure ends, {free_s:.3f} s")
        settle_s = section["agility"]["settle_s"] if row.slew_deg > 0.0 else 0.0
        ready_s = row.slew_start_s + row.slew_deg / rate_deg_s + settle_s
        if ready_s > row.t_s + TIME_TOLERANCE_S:
            yield Finding(at(row), f"slew and settling end at {ready_s:.3f} s, after the exposure")
        pointing, free_s = (row.roll_deg, row.pitch_deg), row.t_s + exposure_s


def _attempts(log: RunLog) -> Iterator[Finding]:
    attempts: dict[tuple[str, int], int] = defaultdict(int)
    most = log.scenario["autonomy"]["max_attempts"]
    for row in log.captures:
        attempts[row.target, row.period] += 1
        number = attempts[row.target, row.period]
        if row.attempt != number or row.attempt > most:
            yield Finding(
                at(row), f"attempt is {row.attempt}; it is number {number} of {most} allowed"
            )
        if row.reacquisition != (row.attempt > 1):
            yield Finding(at(row), f"reacquisition is {row.reacquisition} at {row.attempt}")


def _line_of_sight(roll_deg: float, pitch_deg: float) -> tuple[float, float, float]:
    """Flight, right and nadir components: pitch forward out of the cross-track plane, then roll."""
    roll, pitch = math.radians(roll_deg), math.radians(pitch_deg)
    return (
        math.sin(pitch),
        math.sin(roll) * math.cos(pitch),
        math.cos(roll) * math.cos(pitch),
    )


def _angle(a: tuple[float, float, float], b: tuple[float, float, float]) -> float:
    """Angle between two unit vectors, rad (Kahan's form, exact for small and large angles)."""
    return 2.0 * math.atan2(
        math.dist(a, b), math.hypot(*(x + y for x, y in zip(a, b, strict=True)))
    )
