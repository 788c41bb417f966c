"""Runs and variants beside each other: bars of one metric, differences with intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import plotly.graph_objects as go

from dashboard.charts.layout import new_figure
from dashboard.colours import CLOUDY, DELIVERED, NEUTRAL
from dashboard.metric_text import is_share, number, title, unit, with_interval


def metric_bars(metric: str, values: Mapping[str, float | None]) -> go.Figure:
    """One bar per run."""
    figure = new_figure(_axis(metric), "", height=90 + 34 * len(values), legend=False)
    names = list(values)[::-1]
    figure.add_bar(
        x=[values[name] for name in names],
        y=names,
        orientation="h",
        marker_color=DELIVERED,
        text=[number(metric, values[name]) for name in names],
        textposition="auto",
        hovertemplate="%{y}: %{text}<extra></extra>",
    )
    _percent(figure, metric)
    return figure


@dataclass(frozen=True)
class Interval:
    """A labelled mean over `seeds` values with its 95 % interval; one value has none."""

    label: str
    mean: float
    low: float | None
    high: float | None
    seeds: int

    @property
    def excludes_zero(self) -> bool:
        """Whether there is an interval, and it lies on one side of 0."""
        return self.low is not None and self.high is not None and (self.low > 0 or self.high < 0)


def intervals(metric: str, estimates: Sequence[Interval], *, differences: bool) -> go.Figure:
    """Means (or paired differences, with a line at zero) and their 95 % intervals."""
    axis = _axis(metric, difference=differences)
    factor = 100.0 if differences and is_share(metric) else 1.0  # shares differ by points
    figure = new_figure(axis, "", height=110 + 36 * len(estimates), legend=False)
    shown = list(estimates)[::-1]
    figure.add_scatter(
        x=[factor * e.mean for e in shown],
        y=[e.label for e in shown],
        mode="markers",
        marker={
            "size": 11,
            "color": [DELIVERED if not differences or e.excludes_zero else CLOUDY for e in shown],
        },
        error_x={
            "type": "data",
            "symmetric": False,
            "array": [None if e.high is None else factor * (e.high - e.mean) for e in shown],
            "arrayminus": [None if e.low is None else factor * (e.mean - e.low) for e in shown],
            "color": NEUTRAL,
            "thickness": 2,
        },
        hovertext=[
            with_interval(metric, e.mean, e.low, e.high, difference=differences) for e in shown
        ],
        hovertemplate="%{y}<br>%{hovertext}<extra></extra>",
    )
    if differences:
        figure.add_vline(x=0, line={"color": NEUTRAL, "dash": "dot"})
    else:
        _percent(figure, metric)
    return figure


def _axis(metric: str, *, difference: bool = False) -> str:
    name = f"difference in {title(metric).lower()}" if difference else title(metric)
    measured_in = unit(metric)
    if is_share(metric):
        measured_in = "percentage points" if difference else ""
    return f"{name}, {measured_in}" if measured_in else name


def _percent(figure: go.Figure, metric: str) -> None:
    if is_share(metric):
        figure.update_xaxes(tickformat=".0%")
