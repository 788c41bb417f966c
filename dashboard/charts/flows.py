"""Where bytes and pixels went, and how the clear ground grew: the figures of the downlink page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pandas as pd
import plotly.graph_objects as go

from dashboard.charts.layout import amount, new_figure
from dashboard.colours import (
    CLEAR,
    CLOUDY,
    DELIVERED,
    DROPPED,
    NEUTRAL,
    STORED,
    WAITING,
    series_colour,
    translucent,
)


@dataclass(frozen=True)
class Stream:
    """One band of a Sankey: from, to, how much, in which colour."""

    source: str
    target: str
    amount: float
    colour: str


NODE_COLOURS = {
    "captured": NEUTRAL,
    "clear": CLEAR,
    "cloud": CLOUDY,
    "delivered": DELIVERED,
    "in the queue": STORED,
    "on board": STORED,
    "saved by compression": CLEAR,
    "dropped by policy": DROPPED,
    "released by the ground": DROPPED,
    "lost to full storage": DROPPED,
    "lost to faults": DROPPED,
}

BYTE_OUTCOMES = {
    "sent": "delivered",
    "compressed": "saved by compression",
    "dropped_policy": "dropped by policy",
    "dropped_released": "released by the ground",
    "dropped_overflow": "lost to full storage",
    "dropped_fault": "lost to faults",
}
"""What the storage ledger calls it, and what people do; others are spelt out."""

BYTE_SOURCES = {"captured": "captured", "derived": "previews made"}


def sankey(
    streams: Sequence[Stream], unit: str, *, ink: str = "#808896", height: int = 340
) -> go.Figure:
    """Bands from what was captured to what became of it; `ink` is the colour of the names."""
    present = [stream for stream in streams if stream.amount > 0]
    nodes = list(dict.fromkeys(name for s in present for name in (s.source, s.target)))
    through = {
        name: sum(s.amount for s in present if s.target == name)
        or sum(s.amount for s in present if s.source == name)
        for name in nodes
    }
    figure = go.Figure(
        go.Sankey(
            arrangement="snap",
            textfont={"size": 13, "color": ink},
            valueformat=",.1f",
            valuesuffix=f" {unit}",
            node={
                "label": [f"{name}, {amount(through[name])} {unit}" for name in nodes],
                "color": [NODE_COLOURS.get(name, NEUTRAL) for name in nodes],
                "pad": 18,
                "thickness": 14,
                "line": {"width": 0},
            },
            link={
                "source": [nodes.index(s.source) for s in present],
                "target": [nodes.index(s.target) for s in present],
                "value": [s.amount for s in present],
                "color": [translucent(s.colour, 0.45) for s in present],
            },
        )
    )
    figure.update_layout(
        height=height,
        margin={"l": 8, "r": 8, "t": 12, "b": 12},
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
    )
    return figure


def byte_balance(moved: Mapping[str, float]) -> tuple[dict[str, float], dict[str, float]]:
    """Where bytes came from and what became of them, from the ledger's sums; MiB.

    Parameters
    ----------
    moved : mapping of str to float
        Sum of the ledger's changes by their kind, and ``queued``: what waits for a pass now.
    """
    sources = {name: moved.get(change, 0.0) for change, name in BYTE_SOURCES.items()}
    gone = {k: v for k, v in moved.items() if k not in BYTE_SOURCES and k != "queued"}
    stored = sum(sources.values()) - sum(gone.values())
    queued = moved.get("queued", 0.0)
    order = [*BYTE_OUTCOMES, *(kind for kind in gone if kind not in BYTE_OUTCOMES)]
    outcomes = {
        BYTE_OUTCOMES.get(kind, kind.replace("_", " ")): gone[kind]
        for kind in order
        if kind in gone
    }
    return sources, {**outcomes, "in the queue": queued, "on board": max(0.0, stored - queued)}


def byte_streams(sources: Mapping[str, float], outcomes: Mapping[str, float]) -> list[Stream]:
    """Bands from each source to each outcome, through the memory where there are two sources."""
    coming = {name: amount for name, amount in sources.items() if amount > 0}
    middle = "memory" if len(coming) > 1 else "captured"
    into = [Stream(name, middle, mib, CLOUDY) for name, mib in coming.items() if name != middle]
    out_of = [
        Stream(middle, name, mib, NODE_COLOURS.get(name, CLOUDY)) for name, mib in outcomes.items()
    ]
    return [*into, *out_of]


def pixel_streams(clear: Mapping[str, float], cloud: Mapping[str, float]) -> list[Stream]:
    """Clear and cloud pixels captured, and what became of each kind; million pixels."""
    streams = []
    for kind, amounts, colour in (("clear", clear, CLEAR), ("cloud", cloud, CLOUDY)):
        streams.append(Stream("captured", kind, sum(amounts.values()), colour))
        streams += [Stream(kind, outcome, amount, colour) for outcome, amount in amounts.items()]
    return streams


@dataclass(frozen=True)
class Growth:
    """A cumulative curve: hours, km2, and how it is drawn."""

    label: str
    time_h: Sequence[float]
    km2: Sequence[float]
    role: str


_ROLES = {
    "this": {"color": DELIVERED, "width": 3},
    "bent_pipe": {"color": CLOUDY, "width": 2, "dash": "dash"},
    "oracle": {"color": CLEAR, "width": 2, "dash": "dot"},
}


def growth(curves: Sequence[Growth], end_h: float) -> go.Figure:
    """Clear ground delivered over time, this run against its references."""
    figure = new_figure("mission time, h", "clear ground delivered, km²", height=340)
    for curve in curves:
        last = curve.km2[-1] if len(curve.km2) else 0.0
        figure.add_scatter(
            x=[0.0, *curve.time_h, end_h],
            y=[0.0, *curve.km2, last],
            mode="lines",
            name=curve.label,
            line={**_ROLES[curve.role], "shape": "hv"},
            hovertemplate="%{x:.1f} h: %{y:,.0f} km²<extra>" + curve.label + "</extra>",
        )
    figure.update_xaxes(range=[0, end_h])
    figure.update_yaxes(rangemode="tozero")
    return figure


def survival(curves: Mapping[str, pd.DataFrame], end_h: float) -> go.Figure:
    """Share of targets still waiting for a clear image (Kaplan-Meier), one curve per run."""
    figure = new_figure("mission time, h", "targets still waiting", height=340)
    for index, (label, curve) in enumerate(curves.items()):
        figure.add_scatter(
            x=[0.0, *curve["time_h"], end_h],
            y=[1.0, *curve["waiting"], curve["waiting"].iloc[-1] if len(curve) else 1.0],
            mode="lines",
            name=label,
            line={
                "shape": "hv",
                "color": _survival_colour(label, index),
                "width": 3 if index == 0 else 2,
                "dash": ("solid", "dash", "dot")[index % 3],
            },
            hovertemplate="%{x:.1f} h: %{y:.0%} wait<extra>" + label + "</extra>",
        )
    figure.add_hline(y=0.5, line={"color": NEUTRAL, "dash": "dot", "width": 1})
    figure.update_yaxes(range=[0, 1.02], tickformat=".0%")
    figure.update_xaxes(range=[0, end_h])
    return figure


def _survival_colour(label: str, index: int) -> str:
    named = {"bent_pipe": CLOUDY, "oracle": CLEAR}
    return DELIVERED if index == 0 else named.get(label, series_colour(index))


def waits(table: pd.DataFrame) -> go.Figure:
    """Histogram of capture-to-ground delays.

    Parameters
    ----------
    table : DataFrame
        from_h, width_h, products (counted by the database).
    """
    figure = new_figure("capture to ground, h", "products", height=300, legend=False)
    figure.add_bar(
        x=table["from_h"] + table["width_h"] / 2,
        y=table["products"],
        width=table["width_h"],
        marker_color=DELIVERED,
        hovertemplate="about %{x:.1f} h: %{y:,} products<extra></extra>",
    )
    figure.update_layout(bargap=0.05)
    return figure


def story(attempts: pd.DataFrame) -> go.Figure:
    """Every attempt at the targets shown: one row per target, one mark per capture.

    Parameters
    ----------
    attempts : DataFrame
        target, time_h, cover (true, 0..1), outcome, delivered_h (or NaN).
    """
    targets = list(dict.fromkeys(attempts["target"]))
    figure = new_figure("mission time, h", "", height=110 + 24 * len(targets))
    for outcome, (colour, symbol) in _OUTCOMES.items():
        some = attempts[attempts["outcome"] == outcome]
        if some.empty:
            continue
        figure.add_scatter(
            x=some["time_h"],
            y=some["target"],
            mode="markers",
            name=outcome,
            marker={"color": colour, "symbol": symbol, "size": 11},
            customdata=some[["cover", "attempt"]],
            hovertemplate="%{y}, attempt %{customdata[1]}: %{x:.1f} h, true cover "
            "%{customdata[0]:.0%}<extra>" + outcome + "</extra>",
        )
    sent = attempts.dropna(subset=["delivered_h"])
    figure.add_scatter(
        x=sent["delivered_h"],
        y=sent["target"],
        mode="markers",
        name="on the ground",
        marker={"color": DELIVERED, "symbol": "triangle-down", "size": 11},
        hovertemplate="%{y} on the ground: %{x:.1f} h<extra></extra>",
    )
    figure.update_yaxes(categoryorder="array", categoryarray=targets[::-1])
    return figure


_OUTCOMES = {
    "came clear": (CLEAR, "circle"),
    "cloudy, kept whole": (CLOUDY, "circle"),
    "cloudy, kept in part": (CLOUDY, "circle-open"),
    "dropped": (DROPPED, "x"),
    "lost to full storage": (DROPPED, "x-open"),
    "not decided yet": (WAITING, "circle-open"),
}
