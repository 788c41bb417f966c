"""Numbers as people read them."""

from __future__ import annotations

import pytest

from dashboard.charts.comparison import Interval, intervals
from dashboard.colours import CLOUDY, DELIVERED
from dashboard.metric_text import number, with_interval

SHARE, AREA = "targets_satisfied_fraction", "clear_km2_delivered"


@pytest.mark.parametrize(
    ("metric", "values", "difference", "text"),
    [
        (SHARE, (0.4, 0.39, 0.411), False, "40.0 [39.0, 41.1] %"),
        (SHARE, (0.081, 0.074, 0.088), True, "+8.1 [7.4, 8.8] pp"),
        (SHARE, (-0.02, -0.03, 0.01), True, "-2.0 [-3.0, 1.0] pp"),
        (AREA, (407.0, 396.0, 417.0), True, "+407 [396, 417] km²"),
        (AREA, (5193.0, 5193.0, 5193.0), False, "5,193 km²"),
        (AREA, (24.0, 23.999, 24.001), False, "24 km²"),
        (AREA, (999.7, 999.4, 1003.2), False, "1,000 [999, 1,003] km²"),
    ],
)
def test_shares_differ_by_points_and_units_stand_once(
    metric: str, values: tuple[float, float, float], difference: bool, text: str
) -> None:
    assert with_interval(metric, *values, difference=difference) == text


def test_differences_of_shares_are_drawn_in_points() -> None:
    figure = intervals(SHARE, [Interval("prune", 0.081, 0.074, 0.088, 20)], differences=True)
    assert figure.layout.xaxis.title.text.endswith("percentage points")
    assert figure.layout.xaxis.tickformat is None
    assert list(figure.data[0].x) == [pytest.approx(8.1)]
    assert list(figure.data[0].error_x.array) == [pytest.approx(0.7)]


def test_one_seed_gives_neither_interval_nor_colour() -> None:
    shown = [Interval("once", 0.3, None, None, 1), Interval("often", 0.3, 0.2, 0.4, 20)]
    (drawn,) = intervals(AREA, shown, differences=True).data
    assert list(drawn.y) == ["often", "once"]
    assert list(drawn.error_x.array) == [pytest.approx(0.1), None]
    assert list(drawn.marker.color) == [DELIVERED, CLOUDY]
    assert with_interval(AREA, 0.3, None, None) == "0.3 km²"


@pytest.mark.parametrize("value", [None, "many", float("nan"), float("inf"), True])
def test_what_is_no_number_is_a_dash(value: object) -> None:
    assert number(AREA, value) == "-"
