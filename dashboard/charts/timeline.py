"""The timeline: what happened when, one lane per kind of event; a mark leads to its record."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields

import pandas as pd
import plotly.graph_objects as go

from dashboard.charts.layout import new_figure
from dashboard.colours import (
    CLOUDY,
    DELIVERED,
    DROPPED,
    FAULT,
    NEUTRAL,
    REACQUIRED,
    STORED,
    WAITING,
)
from simulator.telemetry.events import EVENT_TYPES


@dataclass(frozen=True)
class Lane:
    """One kind of event on the timeline, and the SQL that gives its start, end and words.

    The query names its table's ``event_row``, so that a mark can be followed to its record.
    """

    name: str
    table: str
    colour: str
    sql: str


_KNOWN_LANES = (
    Lane("eclipse", "eclipse", CLOUDY, "start_s, end_s, kind"),
    Lane(
        "pass",
        "pass",
        STORED,
        "aos_s, los_s, station || ', up to ' || round(max_elevation_deg)::INT || '°, ' || outcome",
    ),
    Lane("capture", "capture", WAITING, "t_s, t_s, capture || ' of ' || target"),
    Lane("inference", "inference", REACQUIRED, "start_s, t_s, capture || ': ' || status"),
    Lane("decision", "decision", NEUTRAL, "t_s, t_s, action || ' ' || capture || ': ' || reason"),
    Lane("downlink", "downlink", DELIVERED, "start_s, end_s, product || ' to ' || station"),
    Lane("uplink", "uplink", STORED, "t_s, t_s, station || ': ' || reason"),
    Lane("replan", "plan", REACQUIRED, "t_s, t_s, change || ' ' || target || ': ' || reason"),
    Lane("fault", "fault", FAULT, "t_s, end_s, kind || ' of ' || component || ': ' || detail"),
)
_WITHOUT_LANE = ("power", "storage", "product", "ground")
"""Ledgers, which Budgets shows, and what comes with a decision or a downlink anyhow."""
_WORDS = (
    "kind",
    "action",
    "change",
    "status",
    "capture",
    "target",
    "area",
    "station",
    "outcome",
    "reason",
    "detail",
)


def _lanes() -> tuple[Lane, ...]:
    """Known lanes, and one for each event type that this module knows nothing of."""
    known = {lane.table for lane in _KNOWN_LANES}
    others = [n for n in EVENT_TYPES if n not in known and n not in _WITHOUT_LANE]
    return (*_KNOWN_LANES[:-1], *(_lane_of(name) for name in others), _KNOWN_LANES[-1])


def _lane_of(name: str) -> Lane:
    """A lane from the columns of an event type: its span if it has one, and its words."""
    columns = {field.name for field in fields(EVENT_TYPES[name])}
    start = "start_s" if "start_s" in columns else "t_s"
    end = "end_s" if "end_s" in columns else "t_s"
    words = [column for column in _WORDS if column in columns]
    label = f"concat_ws(', ', {', '.join(words)})" if words else f"'{name}'"
    return Lane(name, name, NEUTRAL, f"{start}, {end}, {label}")


LANES = _lanes()
"""From top to bottom."""

MARKS_PER_LANE = 300

LEAST_MARK = 180
"""A mark is at least this part of the window wide: seven pixels of a wide screen, two of a phone.
"""


def lane_query(lane: Lane) -> str:
    """SQL of a lane's marks inside a window, at most one per pixel or so.

    Parameters of the query: from_s, to_s, satellite (empty for all), bin_s.
    """
    return f"""
        WITH mark AS (
            SELECT event_row AS id, satellite, * FROM (
                SELECT event_row, satellite, {_named(lane.sql)} FROM {lane.table})
            WHERE end_s >= $from_s AND start_s <= $to_s
              AND ($satellite = '' OR satellite = $satellite OR satellite = ''))
        SELECT arg_max(id, end_s - start_s) AS id, arg_max(start_s, end_s - start_s) AS start_s,
               arg_max(end_s, end_s - start_s) AS end_s,
               arg_max(label, end_s - start_s) AS label, count(*) AS marks
        FROM mark GROUP BY satellite, floor(start_s / $bin_s) ORDER BY 2 LIMIT {MARKS_PER_LANE}"""


def _named(columns: str) -> str:
    start, end, label = columns.split(", ", 2)
    return f"{start} AS start_s, {end} AS end_s, {label} AS label"


def timeline(
    marks: Mapping[str, pd.DataFrame], from_s: float, to_s: float, now_s: float
) -> go.Figure:
    """Lanes over mission time, with the moment of the map as a line.

    Parameters
    ----------
    marks : mapping of str to DataFrame
        Rows of `lane_query` by lane name; ``customdata`` of each mark is ``table:event_row``.
    """
    figure = new_figure("mission time, h", "", height=360, legend=False)
    least_s = (to_s - from_s) / LEAST_MARK
    for lane in LANES:
        rows = marks[lane.name]
        width_s = (rows["end_s"].clip(upper=to_s) - rows["start_s"]).clip(lower=least_s)
        figure.add_bar(
            base=rows["start_s"] / 3600,
            x=width_s / 3600,
            y=[lane.name] * len(rows),
            orientation="h",
            width=0.72,
            marker={"color": lane.colour, "line": {"width": 0}},
            customdata=[[f"{lane.table}:{row}"] for row in rows["id"]],
            hovertext=[_hover(row) for row in rows.itertuples()],
            hovertemplate="%{hovertext}<extra></extra>",
            name=lane.name,
        )
    figure.update_traces(unselected={"marker": {"opacity": 1}})
    figure.add_vline(x=now_s / 3600, line={"color": DROPPED, "width": 2})
    figure.update_xaxes(range=[from_s / 3600, to_s / 3600])
    figure.update_yaxes(
        categoryorder="array", categoryarray=[lane.name for lane in LANES][::-1], fixedrange=True
    )
    figure.update_layout(barmode="overlay", dragmode="zoom", uirevision=f"{from_s}-{to_s}")
    return figure


def _hover(row: object) -> str:
    start_h, end_h = row.start_s / 3600, row.end_s / 3600  # type: ignore[attr-defined]
    span = f"{start_h:.3f} h" if end_h <= start_h else f"{start_h:.3f} to {end_h:.3f} h"
    more = f"<br>one of {row.marks} here" if row.marks > 1 else ""  # type: ignore[attr-defined]
    return f"{_escaped(row.label)}<br>{span}{more}"  # type: ignore[attr-defined]


def _escaped(text: str) -> str:
    return str(text).replace("&", "&amp;").replace("<", "&lt;")
