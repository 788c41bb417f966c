"""The targets that ship: read by the mission's own reader, spread over the land, told apart."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from importlib.resources import files
from itertools import combinations
from pathlib import Path

import pytest

from payload.surfaces import SURFACES
from scenarios.build_targets import (
    EARTH_RADIUS_KM,
    NORTH_DEG,
    SEPARATION_KM,
    SOUTH_DEG,
)
from simulator.scenario.targets import Target, read_targets

EPOCH = datetime(2024, 6, 1, tzinfo=UTC)
ROUNDING_KM = 0.1


def bundled(count: int) -> tuple[Target, ...]:
    path = Path(str(files("scenarios") / "targets" / f"world_{count}.geojson"))
    return read_targets(path, frame_km=(10.24, 10.24), epoch=EPOCH)


def chord_km(a: Target, b: Target) -> float:
    """Straight line between two places; a shorter bound for the way over the ground."""

    def vector(t: Target) -> tuple[float, float, float]:
        lat, lon = math.radians(t.latitude_deg), math.radians(t.longitude_deg)
        return math.cos(lat) * math.cos(lon), math.cos(lat) * math.sin(lon), math.sin(lat)

    return EARTH_RADIUS_KM * math.dist(vector(a), vector(b))


@pytest.mark.parametrize("count", [200, 300])
def test_targets_are_as_many_as_the_name_says_and_usable(count: int) -> None:
    targets = bundled(count)
    assert len(targets) == count
    assert len({target.name for target in targets}) == count
    assert all(SOUTH_DEG <= target.latitude_deg <= NORTH_DEG for target in targets)
    assert all(target.surface in SURFACES for target in targets)
    assert {1.0, 10.0} <= {target.priority for target in targets}
    deadlines = [t.deadline_h for t in targets if t.deadline_h is not None]
    assert 0.15 < len(deadlines) / count < 0.35
    assert min(deadlines) >= 24.0


def test_targets_keep_their_distance() -> None:
    chord_limit_km = 2 * EARTH_RADIUS_KM * math.sin(SEPARATION_KM / (2 * EARTH_RADIUS_KM))
    nearest_km = min(chord_km(a, b) for a, b in combinations(bundled(300), 2))
    assert nearest_km >= chord_limit_km - ROUNDING_KM


def test_the_smaller_set_opens_the_larger() -> None:
    assert bundled(300)[:200] == bundled(200)
