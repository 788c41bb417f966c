"""Energy: what was generated went into loads, into the battery or was curtailed, row by row.

Each power row says what holds from then on, so between two rows of a satellite the loads are known
and the consumed energy is their product with time. Generation between two rows is known where it
is nearly linear (sun-pointing panels outside penumbrae) or absent (umbra), and bounded elsewhere.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any

from simulator.telemetry.audit.findings import Finding, RunLog, at, by_satellite
from simulator.telemetry.events import Eclipse, Power

RELATIVE_TOLERANCE = 1e-9
"""Energy books close to this fraction of the energy that has passed through them."""

THRESHOLD_TOLERANCE_WH = 1e-6
"""Charge at a threshold crossing: time is a float, so the root is met to nanoseconds only."""

GENERATION_TOLERANCE = 1e-5
"""Generation of sun-pointing panels is known to this fraction."""

SOLAR_IRRADIANCE_W_M2 = 1361.0
SUN_DISTANCE_SWING = 0.035
"""(1 AU / distance)^2 swings by 3.4 % over the year (eccentricity 0.0167)."""

SUNLIGHT_BEND_PER_DAY2 = 1.5 * SUN_DISTANCE_SWING * (math.tau / 365.25) ** 2 / 12.0
"""How far the mean of that leaves the mean of its two ends, per day squared between them: its
curvature over 12, and half of that for what the Earth's path has beyond a cosine (the Moon)."""

FACES_SEEN = math.sqrt(3.0)
"""Most panel area, in faces, that a cube can turn to the Sun."""


def check_energy(log: RunLog) -> Iterator[Finding]:
    """Balance each satellite's battery from row to row."""
    grouped = by_satellite(log.powers)
    for name, section in log.sections.items():
        rows = grouped.get(name, [])
        if not rows:
            if log.until_s > 0.0:  # a run that was stopped in its first instant has none to judge
                yield Finding("power", f"satellite {name} has no row")
            continue
        shadows = _Shadows([e for e in log.eclipses if e.satellite == name])
        yield from _ends(rows, section["power"], log.run.horizon_s, log.run.complete)
        for row in rows:
            yield from _row(row, section["power"], shadows)
        for before, after in pairwise(rows):
            yield from _step(before, after, section["power"])
            yield from _hysteresis(before, after, section["power"])
            yield from _generation(before, after, section["power"], shadows)


def _ends(
    rows: Sequence[Power], power: Mapping[str, Any], horizon_s: float, complete: bool
) -> Iterator[Finding]:
    first, last = rows[0], rows[-1]
    expected_wh = power["battery_wh"] * power["initial_fraction"]
    if first.t_s != 0.0 or not _close(first.charge_wh, expected_wh, expected_wh):
        yield Finding(at(first), f"the books do not open at 0 s with {expected_wh:g} Wh")
    if any((first.generated_wh, first.consumed_wh, first.curtailed_wh, first.payload_wh)):
        yield Finding(at(first), "the books do not open empty")
    if complete and last.t_s != horizon_s:
        yield Finding(at(last), f"the books do not close at the end of the mission, {horizon_s} s")


def _row(row: Power, power: Mapping[str, Any], shadows: _Shadows) -> Iterator[Finding]:
    capacity_wh = power["battery_wh"]
    if not 0.0 <= row.charge_wh <= capacity_wh:
        yield Finding(at(row), f"charge {row.charge_wh} Wh is outside 0..{capacity_wh:g} Wh")
    if not _close(row.charge_fraction * capacity_wh, row.charge_wh, capacity_wh):
        yield Finding(at(row), f"charge_fraction is not charge / {capacity_wh:g} Wh")
    loads_w = (row.bus_w, row.payload_w, row.imager_w, row.radio_w, row.look_ahead_w)
    if min(loads_w) < 0.0 or not _close(math.fsum(loads_w), row.load_w, 1.0 + row.load_w):
        yield Finding(at(row), f"load_w {row.load_w} is not the sum of the loads {loads_w}")
    if row.bus_w != power["bus_load_w"]:
        yield Finding(at(row), f"bus_w {row.bus_w} is not the scenario's {power['bus_load_w']}")
    if not 0.0 <= row.generation_w <= _most_w(power):
        yield Finding(at(row), f"generation_w {row.generation_w} is more than the panels can give")
    if shadows.kind_at(row.t_s) == "umbra" and row.generation_w > GENERATION_TOLERANCE:
        yield Finding(at(row), f"panels give {row.generation_w} W in the umbra")


