"""Flight: where everything is at a moment, what happens around it, and why."""

from __future__ import annotations

import math
from datetime import datetime, timedelta
from typing import Any

import pandas as pd
import streamlit as st

from dashboard.charts.flight_map import Station, flight_map
from dashboard.charts.timeline import LANES, MARKS_PER_LANE, lane_query, timeline
from dashboard.delivery import TARGET_STATES
from dashboard.navigation import draw
from dashboard.runs_folder import FoundRun
from dashboard.shell import (
    choose_run,
    figure,
    folders,
    open_store,
    plain,
    rows,
    satellites,
    sentences,
    utc,
)
from simulator.telemetry.events import EVENT_TYPES

PLAY_EVERY_S = 1.0
# Share of the timeline's window by which each step of playing moves on.
PLAY_STEP = 1 / 60
WINDOWS_H = {"30 min": 0.5, "2 h": 2.0, "6 h": 6.0, "24 h": 24.0, "7 days": 168.0}
# About the timeline's window, over which captures make a pass a good moment to begin with.
BUSY_AROUND_S = 2.5 * 3600
# Half an orbit at 500 km: the track drawn before and after the moment.
HALF_TRACK_S = 2900.0

TRACK = """
    SELECT latitude_deg, longitude_deg FROM track
    WHERE satellite = $satellite AND t_s BETWEEN $from_s AND $to_s ORDER BY t_s"""

POSITIONS = """
    SELECT satellite, arg_min(latitude_deg, abs(t_s - $now_s)) AS latitude_deg,
           arg_min(longitude_deg, abs(t_s - $now_s)) AS longitude_deg,
           arg_min(altitude_km, abs(t_s - $now_s)) AS altitude_km
    FROM track WHERE t_s BETWEEN $now_s - 90 AND $now_s + 90
    GROUP BY satellite ORDER BY satellite"""


def show() -> None:
    """Draw the page."""
    st.title("Flight", anchor=False)
    run = choose_run(folders())
    if run is None:
        return
    playing = st.toggle("Play", key="playing", help="Let mission time go on by itself.")
    st.fragment(_flight, run_every=PLAY_EVERY_S if playing else None)(run)


def _flight(run: FoundRun) -> None:
    """Map, timeline and event at one moment; runs again by itself while playing."""
    with sentences():
        end_h = max(open_store(run).run.horizon_s / 3600, 0.01)
        now_s, window_h, satellite = _controls(run, end_h)
        moment = datetime.fromisoformat(run.manifest.epoch) + timedelta(seconds=now_s)  # type: ignore[union-attr]
        st.markdown(f"**{moment:%Y-%m-%d %H:%M:%S} UTC** · {now_s / 3600:.2f} h into the mission")
        targets = rows(run, TARGET_STATES, now_s=now_s)
        figure(
            "flight-map",
            flight_map(
                moment,
                targets,
                _stations(run, now_s),
                {
                    name: rows(
                        run,
                        TRACK,
                        satellite=name,
                        from_s=now_s - HALF_TRACK_S,
                        to_s=now_s + HALF_TRACK_S,
                    )
                    for name in satellites(run)
                    if satellite in ("", name)
                },
                rows(run, POSITIONS, now_s=now_s),
            ),
            targets,
            "Targets by what became of them until this moment; dotted circles: where a station "
            "sees a satellite above its mask; shaded: night. Half an orbit of track either way. "
            "Click a target: its last capture is shown below.",
            on_select=lambda: _chosen_target(run, now_s),
            height="stretch",
        )
        _timeline(run, now_s, window_h, satellite, end_h)
        _event(run)


def _controls(run: FoundRun, end_h: float) -> tuple[float, float, str]:
    if st.session_state.get("playing"):
        _step(end_h)
    _jump(run)
    _keep_up(run, end_h)
    if st.session_state.get("t_h", 0.0) > end_h:
        st.session_state["t_h"] = end_h
    slider, window, craft = st.columns([6, 2, 2], vertical_alignment="bottom")
    t_h = slider.slider(
        "Mission time, h",
        0.0,
        end_h,
        min(_busy_moment_h(run), end_h),  # rounded, it may lie behind the end
        0.01,
        key="t_h",
        bind="query-params",
    )
    span = window.selectbox("Timeline", list(WINDOWS_H), index=2, key="window", bind="query-params")
    names = satellites(run)
    satellite = "all"
    if len(names) > 1:
        satellite = craft.selectbox(
            "Satellite", ["all", *names], key="satellite", bind="query-params"
        )
    return t_h * 3600, WINDOWS_H[span], "" if satellite == "all" else satellite


