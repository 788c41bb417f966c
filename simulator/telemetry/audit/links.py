"""Link budgets again: the MODCODs a transfer names must close at the range it really had.

Range and elevation come from plain Skyfield at points along each transfer, the signal-to-noise
ratio from the engineering form of the link equation (ITU-R P.525: 92.45 dB at 1 km and 1 GHz).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from simulator.ground.link_rates import DVB_S2
from simulator.telemetry.audit.findings import Finding, RunLog, at
from simulator.telemetry.audit.skies import Sky
from simulator.telemetry.events import Downlink

MOST_ROWS = 400
POINTS = 9
"""Points along a transfer."""

CLOSING_TOLERANCE_DB = 0.2

RATE_STEP_S = 10.0
"""A rate is constant between samples of a pass, at most this far apart, and takes the worse end of
each step: that end may lie so far outside the transfer."""

_STANDARD = {name: (required_db, efficiency) for name, required_db, efficiency in DVB_S2}


def check_links(log: RunLog) -> Iterator[Finding]:
    """Recompute the link of every transfer that a budget sets the rate of."""
    stations = {s["name"]: s for s in log.scenario["ground"]["stations"]}
    epoch = datetime.fromisoformat(log.run.manifest.epoch)
    for name, section in log.sections.items():
        budget = section["radio"].get("link_budget")
        rows = [row for row in log.downlinks if row.satellite == name and row.station in stations]
        if budget is None or not rows:
            continue
        elements = log.run.orbits().get(name)
        if elements is None:
            yield Finding("orbits.json", f"satellite {name} is missing")
            continue
        sky = Sky(elements, epoch)
        chosen = np.linspace(0, len(rows) - 1, min(len(rows), MOST_ROWS)).round().astype(int)
        for row in (rows[i] for i in chosen):
            station, span_s = stations[row.station], (row.start_s, row.end_s)
            highest_db = es_n0_db(budget, sky, station, span_s).max()
            wider_s = (row.start_s - RATE_STEP_S, row.end_s + RATE_STEP_S)
            lowest_db = es_n0_db(budget, sky, station, wider_s).min()
            yield from _transfer(row, budget, float(lowest_db), float(highest_db))


def es_n0_db(
    budget: Mapping[str, Any], sky: Sky, station: Mapping[str, Any], span_s: tuple[float, float]
) -> NDArray[np.float64]:
    """Signal-to-noise ratio along a span of time, less losses and margin."""
    position = sky.satellite.at(sky.times(np.linspace(*span_s, POINTS)))
    elevation_deg, range_km = sky.elevation_and_range(station, position)
    air_db = budget.get("atmosphere_zenith_db", 0.0) / np.sin(
        np.radians(np.maximum(elevation_deg, 5.0))
    )
    free_space_db = 92.45 + 20 * np.log10(range_km) + 20 * math.log10(budget["frequency_ghz"])
    noise_db = -228.6 + 60.0 + 10 * math.log10(budget["bandwidth_mhz"])
    received_db = budget["eirp_dbw"] + budget["g_over_t_db_k"] - free_space_db - air_db
    return np.asarray(received_db - noise_db - budget["losses_db"] - budget["margin_db"])


def _transfer(
    row: Downlink, budget: Mapping[str, Any], lowest_db: float, highest_db: float
) -> Iterator[Finding]:
    unknown = [name for name in row.modcod if name not in _STANDARD]
    if unknown or not row.modcod:
        yield Finding(at(row), f"modcod is {row.modcod}, which no link budget gives")
        return
    required_db, efficiencies = zip(*(_STANDARD[name] for name in row.modcod), strict=True)
    if max(required_db) > highest_db + CLOSING_TOLERANCE_DB:
        yield Finding(
            at(row), f"{row.modcod} needs {max(required_db)} dB, the link has {highest_db:.2f}"
        )
    sure_db = lowest_db - CLOSING_TOLERANCE_DB
    least = max((bits for need, bits in _STANDARD.values() if need <= sure_db), default=0.0)
    if min(efficiencies) < least:
        yield Finding(at(row), f"{row.modcod} where {lowest_db:.2f} dB allow more")
    symbols = (row.end_s - row.start_s) * budget["bandwidth_mhz"] * 1e6
    slowest, fastest = symbols * min(efficiencies) / 8, symbols * max(efficiencies) / 8
    if not slowest - 1 <= row.bytes <= fastest + 1:
        yield Finding(
            at(row), f"{row.bytes} bytes, {row.modcod} carries {slowest:.0f} to {fastest:.0f}"
        )
