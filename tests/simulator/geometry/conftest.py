"""Two orbits that most tests of the geometry fly."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from simulator.geometry import Orbit

# Tests are imported without their folder on the path; the reference they share lies in it.
sys.path.append(str(Path(__file__).parent))

EPOCH = datetime(2024, 6, 1, tzinfo=UTC)


@pytest.fixture(scope="session")
def sun_synchronous() -> Orbit:
    """510 km, node at 10:30."""
    return Orbit.from_sun_synchronous(EPOCH, altitude_km=510.0, ltan_h=10.5)


@pytest.fixture(scope="session")
def inclined() -> Orbit:
    """About 420 km at 51.6 deg, a little eccentric."""
    return Orbit.from_keplerian(
        EPOCH,
        semi_major_axis_km=6798.0,
        eccentricity=0.0007,
        inclination_deg=51.64,
        raan_deg=208.9,
        arg_perigee_deg=70.0,
        mean_anomaly_deg=25.3,
    )
