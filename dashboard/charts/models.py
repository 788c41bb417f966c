"""Cloud models against each other: what they find, and what that costs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
import plotly.graph_objects as go

from dashboard.charts.layout import new_figure
from dashboard.colours import CLEAR, NEUTRAL, SERIES, series_colour

COSTS = {
    "parameters": "parameters",
    "bytes": "size of the ONNX file, bytes",
    "latency_s": "latency of one 512 px tile, s",
    "energy_wh": "energy of one 512 px tile, Wh",
}


def pareto(table: pd.DataFrame, cost: str, known: Sequence[str] = ()) -> go.Figure:
    """Jaccard index, with its interval, against a cost; the Pareto front is joined.

    Parameters
    ----------
    table : DataFrame
        model, value, low, high (NaN without an interval) and the column `cost`.
    cost : str
        A key of `COSTS`.
    known : sequence of str
        Models of the page: one has the same colour in every chart.
    """
    figure = new_figure(COSTS[cost], "Jaccard index", height=440)
    axis = _cost_axis(table[cost])
    table = table.assign(at=table[cost].clip(lower=axis.zero_at) if axis.zero_at else table[cost])
    front = _front(table, cost)
    figure.add_scatter(
        x=front["at"],
        y=front["value"],
        mode="lines",
        line={"color": CLEAR, "dash": "dot", "shape": "hv"},
        hoverinfo="skip",
        showlegend=False,
    )
    families = _families([*known, *table["model"]])
    for model, rows in table.groupby("model", sort=True):
        index = families.index(_family(str(model)))
        colour = series_colour(index)
        figure.add_scatter(
            x=rows["at"],
            y=rows["value"],
            mode="markers",
            name=str(model),
            marker={
                "size": 13,
                "color": colour,
                "symbol": _symbol(str(model), index),
                "line": {"width": 2, "color": colour},
            },
            error_y={
                "type": "data",
                "symmetric": False,
                "array": (rows["high"] - rows["value"]).fillna(0),
                "arrayminus": (rows["value"] - rows["low"]).fillna(0),
                "color": NEUTRAL,
            },
            hovertext=[_hover(row, cost) for row in rows.to_dict("records")],
            hovertemplate="%{hovertext}<extra></extra>",
        )
    figure.update_xaxes(**axis.layout)
    return figure


@dataclass(frozen=True)
class _CostAxis:
    """How costs are laid out.

    Attributes
    ----------
    zero_at : float or None
        Where a cost of nothing stands on a logarithmic axis, a decade left of the least.
    layout : dict
        Of Plotly's x axis.
    """

    zero_at: float | None
    layout: dict[str, Any]


def _cost_axis(costs: pd.Series) -> _CostAxis:
    """Logarithmic where costs spread widely; nothing costs 0, which then has a tick of its own."""
    positive = costs[costs > 0]
    if not len(positive) or positive.max() <= 20 * positive.min():
        return _CostAxis(None, {"rangemode": "tozero"})
    first, last = math.floor(math.log10(positive.min())), math.ceil(math.log10(positive.max()))
    decades = list(range(first, last + 1))
    ticks = {10.0**decade: _tick(decade) for decade in decades}
    zero_at = None
    if (costs <= 0).any():
        zero_at = float(10.0 ** (first - 1))
        ticks = {zero_at: "0"} | ticks
    low = math.log10(zero_at) if zero_at else math.log10(positive.min())
    return _CostAxis(
        zero_at,
        {
            "type": "log",
            "tickvals": list(ticks),
            "ticktext": list(ticks.values()),
            "range": [low - 0.6, math.log10(positive.max()) + 0.8],
        },
    )


def _tick(decade: int) -> str:
    """A power of ten as it is written on an axis: ``0.01``, ``1``, ``10k``, ``1M``."""
    if decade < 0:
        return f"{10.0**decade:.{-decade}f}" if decade > -4 else f"1e{decade}"
    for step, sign in ((9, "G"), (6, "M"), (3, "k")):
        if decade >= step:
            return f"{10 ** (decade - step)}{sign}"
    return str(10**decade)


INT8 = "-int8"
_SYMBOLS = ("circle", "square", "diamond", "triangle-up")


def _family(model: str) -> str:
    """A model and its 8-bit copy have one colour."""
    return model.removesuffix(INT8)


def _families(models: Sequence[str]) -> list[str]:
    """Families in the order of their colours."""
    return sorted({_family(str(model)) for model in models})


def _symbol(model: str, family: int) -> str:
    """Open for an 8-bit copy; another shape when the colours come round again."""
    shape = _SYMBOLS[family // len(SERIES) % len(_SYMBOLS)]
    return f"{shape}-open" if model.endswith(INT8) else shape


def _hover(row: dict[str, Any], cost: str) -> str:
    interval = "" if pd.isna(row["low"]) else f" [{row['low']:.3f}, {row['high']:.3f}]"
    return (
        f"{row['model']}<br>Jaccard {row['value']:.3f}{interval}<br>{COSTS[cost]}: {row[cost]:.4g}"
    )


def _front(table: pd.DataFrame, cost: str) -> pd.DataFrame:
    ordered = table.sort_values([cost, "value"], ascending=[True, False])
    return ordered[ordered["value"] > ordered["value"].cummax().shift(fill_value=-1.0)]


def by_surface(table: pd.DataFrame, known: Sequence[str] = ()) -> go.Figure:
    """False discards by surface, one group of bars per model; hatched for an 8-bit copy.

    Parameters
    ----------
    table : DataFrame
        model, surface, fraction.
    known : sequence of str
        Models of the page: one has the same colour in every chart.
    """
    figure = new_figure("surface", "falsely discarded", height=340)
    families = _families([*known, *table["model"]])
    for model, rows in table.groupby("model", sort=True):
        figure.add_bar(
            x=rows["surface"],
            y=rows["fraction"],
            name=str(model),
            marker_color=series_colour(families.index(_family(str(model)))),
            marker_pattern_shape="/" if str(model).endswith(INT8) else "",
            text=[_percent(fraction) for fraction in rows["fraction"]],
            textposition="outside",
            hovertemplate="%{x}: %{y:.2%}<extra>" + str(model) + "</extra>",
        )
    most = float(table["fraction"].max()) if len(table) else 0.0
    figure.update_yaxes(tickformat=".1~%", range=[0, max(0.01, 1.15 * most)])
    return figure


def _percent(fraction: float) -> str:
    """Two digits, but all of a hundred: ``0.21 %``, ``100 %``."""
    percent = 100 * fraction
    return f"{percent:.0f} %" if percent >= 10 else f"{percent:.2g} %"