def _keep_up(run: FoundRun, end_h: float) -> None:
    """Let the map stand where a followed run is, until one chooses another moment."""
    if run.state != "running" or not st.session_state.get("follow", True):
        return
    before = st.session_state.get("kept_up_h")
    chosen = st.session_state.get("t_h", st.query_params.get("t_h"))
    if chosen == before:
        st.session_state["t_h"] = st.session_state["kept_up_h"] = math.floor(100 * end_h) / 100


def _step(end_h: float) -> None:
    window_h = WINDOWS_H.get(st.session_state.get("window", "6 h"), 6.0)
    ahead_h = st.session_state.get("t_h", 0.0) + window_h * PLAY_STEP
    st.session_state["t_h"] = 0.0 if ahead_h > end_h else round(ahead_h, 3)


BUSY_PASS = """
    SELECT (aos_s + los_s) / 2 AS t_s FROM pass JOIN capture c
    ON c.t_s BETWEEN aos_s - $around_s AND los_s + $around_s
    WHERE pass.bytes > 0 GROUP BY aos_s, los_s ORDER BY count(*) DESC, 1 LIMIT 1"""


def _busy_moment_h(run: FoundRun) -> float:
    """The pass with the most captures around it; without one the first capture, else the start."""
    for sql, parameters in (
        (BUSY_PASS, {"around_s": BUSY_AROUND_S}),
        ("SELECT min(t_s) AS t_s FROM capture", {}),
    ):
        found = rows(run, sql, **parameters)
        if len(found) and not pd.isna(found.iat[0, 0]):
            return round(float(found.iat[0, 0]) / 3600, 2)
    return 0.0


def _stations(run: FoundRun, now_s: float) -> list[Station]:
    heard = set(
        rows(run, "SELECT station FROM pass WHERE $now_s BETWEEN aos_s AND los_s", now_s=now_s)[
            "station"
        ]
    )
    found = []
    for feature in open_store(run).run.stations().get("features", []):
        properties = feature["properties"]
        longitude_deg, latitude_deg = feature["geometry"]["coordinates"][:2]
        name = str(properties["name"])
        found.append(
            Station(
                name,
                float(latitude_deg),
                float(longitude_deg),
                float(properties.get("min_elevation_deg") or 0.0),
                name in heard,
            )
        )
    return found


def _timeline(run: FoundRun, now_s: float, window_h: float, satellite: str, end_h: float) -> None:
    span_s = min(window_h, end_h) * 3600
    from_s = min(max(0.0, now_s - span_s / 3), max(0.0, end_h * 3600 - span_s))
    # The window moves in steps, so that its queries are remembered while one plays.
    from_s = from_s // (span_s / 12) * (span_s / 12)
    to_s = from_s + span_s
    bin_s = span_s / MARKS_PER_LANE * max(1, len(satellites(run)) if not satellite else 1)
    window = {"from_s": from_s, "to_s": to_s, "satellite": satellite, "bin_s": bin_s}
    marks = {lane.name: rows(run, lane_query(lane), **window) for lane in LANES}
    figure(
        "timeline",
        timeline(marks, from_s, to_s, now_s),
        lambda: pd.concat([table.assign(lane=lane) for lane, table in marks.items()]),
        "What happened around this moment (red line). Click a mark: the map moves to it, and its "
        "record and reason are shown below.",
        on_select=_chosen_event,
        selection_mode="points",
    )


CAPTURE_OF_TARGET = """
    SELECT event_row FROM capture WHERE target = $target
    ORDER BY t_s > $now_s, abs(t_s - $now_s) LIMIT 1"""


def _chosen_target(run: FoundRun, now_s: float) -> None:
    """Take the last capture of the clicked target, else its first, as the event that is shown."""
    points = st.session_state["figure-flight-map"]["selection"]["points"]
    chosen = points[0].get("customdata") if points else None
    if not isinstance(chosen, list) or not isinstance(chosen[0], str):
        return  # a satellite or a station
    found = rows(run, CAPTURE_OF_TARGET, target=chosen[0], now_s=now_s)
    if found.empty:
        st.toast(f"{plain(chosen[0])} is never imaged in this run.")
        return
    st.query_params["event"] = f"capture:{found.iat[0, 0]}"


def _chosen_event() -> None:
    """Take the clicked mark over: into the address, and as the moment of the map."""
    points = st.session_state["figure-timeline"]["selection"]["points"]
    if not points:
        return
    chosen = points[0].get("customdata")
    name = chosen[0] if isinstance(chosen, list) else chosen
    if name:
        st.query_params["event"] = str(name)
        st.session_state["jump_to_event"] = True


