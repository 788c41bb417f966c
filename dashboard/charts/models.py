"""Cloud models against each other: what they find, and what that costs."""

from __future__ import annotations

import pandas as pd
import plotly.graph_objects as go

from dashboard.charts.layout import new_figure
from dashboard.colours import CLEAR, NEUTRAL, series_colour

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
    figure = new_figure(COSTS[cost], "Jaccard index", height=420, legend=False)
    front = _front(table, cost)
    figure.add_scatter(
        x=front[cost],
        y=front["value"],
        mode="lines",
        line={"color": CLEAR, "dash": "dot", "shape": "hv"},
        hoverinfo="skip",
    )
    for index, (model, rows) in enumerate(table.groupby("model", sort=True)):
        figure.add_scatter(
            x=rows[cost],
            y=rows["value"],
            mode="markers+text",
            text=rows["model"],
            textposition=("top center", "bottom center")[index % 2],
            marker={"size": 13, "color": series_colour(index)},
            error_y={
                "type": "data",
                "symmetric": False,
                "array": (rows["high"] - rows["value"]).fillna(0),
                "arrayminus": (rows["value"] - rows["low"]).fillna(0),
                "color": NEUTRAL,
            },
            customdata=rows[["low", "high"]],
            hovertemplate=f"{model}<br>Jaccard %{{y:.3f}} [%{{customdata[0]:.3f}}, "
            f"%{{customdata[1]:.3f}}]<br>%{{x:.4g}}<extra></extra>",
        )
    if len(table) and table[cost].min() > 0 and table[cost].max() > 20 * table[cost].min():
        figure.update_xaxes(type="log")
    return figure


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
