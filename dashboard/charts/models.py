"""Cloud models against each other: what they find, and what that costs."""

from __future__ import annotations

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


def pareto(table: pd.DataFrame, cost: str) -> go.Figure:
    """Jaccard index, with its interval, against a cost; the Pareto front is joined.

    Parameters
    ----------
    table : DataFrame
        model, value, low, high (NaN without an interval) and the column `cost`.
    cost : str
        A key of `COSTS`.
    """
    figure = new_figure(COSTS[cost], "Jaccard index", height=440)
    # A cost of nothing has no place on a logarithmic axis: it stands a decade left of the least.
    positive = table.loc[table[cost] > 0, cost]
    spread = len(positive) > 0 and positive.max() > 20 * positive.min()
    table = table.assign(at=table[cost].clip(lower=positive.min() / 10) if spread else table[cost])
    front = _front(table, cost)
    # Names stand beside their marks, clear of the intervals; the last one to the left.
    beside = [f"   {name}" for name in front["model"]]
    where = ["middle right"] * len(front)
    if len(front) > 1:
        beside[-1], where[-1] = f"{front['model'].iloc[-1]}   ", "middle left"
    figure.add_scatter(
        x=front["at"],
        y=front["value"],
        mode="lines+text",
        text=beside,
        textposition=where,
        line={"color": CLEAR, "dash": "dot", "shape": "hv"},
        hoverinfo="skip",
        cliponaxis=False,
        showlegend=False,
    )
    families = list(dict.fromkeys(_family(model) for model in sorted(table["model"])))
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
    if spread:
        figure.update_xaxes(type="log", dtick=1)
    return figure


INT8 = "-int8"
_SYMBOLS = ("circle", "square", "diamond", "triangle-up")


def _family(model: str) -> str:
    """A model and its 8-bit copy have one colour."""
    return model.removesuffix(INT8)


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


def by_surface(table: pd.DataFrame) -> go.Figure:
    """False discards by surface, one group of bars per model.

    Parameters
    ----------
    table : DataFrame
        model, surface, fraction.
    """
    figure = new_figure("surface", "falsely discarded", height=340)
    for index, (model, rows) in enumerate(table.groupby("model", sort=True)):
        figure.add_bar(
            x=rows["surface"],
            y=rows["fraction"],
            name=str(model),
            marker_color=series_colour(index),
            text=[f"{100 * fraction:.2g} %" for fraction in rows["fraction"]],
            textposition="outside",
            hovertemplate="%{x}: %{y:.2%}<extra>" + str(model) + "</extra>",
        )
    most = float(table["fraction"].max()) if len(table) else 0.0
    figure.update_yaxes(tickformat=".1%", range=[0, max(0.01, 1.15 * most)])
    return figure