def _event(run: FoundRun) -> None:
    """The record of the event in the address, and the reason behind it."""
    asked = st.query_params.get("event")
    st.subheader("Event", anchor=False)
    if not asked:
        st.info("Click a mark of the timeline to see its record and the reason for the decision.")
        return
    table, _, row = asked.partition(":")
    if table not in EVENT_TYPES or not row.isdecimal() or len(row) > 12:
        st.warning(f"The link names the event {plain(asked)}, which is none of this run.")
        return
    # The table's name is one of ours, checked above; the row is a number.
    found = rows(
        run, f"SELECT * EXCLUDE (event_row) FROM {table} WHERE event_row = $row", row=int(row)
    )
    if found.empty:
        st.warning(f"This run has no {table} event number {row}.")
        return
    record = found.iloc[0]
    left, right = st.columns([2, 3], gap="medium")
    with left:
        st.markdown(f"**{table}** on {plain(record['satellite']) or 'the ground'}")
        st.caption(f"{utc(run, record['t_s'])} UTC, {record['t_s'] / 3600:.3f} h")
        st.dataframe(_fields(record), hide_index=True, height=380)
    with right:
        _why(run, table, record)
        _story(run, record)


def _fields(record: pd.Series) -> pd.DataFrame:
    return pd.DataFrame({"field": record.index, "value": [_shown(v) for v in record]})


def _shown(value: Any) -> str:
    if hasattr(value, "__len__") and not isinstance(value, str):
        items = [str(v) if not isinstance(v, str) else v[:12] for v in value]
        return ", ".join(items[:24]) + (" …" if len(items) > 24 else "")
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _why(run: FoundRun, table: str, record: pd.Series) -> None:
    reason = str(record.get("reason") or record.get("detail") or "")
    if not reason and "capture" in record:
        decided = rows(
            run, "SELECT action, reason FROM decision WHERE capture = $c", c=record["capture"]
        )
        if len(decided):
            reason = f"{decided.iloc[0]['action']}: {decided.iloc[0]['reason']}"
    if table == "capture":
        planned = rows(
            run,
            "SELECT reason FROM plan WHERE target = $target AND change = 'add' AND t_s <= $t_s "
            "ORDER BY t_s DESC LIMIT 1",
            target=record["target"],
            t_s=float(record["t_s"]),
        )
        if len(planned):
            st.success(f"**Why it was imaged:** {plain(planned.iloc[0]['reason'])}")
    if reason:
        st.success(f"**Reason:** {plain(reason)}")


STORY = """
    SELECT t_s, 'plan' AS event, change || ': ' || reason AS what FROM plan
        WHERE target = $target
    UNION ALL SELECT t_s, 'capture', capture || ', true cover ' || round(100 * cover) || ' %'
        FROM capture WHERE target = $target
    UNION ALL SELECT i.t_s, 'inference', i.capture || ': ' || i.status || ', '
        || round(i.latency_s, 2) || ' s' FROM inference i JOIN capture c USING (capture)
        WHERE c.target = $target
    UNION ALL SELECT d.t_s, 'decision', d.action || ' ' || d.capture || ': ' || d.reason
        FROM decision d JOIN capture c USING (capture) WHERE c.target = $target
    UNION ALL SELECT t_s, 'downlink', product || ' to ' || station
        || CASE WHEN complete THEN ', whole' ELSE ', in part' END
        FROM downlink WHERE target = $target
    UNION ALL SELECT t_s, 'ground', reason FROM ground WHERE target = $target
    ORDER BY 1"""


def _story(run: FoundRun, record: pd.Series) -> None:
    target = record.get("target")
    if target is None and record.get("capture"):
        of_capture = rows(run, "SELECT target FROM capture WHERE capture = $c", c=record["capture"])
        target = of_capture.iat[0, 0] if len(of_capture) else None
    if not target:
        return
    story = rows(run, STORY, target=str(target))
    st.markdown(f"**Everything about {plain(target)}**")
    st.dataframe(
        pd.DataFrame(
            {
                "h": story["t_s"] / 3600,
                "event": story["event"],
                "what": story["what"],
            }
        ),
        hide_index=True,
        height=300,
        column_config={"h": st.column_config.NumberColumn("mission time, h", format="%.2f")},
    )
    if record.get("capture"):
        st.page_link(
            "pages/scenes.py",
            label=f"See the pictures of {plain(record['capture'])}",
            icon=":material/photo_library:",
            query_params={"run": run.run_id, "capture": str(record["capture"])},
        )


def _jump(run: FoundRun) -> None:
    """Move the map to a newly chosen event, before the slider is drawn."""
    if not st.session_state.pop("jump_to_event", False):
        return
    table, _, row = st.query_params.get("event", "").partition(":")
    if table in EVENT_TYPES and row.isdecimal():
        found = rows(run, f"SELECT t_s FROM {table} WHERE event_row = $row", row=int(row))
        if len(found):
            st.session_state["t_h"] = round(float(found.iat[0, 0]) / 3600, 3)


draw(show)