def _step(before: Power, after: Power, power: Mapping[str, Any]) -> Iterator[Finding]:
    hours = (after.t_s - before.t_s) / 3600.0
    generated = after.generated_wh - before.generated_wh
    consumed = after.consumed_wh - before.consumed_wh
    curtailed = after.curtailed_wh - before.curtailed_wh
    unserved = after.unserved_wh - before.unserved_wh
    stored = after.charge_wh - before.charge_wh
    # Differences of cumulative figures carry the rounding of the figures, not of the difference.
    scale = max(1.0, after.generated_wh, after.consumed_wh)
    if hours < 0.0 or min(generated, consumed, curtailed, unserved) < -RELATIVE_TOLERANCE * scale:
        yield Finding(at(after), "time or a cumulative energy runs backwards")
    if not _close(generated, consumed + stored + curtailed, scale):
        missing = generated - consumed - stored - curtailed
        yield Finding(
            at(after), f"generated = consumed + stored + curtailed fails by {missing:.3g} Wh"
        )
    if not _close(consumed + unserved, before.load_w * hours, scale):
        yield Finding(
            at(after),
            f"consumed {consumed:.9g} Wh (and {unserved:.3g} unserved) since {before.t_s:.3f} s "
            f"is not {before.load_w:g} W over that time",
        )
    payload = after.payload_wh - before.payload_wh
    if not _close(payload, before.payload_w * hours, scale):
        yield Finding(at(after), "payload_wh is not payload_w over time")
    reach_wh = _most_w(power) * hours
    slack_wh = THRESHOLD_TOLERANCE_WH
    if curtailed > slack_wh and before.charge_wh + reach_wh < power["battery_wh"] - slack_wh:
        yield Finding(at(after), "energy is curtailed though the battery cannot have been full")
    if unserved > slack_wh and before.radio_w > 0.0:
        yield Finding(at(after), "the radio transmits on an empty battery")
    if unserved > slack_wh and before.charge_wh - before.load_w * hours > slack_wh:
        yield Finding(at(after), "a load is unserved though the battery cannot have been empty")


def _hysteresis(before: Power, after: Power, power: Mapping[str, Any]) -> Iterator[Finding]:
    low_wh = power["battery_wh"] * power["low_power_fraction"]
    recover_wh = power["battery_wh"] * power["recover_fraction"]
    sheddable_w = before.payload_w + before.imager_w + before.look_ahead_w
    if before.low_power and after.t_s > before.t_s and sheddable_w > 0.0:
        yield Finding(at(before), "payload, imager or look-ahead draws power while they are shed")
    if before.low_power == after.low_power:
        limit_wh, sign = (recover_wh, 1.0) if after.low_power else (low_wh, -1.0)
        if sign * (after.charge_wh - limit_wh) > THRESHOLD_TOLERANCE_WH:
            yield Finding(at(after), f"low_power is {after.low_power} at {after.charge_wh:.6g} Wh")
        return
    crossed_wh = low_wh if after.low_power else recover_wh
    if abs(after.charge_wh - crossed_wh) > THRESHOLD_TOLERANCE_WH:
        yield Finding(
            at(after),
            f"low_power turns {after.low_power} at {after.charge_wh:.6g} Wh, not {crossed_wh:g} Wh",
        )


def _generation(
    before: Power, after: Power, power: Mapping[str, Any], shadows: _Shadows
) -> Iterator[Finding]:
    hours = (after.t_s - before.t_s) / 3600.0
    generated_wh = after.generated_wh - before.generated_wh
    slack_wh = GENERATION_TOLERANCE * _most_w(power) * hours + RELATIVE_TOLERANCE * max(
        1.0, after.generated_wh
    )
    light = shadows.kind_between(before.t_s, after.t_s)
    if light == "umbra":
        low_wh = high_wh = 0.0
    elif light == "sunlit" and power["pointing"] == "sun":
        mean_wh = 0.5 * (before.generation_w + after.generation_w) * hours
        bend = min(2.0 * SUN_DISTANCE_SWING, SUNLIGHT_BEND_PER_DAY2 * (hours / 24.0) ** 2)
        low_wh, high_wh = (1.0 - bend) * mean_wh, (1.0 + bend) * mean_wh
    else:
        low_wh, high_wh = 0.0, _most_w(power) * hours
    if not low_wh - slack_wh <= generated_wh <= high_wh + slack_wh:
        yield Finding(
            at(after),
            f"{generated_wh:.9g} Wh were generated since {before.t_s:.3f} s ({light}); "
            f"{low_wh:.9g} to {high_wh:.9g} Wh are possible",
        )


class _Shadows:
    """Eclipses of one satellite, for look-up by time."""

    def __init__(self, eclipses: Sequence[Eclipse]) -> None:
        self._eclipses = eclipses
        self._starts = [e.start_s for e in eclipses]

    def kind_at(self, t_s: float) -> str:
        """``umbra`` or ``penumbra`` strictly inside one, else ``sunlit``."""
        index = bisect_right(self._starts, t_s) - 1
        if index < 0 or not self._eclipses[index].start_s < t_s < self._eclipses[index].end_s:
            return "sunlit"
        return self._eclipses[index].kind

    def kind_between(self, start_s: float, end_s: float) -> str:
        """What holds all the time between the two; ``mixed`` if more than one does."""
        index = bisect_right(self._starts, start_s) - 1
        inside = index >= 0 and self._eclipses[index].end_s > start_s
        if inside and self._eclipses[index].end_s >= end_s:
            return self._eclipses[index].kind
        next_s = self._starts[index + 1] if index + 1 < len(self._starts) else math.inf
        return "mixed" if inside or next_s < end_s else "sunlit"


def _most_w(power: Mapping[str, Any]) -> float:
    faces = FACES_SEEN if power["pointing"] == "body" else 1.0
    nominal_w = SOLAR_IRRADIANCE_W_M2 * float(power["panel_area_m2"] * power["panel_efficiency"])
    return nominal_w * faces * (1.0 + SUN_DISTANCE_SWING)


def _close(a: float, b: float, scale: float) -> bool:
    return abs(a - b) <= RELATIVE_TOLERANCE * scale
