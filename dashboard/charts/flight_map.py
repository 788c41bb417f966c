"""The map: coast, night, stations and their circles, targets by state, satellites and tracks.

An equirectangular plot with our own coastline, because Plotly's maps fetch theirs from the
internet.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from numpy.typing import NDArray

from dashboard.charts.layout import new_figure
from dashboard.colours import (
    DELIVERED,
    NEUTRAL,
    NIGHT,
    TARGET_MEANINGS,
    TARGET_STATES,
    TOO_LATE,
    series_colour,
)
from dashboard.sun_and_horizon import (
    broken_at_edge,
    night_outline,
    subsolar_point,
    visibility_circle,
)

SIGN_DEG, NAME_DEG = 7.0, 20.0
"""Room that each sign of a name takes on a telephone's map, and what is around it.

A name without that room to its right stands left of its satellite, or would leave the map.
"""

COASTLINE = Path(__file__).parents[1] / "data" / "coastline.json"


@dataclass(frozen=True)
class Station:
    """A ground station on the map; `in_contact` when a pass is under way."""

    name: str
    latitude_deg: float
    longitude_deg: float
    min_elevation_deg: float
    in_contact: bool


def flight_map(
    moment: datetime,
    targets: pd.DataFrame,
    stations: Sequence[Station],
    tracks: Mapping[str, pd.DataFrame],
    positions: pd.DataFrame,
) -> go.Figure:
    """Everything at one moment.

    Parameters
    ----------
    targets : DataFrame
        name, latitude_deg, longitude_deg, state, captures, note.
    tracks : mapping of str to DataFrame
        Ground track around the moment by satellite: latitude_deg, longitude_deg.
    positions : DataFrame
        satellite, latitude_deg, longitude_deg, altitude_km at the moment.
    """
    figure = new_figure("longitude, °", "latitude, °", height=520)
    _night(figure, moment)
    _coast(figure)
    altitude_km = float(positions["altitude_km"].mean()) if len(positions) else 500.0
    _targets(figure, targets)
    for station in stations:
        _station(figure, station, altitude_km)
    for index, (satellite, track) in enumerate(tracks.items()):
        colour = series_colour(index)
        _satellite(figure, satellite, track, positions, colour, alone=len(tracks) == 1)
    figure.update_xaxes(range=[-180, 180], dtick=60, constrain="domain")
    figure.update_yaxes(range=[-90, 90], dtick=30, scaleanchor="x", constrain="domain")
    # A click chooses; it must not fade what was not clicked.
    figure.update_traces(unselected={"marker": {"opacity": 1}}, selector={"mode": "markers"})
    figure.update_layout(uirevision="map", dragmode="pan", margin={"l": 8, "r": 8, "t": 36, "b": 8})
    return figure


@lru_cache(maxsize=1)
def _coast_lines() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    lines = json.loads(COASTLINE.read_text(encoding="utf-8"))["lines"]
    joined = np.concatenate([np.vstack([np.array(line), [np.nan, np.nan]]) for line in lines])
    return joined[:, 0], joined[:, 1]


def _coast(figure: go.Figure) -> None:
    longitudes_deg, latitudes_deg = _coast_lines()
    figure.add_scatter(
        x=longitudes_deg,
        y=latitudes_deg,
        mode="lines",
        line={"color": NEUTRAL, "width": 1},
        fill="toself",
        fillcolor="rgba(128, 136, 150, 0.10)",
        hoverinfo="skip",
        showlegend=False,
    )


def _night(figure: go.Figure, moment: datetime) -> None:
    longitudes_deg, latitudes_deg = night_outline(moment)
    figure.add_scatter(
        x=longitudes_deg,
        y=latitudes_deg,
        mode="lines",
        line={"width": 0},
        fill="toself",
        fillcolor=NIGHT,
        hoverinfo="skip",
        name="night",
    )
    sun_latitude_deg, sun_longitude_deg = subsolar_point(moment)
    figure.add_scatter(
        x=[sun_longitude_deg],
        y=[sun_latitude_deg],
        mode="text",
        text=["☀"],
        textfont={"size": 20, "color": "#E69F00"},
        hovertemplate="the sun stands in the zenith here<extra></extra>",
        showlegend=False,
    )


def _station(figure: go.Figure, station: Station, altitude_km: float) -> None:
    longitudes_deg, latitudes_deg = visibility_circle(
        station.latitude_deg, station.longitude_deg, altitude_km, station.min_elevation_deg
    )
    colour = DELIVERED if station.in_contact else NEUTRAL
    figure.add_scatter(
        x=longitudes_deg,
        y=latitudes_deg,
        mode="lines",
        line={"color": colour, "width": 2.5 if station.in_contact else 1, "dash": "dot"},
        hoverinfo="skip",
        showlegend=False,
    )
    figure.add_scatter(
        x=[station.longitude_deg],
        y=[station.latitude_deg],
        mode="markers",
        marker={
            "symbol": "triangle-up",
            "size": 13,
            "color": colour,
            "line": {"width": 1.5, "color": "white"},
        },
        hovertemplate=f"{station.name}<br>sees a satellite above "
        f"{station.min_elevation_deg:g}° elevation<extra>station</extra>",
        showlegend=False,
    )
    # Left of the station: satellites are named to their right.
    _name(
        figure,
        station.name,
        station.longitude_deg,
        station.latitude_deg,
        xanchor="right",
        xshift=-10,
    )


def _targets(figure: go.Figure, targets: pd.DataFrame) -> None:
    for state, colour in TARGET_STATES.items():
        some = targets[targets["state"] == state]
        if state == TOO_LATE and some.empty:
            continue
        figure.add_scatter(
            x=some["longitude_deg"],
            y=some["latitude_deg"],
            mode="markers",
            name=f"{state} ({len(some)})",
            marker={
                "color": colour,
                "size": 7,
                "symbol": "circle" if "clear" in state else "circle-open",
                "line": {"width": 2, "color": colour},
            },
            customdata=some[["name", "captures", "note"]],
            hovertemplate="%{customdata[0]}: "
            + TARGET_MEANINGS[state]
            + "<br>captures so far: %{customdata[1]}<br>%{customdata[2]}<extra></extra>",
        )


def _satellite(
    figure: go.Figure,
    satellite: str,
    track: pd.DataFrame,
    positions: pd.DataFrame,
    colour: str,
    *,
    alone: bool,
) -> None:
    """One satellite and its track; among several it is named in the legend, alone on the map."""
    longitudes_deg, latitudes_deg = broken_at_edge(
        track["longitude_deg"].to_numpy(), track["latitude_deg"].to_numpy()
    )
    figure.add_scatter(
        x=longitudes_deg,
        y=latitudes_deg,
        mode="lines",
        line={"color": colour, "width": 1.5},
        opacity=0.7,
        hoverinfo="skip",
        showlegend=False,
    )
    here = positions[positions["satellite"] == satellite]
    figure.add_scatter(
        x=here["longitude_deg"],
        y=here["latitude_deg"],
        mode="markers",
        name=satellite,
        marker={
            "symbol": "diamond",
            "size": 14,
            "color": colour,
            "line": {"width": 2, "color": "white"},
        },
        customdata=here[["altitude_km"]],
        hovertemplate=f"{satellite}: %{{customdata[0]:.0f}} km high<extra></extra>",
        showlegend=not alone,
    )
    for at in here.itertuples() if alone else ():
        left = 180 - at.longitude_deg < min(180, NAME_DEG + SIGN_DEG * len(satellite))
        _name(
            figure,
            satellite,
            at.longitude_deg,
            at.latitude_deg,
            xanchor="right" if left else "left",
            xshift=-12 if left else 12,
        )


def _name(
    figure: go.Figure, text: str, longitude_deg: float, latitude_deg: float, **place: Any
) -> None:
    """A name on a plate, so that it is read over coast, targets and tracks."""
    figure.add_annotation(
        x=longitude_deg,
        y=latitude_deg,
        text=text.replace("<", "&lt;"),
        showarrow=False,
        font={"size": 11, "color": "white"},
        bgcolor="rgba(60, 66, 78, 0.75)",
        borderpad=2,
        **place,
    )
