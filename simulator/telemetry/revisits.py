"""What repeat requirements and areas got: periods satisfied, ground covered.

A target with `repeat_days` is due once in each period that lies whole within the mission (a
deadline ends the requirement); other targets are due once. A period is satisfied by an image
captured for it that reached the ground clear, whenever it did, but before the target's deadline
where it has one.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

DAY_S = 86_400.0


@dataclass(frozen=True)
class Revisits:
    """Repeat requirements and areas of a run. None where there are none."""

    periods_due: int
    periods_satisfied_fraction: float | None
    area_coverage_fraction: float | None
    area_coverage_fraction_by_area: Mapping[str, float]


def revisits(
    targets: Mapping[str, Mapping[str, Any]],
    satisfied: Collection[tuple[str, int]],
    horizon_s: float,
) -> Revisits:
    """Count what was due against what was satisfied.

    Parameters
    ----------
    targets : mapping of str to mapping
        Properties of each target, as in ``targets.geojson``.
    satisfied : collection of (target, period)
    horizon_s : float
        Simulated time that was observed.
    """
    due = met = 0
    shares: dict[str, list[float]] = defaultdict(list)
    periods_of_area: dict[str, int] = {}
    for name, properties in targets.items():
        periods = periods_due(properties, horizon_s)
        got = sum((name, period) in satisfied for period in range(periods))
        if properties.get("repeat_days") is not None:
            due += periods
            met += got
        area = properties.get("area")
        if area is not None:
            shares[area].append(float(properties["area_share"]) * got)
            periods_of_area[area] = periods
    by_area = {
        area: min(1.0, math.fsum(parts) / periods_of_area[area])
        for area, parts in sorted(shares.items())
        if periods_of_area[area]
    }
    return Revisits(
        periods_due=due,
        periods_satisfied_fraction=met / due if due else None,
        area_coverage_fraction=math.fsum(by_area.values()) / len(by_area) if by_area else None,
        area_coverage_fraction_by_area=by_area,
    )


def periods_due(properties: Mapping[str, Any], horizon_s: float) -> int:
    """Whole periods of a target within the time that was observed; 1 for a target wanted once."""
    repeat_days = properties.get("repeat_days")
    if repeat_days is None:
        return 1
    until_s, deadline_h = horizon_s, properties.get("deadline_h")
    if deadline_h is not None:
        until_s = min(until_s, float(deadline_h) * 3600.0)
    return math.floor(until_s / (float(repeat_days) * DAY_S) + 1e-9)
