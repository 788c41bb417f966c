"""The glance ahead: on the line, before the overflight, and as early as the geometry says."""

from __future__ import annotations

import math
from datetime import UTC, datetime

import numpy as np
import pytest

from simulator.geometry import Orbit, accesses, glances

EARTH_KM = 6378.137
ALTITUDE_KM = 510.0
PITCH_DEG = 45.0
ON_LINE_DEG = 1e-3
GROUND_KM_S = 7.06  # speed of the point below, 2 pi x 6371 km in 94.6 min


@pytest.fixture(scope="module")
def orbit() -> Orbit:
    epoch = datetime(2024, 6, 1, tzinfo=UTC)
    return Orbit.from_sun_synchronous(epoch, altitude_km=ALTITUDE_KM, ltan_h=10.5)


@pytest.fixture(scope="module")
def places() -> dict[str, tuple[float, float]]:
    rng = np.random.default_rng(5)
    drawn = zip(rng.uniform(-60, 70, 60), rng.uniform(-180, 180, 60), strict=True)
    return {f"t{n}": (float(lat), float(lon)) for n, (lat, lon) in enumerate(drawn)}


@pytest.fixture(scope="module")
def found(orbit, places):
    latitude, longitude = zip(*places.values(), strict=True)
    return accesses(
        orbit, list(places), latitude, longitude,
        max_off_nadir_deg=35, min_sun_elevation_deg=10, duration_s=2 * 86_400.0,
    )  # fmt: skip


def look(orbit, access, places, **changes):
    asked = {"pitch_deg": PITCH_DEG, "half_swath_deg": 60.0} | changes
    return glances(orbit, [access], places, **asked)


def test_every_overflight_is_glanced_at_once_on_the_line_ahead(orbit, found, places):
    seen = glances(orbit, found, places, pitch_deg=PITCH_DEG, half_swath_deg=60.0)
    started = [a for a in found if a.closest_s > 200.0]
    assert len(seen) == len(started) > 30
    assert len({(g.access.target, g.access.start_s) for g in seen}) == len(seen)
    for glance in seen:
        assert glance.pitch_deg == pytest.approx(PITCH_DEG, abs=ON_LINE_DEG)
        assert glance.t_s < glance.access.start_s
    assert [g.t_s for g in seen] == sorted(g.t_s for g in seen)


def test_the_lead_is_the_arc_between_the_line_and_the_point_below(orbit, found, places):
    """On a sphere a line of sight 45 deg off nadir meets the ground 4.8 deg of arc ahead."""
    beyond = (EARTH_KM + ALTITUDE_KM) / EARTH_KM * math.sin(math.radians(PITCH_DEG))
    arc = math.asin(beyond) - math.radians(PITCH_DEG)
    below = min(found, key=lambda access: access.min_off_nadir_deg)
    assert below.min_off_nadir_deg < 5.0
    (glance,) = look(orbit, below, places)
    assert glance.lead_s == pytest.approx(arc * EARTH_KM / GROUND_KM_S, rel=0.03)
    assert 60.0 < glance.lead_s < 90.0  # CogniSAT-6: look, decide, image in 60 to 90 s


@pytest.mark.parametrize(("pitch_deg", "other_deg"), [(40.0, 50.0), (20.0, 45.0)])
def test_looking_farther_ahead_gains_time(orbit, found, places, pitch_deg, other_deg):
    near, far = (look(orbit, found[3], places, pitch_deg=angle) for angle in (pitch_deg, other_deg))
    assert near[0].lead_s < far[0].lead_s


def test_outside_the_swath_nothing_is_seen(orbit, found, places):
    wide = glances(orbit, found, places, pitch_deg=PITCH_DEG, half_swath_deg=60.0)
    narrow = glances(orbit, found, places, pitch_deg=PITCH_DEG, half_swath_deg=10.0)
    assert 0 < len(narrow) < len(wide)
    assert all(abs(glance.roll_deg) <= 10.0 for glance in narrow)


def test_beyond_the_horizon_there_is_no_line(orbit, found, places):
    """From 510 km the horizon lies 67.8 deg off nadir."""
    assert glances(orbit, found, places, pitch_deg=69.0, half_swath_deg=60.0) == []


def test_without_accesses_there_are_no_glances(orbit):
    assert glances(orbit, [], {}, pitch_deg=PITCH_DEG, half_swath_deg=60.0) == []
