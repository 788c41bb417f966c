"""Budgets: energy, storage, payload computer and link over mission time, against their caps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd
import plotly.graph_objects as go

from dashboard.charts.layout import amount, new_figure
from dashboard.colours import (
    CLEAR,
    DELIVERED,
    DROPPED,
    FAINT,
    LOADS,
    NEUTRAL,
    NIGHT,
    REACQUIRED,
    ranked_colour,
    series_colour,
    translucent,
)

Span = tuple[float, float]
"""The part of the mission that a figure shows, h, whatever of it there is to draw."""


def _over_time(span_h: Span, y: str, **layout: Any) -> go.Figure:
    figure = new_figure("mission time, h", y, **layout)
    figure.update_xaxes(range=list(span_h))
    return figure


def battery(
    charge: pd.DataFrame,
    eclipses: pd.DataFrame,
    low_fraction: float,
    recover_fraction: float,
    span_h: Span,
) -> go.Figure:
    """Charge over time, with eclipses shaded.

    Parameters
    ----------
    charge : DataFrame
        time_h, charge_fraction.
    eclipses : DataFrame
        start_h, end_h of umbra.
    """
    figure = _over_time(span_h, "battery charge", height=340)
    _bands(figure, eclipses)
    figure.add_scatter(
        x=charge["time_h"],
        y=charge["charge_fraction"],
        mode="lines",
        name="charge",
        line={"color": DELIVERED, "width": 2},
        hovertemplate="%{x:.2f} h: %{y:.1%}<extra></extra>",
    )
    for level, label, dash in (
        (low_fraction, "payload and imager shed below", "dash"),
        (recover_fraction, "back above", "dot"),
    ):
        figure.add_hline(
            y=level,
            line={"color": DROPPED, "dash": dash, "width": 1},
            annotation={"text": f"{label} {level:.0%}", "font": {"size": 11}},
            annotation_position="bottom right" if dash == "dash" else "top right",
        )
    figure.update_yaxes(range=[0, 1.03], tickformat=".0%")
    return figure


def _bands(figure: go.Figure, eclipses: pd.DataFrame) -> None:
    """Shade eclipses by one filled trace: hundreds of shapes would be slow."""
    times_h: list[float | None] = []
    heights: list[float | None] = []
    for row in eclipses.itertuples():
        times_h += [row.start_h, row.start_h, row.end_h, row.end_h, None]
        heights += [0, 1.03, 1.03, 0, None]
    figure.add_scatter(
        x=times_h,
        y=heights,
        mode="lines",
        line={"width": 0},
        fill="toself",
        fillcolor=NIGHT,
        name="eclipse",
        hoverinfo="skip",
    )


def loads(table: pd.DataFrame, consumers: Sequence[str], span_h: Span) -> go.Figure:
    """Stacked loads and the generation above them; a consumer that draws nothing is left out.

    Parameters
    ----------
    table : DataFrame
        time_h, generation_w and one column ``<consumer>_w`` for each of `consumers`.
    consumers : sequence of str
        From any order: those of `LOADS` are stacked first, in its order.
    """
    figure = _over_time(span_h, "power, W", height=340)
    known = [name for name in LOADS if name in consumers]
    others = [name for name in consumers if name not in LOADS and table[f"{name}_w"].any()]
    for index, name in enumerate([*known, *others]):
        colour = LOADS.get(name) or series_colour(index)
        figure.add_scatter(
            x=table["time_h"],
            y=table[f"{name}_w"],
            mode="lines",
            name=name.replace("_", " "),
            stackgroup="loads",
            line={"width": 0, "shape": "hv"},
            fillcolor=translucent(colour, 0.75),
            hovertemplate="%{y:.2f} W<extra>" + name + "</extra>",
        )
    figure.add_scatter(
        x=table["time_h"],
        y=table["generation_w"],
        mode="lines",
        name="generation",
        line={"color": CLEAR, "width": 1.5, "shape": "hv"},
        hovertemplate="%{y:.2f} W<extra>generation</extra>",
    )
    figure.update_layout(hovermode="x unified")
    return figure


def depth(table: pd.DataFrame, low_fraction: float, span_h: Span) -> go.Figure:
    """Deepest discharge of each stretch from one eclipse to the next, as wide as it is long.

    Parameters
    ----------
    table : DataFrame
        time_h, until_h, depth.
    """
    figure = _over_time(span_h, "depth of discharge", height=340, legend=False)
    figure.add_bar(
        x=table["time_h"],
        y=table["depth"],
        offset=0,
        width=table["until_h"] - table["time_h"],
        marker={"color": DELIVERED, "line": {"color": "white", "width": 1}},
        hovertemplate="%{x:.1f} h: %{y:.1%}<extra></extra>",
    )
    figure.add_hline(y=1 - low_fraction, line={"color": DROPPED, "dash": "dash", "width": 1})
    figure.update_yaxes(tickformat=".0%", rangemode="tozero")
    return figure


def storage(table: pd.DataFrame, capacity_mib: float, span_h: Span) -> go.Figure:
    """Bytes on board, stacked by the priority of their targets.

    Parameters
    ----------
    table : DataFrame
        time_h, priority, mib.
    """
    figure = _over_time(span_h, "on board, MiB", height=340)
    priorities = sorted(table["priority"].unique())
    for priority, rows in table.groupby("priority", sort=True):
        figure.add_scatter(
            x=rows["time_h"],
            y=rows["mib"],
            mode="lines",
            stackgroup="stored",
            name=f"priority {priority:g}",
            line={"width": 0, "shape": "hv"},
            fillcolor=ranked_colour(priorities.index(priority), len(priorities)),
            hovertemplate="%{y:,.0f} MiB<extra>priority " + f"{priority:g}</extra>",
        )
    if len(table) and table.groupby("time_h")["mib"].sum().max() > 0.4 * capacity_mib:
        figure.add_hline(y=capacity_mib, line={"color": DROPPED, "dash": "dash", "width": 1})
    figure.update_layout(hovermode="x unified")
    return figure


def queue(table: pd.DataFrame, step_h: float, span_h: Span) -> go.Figure:
    """Frames that wait for the payload computer, or are on it: the most of each step."""
    figure = _over_time(span_h, "frames", height=280, legend=False)
    figure.add_bar(
        x=table["time_h"],
        y=table["frames"],
        width=step_h,
        marker={"color": REACQUIRED, "line": {"width": 0}},
        hovertemplate="%{x:.2f} h: %{y} frames<extra></extra>",
    )
    most = int(table["frames"].max()) if len(table) else 0
    figure.update_yaxes(rangemode="tozero", dtick=1 if most <= 8 else None)
    return figure


def latency(table: pd.DataFrame, deadline_s: float) -> go.Figure:
    """Histogram of the time from exposure queue to result, and the deadline.

    Parameters
    ----------
    table : DataFrame
        total_s, frames (a histogram counted by the database).
    """
    figure = new_figure("in the queue and computing, s", "frames", height=280, legend=False)
    figure.add_bar(x=table["total_s"], y=table["frames"], marker_color=REACQUIRED)
    figure.update_yaxes(rangemode="tozero")
    if table.empty:
        figure.update_xaxes(range=[0, deadline_s or 1])
        return figure
    largest = float(table["total_s"].max())
    if largest > 0.3 * deadline_s:
        figure.add_vline(x=deadline_s, line={"color": DROPPED, "dash": "dash"})
    return figure


def against_caps(used: dict[str, tuple[float, float, str]]) -> go.Figure:
    """Peaks as shares of their caps.

    Parameters
    ----------
    used : dict
        Name to (peak, cap, unit).
    """
    figure = new_figure("share of the cap", "", height=110 + 46 * len(used), legend=False)
    names = list(used)[::-1]
    shares = [used[name][0] / used[name][1] if used[name][1] else 0.0 for name in names]
    figure.add_bar(
        x=shares,
        y=names,
        orientation="h",
        marker_color=[DROPPED if share > 1 else REACQUIRED for share in shares],
        text=[
            f"{amount(used[name][0])} of {amount(used[name][1])} {used[name][2]}" for name in names
        ],
        textposition="auto",
        insidetextfont={"color": "#111"},
        hovertemplate="%{y}: %{text}<extra></extra>",
    )
    figure.add_vline(x=1, line={"color": DROPPED, "dash": "dash"})
    figure.update_xaxes(tickformat=".0%", range=[0, max(1.08, *shares, 0)])
    return figure


def passes(table: pd.DataFrame, span_h: Span) -> go.Figure:
    """What each pass could carry, and what it carried.

    Parameters
    ----------
    table : DataFrame
        aos_h, los_h, capacity_mib, mib, station, max_elevation_deg, outcome.
    """
    figure = _over_time(span_h, "MiB per pass", height=320)
    figure.add_bar(
        x=table["aos_h"],
        y=table["capacity_mib"],
        name="capacity",
        marker={"color": FAINT, "line": {"color": NEUTRAL, "width": 1}},
        hoverinfo="skip",
    )
    figure.add_bar(
        x=table["aos_h"],
        y=table["mib"],
        name="carried",
        marker_color=DELIVERED,
        customdata=table[["station", "max_elevation_deg", "outcome", "capacity_mib"]],
        hovertemplate="%{customdata[0]}, up to %{customdata[1]:.0f}°: %{y:.1f} of "
        "%{customdata[3]:.1f} MiB (%{customdata[2]})<extra></extra>",
    )
    figure.update_layout(barmode="overlay")
    # As wide as a pass, or as can still be seen.
    width_h = (table["los_h"] - table["aos_h"]).clip(lower=(span_h[1] - span_h[0]) / 200)
    figure.update_traces(offset=0, width=width_h)
    return figure
