"""The Pareto figure: nothing costs 0 on a logarithmic axis without saying so, every mark a name."""

from __future__ import annotations

import pandas as pd
import pytest

from dashboard.charts.models import by_surface, pareto


def models(**costs: float) -> pd.DataFrame:
    rows = [
        {"model": name.replace("_", "-"), "value": 0.5 + 0.1 * index, "parameters": cost}
        for index, (name, cost) in enumerate(costs.items())
    ]
    return pd.DataFrame(rows).assign(low=float("nan"), high=float("nan"))


def test_a_cost_of_nothing_has_a_tick_that_says_so() -> None:
    axis = pareto(models(free=0, small=8_000, large=30_000_000), "parameters").layout.xaxis
    ticks = dict(zip(axis.ticktext, axis.tickvals, strict=True))
    assert axis.type == "log"
    assert ticks["1k"] == 1e3
    assert ticks["10M"] == 1e7
    figure = pareto(models(free=0, small=8_000, large=30_000_000), "parameters")
    (free,) = (trace for trace in figure.data if trace.name == "free")
    assert list(free.x) == [ticks["0"]]
    assert ticks["0"] < 1e3


@pytest.mark.parametrize("costs", [{"a": 5, "b": 9}, {"a": 0, "b": 0}])
def test_costs_of_one_size_stand_on_a_plain_axis(costs: dict[str, float]) -> None:
    figure = pareto(models(**costs), "parameters")
    assert figure.layout.xaxis.type != "log"
    assert {x for trace in figure.data if trace.name for x in trace.x} == set(costs.values())


def test_a_model_has_one_colour_in_every_chart_and_its_copy_has_it_too() -> None:
    known = ["slow", "unet", "unet-int8"]
    costs = models(**{"unet": 8_000, "unet-int8": 8_000})
    marks = {t.name: t.marker.color for t in pareto(costs, "parameters", known).data if t.name}
    surfaces = pd.DataFrame({"surface": "water", "fraction": 0.1, "model": ["unet", "unet-int8"]})
    bars = {bar.name: bar.marker for bar in by_surface(surfaces, known).data}
    assert len(set(marks.values()) | {bar.color for bar in bars.values()}) == 1
    assert bars["unet"].pattern.shape != bars["unet-int8"].pattern.shape


def test_a_surface_lost_whole_is_a_hundred_percent() -> None:
    table = pd.DataFrame({"surface": ["snow_ice", "water"], "fraction": [0.997, 0.0021]})
    (bars,) = by_surface(table.assign(model="blind")).data
    assert list(bars.text) == ["100 %", "0.21 %"]
