"""Plain layout that all figures share: transparent paper, thin grids, units on axes."""

from __future__ import annotations

from typing import Any

import plotly.graph_objects as go

from dashboard.colours import FAINT


def amount(value: float) -> str:
    """A number of four digits, a larger one whole: ``12,346``, and never ``1.235e+04``."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def new_figure(
    x: str, y: str, *, height: int = 320, legend: bool = True, **layout: Any
) -> go.Figure:
    """An empty figure with axis titles `x` and `y`, each with its unit."""
    figure = go.Figure()
    figure.update_layout(
        height=height,
        margin={"l": 8, "r": 8, "t": 28, "b": 8},
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        showlegend=legend,
        legend={"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0, "xanchor": "left"},
        hoverlabel={"namelength": -1},
        **layout,
    )
    figure.update_xaxes(title={"text": x}, automargin=True, gridcolor=FAINT, zeroline=False)
    figure.update_yaxes(title={"text": y}, automargin=True, gridcolor=FAINT, zeroline=False)
    return figure
