"""A month of geometry for a whole mission fits in little memory."""

from __future__ import annotations

import tracemalloc

import numpy as np
from geometry_reference import DAY_S, Place

from simulator.geometry import Orbit, accesses, generation_profile, ground_track, passes, shadows

MEMORY_LIMIT_MB = 120.0  # the issue allows 500
MONTH_S = 30 * DAY_S
TARGETS = 200
STATIONS = tuple(Place(f"{latitude:.0f}", latitude, 10.0) for latitude in (0.0, 78.2, 40.6, -53.0))


def test_a_month_stays_small(sun_synchronous: Orbit) -> None:
    random = np.random.default_rng(11)
    latitude = np.degrees(np.arcsin(random.uniform(-0.9, 0.9, TARGETS)))
    longitude = random.uniform(-180.0, 180.0, TARGETS)
    tracemalloc.start()
    try:
        track = ground_track(sun_synchronous, MONTH_S)
        dark = shadows(sun_synchronous, MONTH_S)
        power = generation_profile(sun_synchronous, MONTH_S, "body")
        seen = [p for s in STATIONS for p in passes(sun_synchronous, s, 10.0, MONTH_S)]
        found = accesses(
            sun_synchronous,
            [f"t{k}" for k in range(TARGETS)],
            latitude,
            longitude,
            max_off_nadir_deg=35.0,
            min_sun_elevation_deg=10.0,
            duration_s=MONTH_S,
        )
        peak_mb = tracemalloc.get_traced_memory()[1] / 1e6
    finally:
        tracemalloc.stop()
    assert peak_mb < MEMORY_LIMIT_MB
    assert len(track.t_s) == MONTH_S / 30.0 + 1
    # One eclipse of three parts per orbit, 15 orbits a day.
    assert 3 * 15 * 30 <= len(dark) <= 3 * 16 * 30
    assert power.t_s[-1] == MONTH_S
    assert {p.station for p in seen} == {s.name for s in STATIONS}
    assert len(found) > 5 * TARGETS
