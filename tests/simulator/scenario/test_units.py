"""What a number written with a unit, or as text, is taken to mean."""

from __future__ import annotations

import math

import pytest

from simulator.scenario.units import number_in_text


@pytest.mark.parametrize(
    ("field", "text", "most", "meant"),
    [
        ("battery_wh", "40 Wh", 1e6, "40"),
        ("duration_h", "90 min", 8784, "1.5"),
        ("duration_h", "3d", 8784, "72"),
        ("altitude_km", "600000 m", 2000, "600"),
        ("panel_efficiency", "29%", 1, "0.29"),
        ("max_cloud_fraction", "70 %", 1, "0.7"),
        ("overlap_px", "29%", math.inf, "29"),
        ("memory_limit_mib", "1e9", math.inf, "1000000000"),
        ("rate_mbps", "2 furlongs", 1e3, "2"),
        ("epoch", "01/03/2025", math.inf, None),
        ("epoch", "2025-03-01 noon", math.inf, None),
        ("battery_wh", "1e999", math.inf, None),
        ("battery_wh", "plenty", math.inf, None),
    ],
)
def test_a_number_in_a_text_is_read_in_the_unit_of_its_field(
    field: str, text: str, most: float, meant: str | None
) -> None:
    assert number_in_text(field, text, most) == meant
