"""What is drawn on the map stays on it."""

from __future__ import annotations

from datetime import UTC, datetime

import pandas as pd
import pytest

from dashboard.charts.flight_map import flight_map

TARGETS = ["name", "latitude_deg", "longitude_deg", "state", "captures", "note"]


@pytest.mark.parametrize(
    ("satellite", "longitude_deg", "anchor"),
    [("neph-1", 100.0, "left"), ("neph-1", 160.0, "right"), ("a" * 20, 60.0, "right"),
     ("a" * 20, -60.0, "left"), ("a" * 64, -10.0, "left"), ("a" * 64, 10.0, "right")],
)  # fmt: skip
def test_name_of_a_satellite_stands_where_there_is_room(
    satellite: str, longitude_deg: float, anchor: str
) -> None:
    """On the map of a telephone, where a degree is about a pixel."""
    at = {"satellite": satellite, "latitude_deg": 0.0, "longitude_deg": longitude_deg}
    positions = pd.DataFrame([{**at, "altitude_km": 500.0}])
    moment = datetime(2024, 6, 1, tzinfo=UTC)
    drawn = flight_map(moment, pd.DataFrame(columns=TARGETS), [], {satellite: positions}, positions)
    (name,) = drawn.layout.annotations
    assert name.text == satellite
    assert name.xanchor == anchor
