"""Budgets: power, storage, payload computer and link, over time and against their caps."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import pandas as pd
import streamlit as st

from dashboard.charts import budgets
from dashboard.downsampling import (
    BINS,
    CHARGE,
    MOST_WAITING,
    STORED_MIB,
    extremes,
    orbit_means,
    step_means,
)
from dashboard.navigation import draw
from dashboard.orbits import DEPTH, MOST_ENERGY, UMBRAS, orbit_s
from dashboard.runs_folder import FoundRun, scenario_of, setup_of
from dashboard.shell import choose_run, figure, folders, open_store, plain, rows, satellites
from simulator.telemetry.events import Power
from simulator.telemetry.manifest import RunFolderError

CONSUMERS = tuple(
    field.name.removesuffix("_w")
    for field in fields(Power)
    if field.name.endswith("_w") and field.name not in ("load_w", "generation_w")
)
"""What draws power, as the log knows it."""

# Over a long time, sunlight and shadow would be a solid block; means over an orbit are not.
LONG_S = 36 * 3600.0

WITHOUT_MASKS = ("bent_pipe", "oracle")
"""Policies that leave the payload computer idle."""

FRAMES = "SELECT count(*) FROM inference WHERE satellite = $satellite"

LATENCY = """
    WITH each AS (
        SELECT queued_s + latency_s AS total_s FROM inference
        WHERE satellite = $satellite AND t_s BETWEEN $from_s AND $to_s),
    width AS (SELECT greatest(max(total_s) / 40, 1e-3) AS width_s FROM each)
    SELECT floor(total_s / width_s) * width_s + width_s / 2 AS total_s, count(*) AS frames
    FROM each, width GROUP BY 1 ORDER BY 1"""

PEAKS = """
    SELECT (SELECT max(peak_memory_mib) FROM host_inference WHERE satellite = $satellite)
               AS memory_mib,
           (SELECT max(payload_w) FROM power WHERE satellite = $satellite) AS power_w,
           (SELECT max(queued_s + latency_s) FROM inference WHERE satellite = $satellite)
               AS total_s"""

PASSES = """
    SELECT aos_s / 3600 AS aos_h, los_s / 3600 AS los_h, station, max_elevation_deg,
           outcome, usable_s, transmit_s, capacity_bytes / 1048576 AS capacity_mib,
           bytes / 1048576 AS mib
    FROM pass WHERE satellite = $satellite AND los_s >= $from_s AND aos_s <= $to_s
    ORDER BY 1"""
MOST_PASSES = 2000
"""More bars are slower to draw than they are of use."""


def show() -> None:
    """Draw the page."""
    st.title("Budgets", anchor=False)
    run = choose_run(folders())
    if run is None:
        return
    satellite, window = _controls(run)
    craft = _section(run, satellite)
    power, payload = craft.get("power") or {}, craft.get("payload") or {}
    _power(run, window, power)
    _storage(run, window, float(craft.get("storage_gib") or 0.0) * 1024)
    _payload(run, window, payload)
    _link(run, window)


def _controls(run: FoundRun) -> tuple[str, dict[str, Any]]:
    names = satellites(run)
    end_h = max(open_store(run).run.horizon_s / 3600, 0.01)
    left, right = st.columns([1, 3], vertical_alignment="bottom")
    satellite = left.selectbox("Satellite", names, key="satellite", bind="query-params")
    from_h, to_h = right.slider(
        "Part of the mission, h",
        0.0,
        end_h,
        (0.0, end_h),
        key="part",
        bind="query-params",
        help="A shorter part is drawn in finer steps.",
    )
    to_h = max(to_h, from_h + 1e-3)
    return satellite, {
        "satellite": satellite,
        "from_s": from_h * 3600,
        "to_s": to_h * 3600,
        "bin_s": (to_h - from_h) * 3600 / BINS,
        "orbit_s": orbit_s(open_store(run).run, satellite),
    }


def _section(run: FoundRun, satellite: str) -> dict[str, Any]:
    for section in scenario_of(run).get("satellites", []):
        if section["name"] == satellite:
            return dict(section)
    raise RunFolderError(
        f"{run.path / 'scenario.yaml'} cannot be read, or is not the scenario that was flown: what "
        f"limits {satellite} is unknown. Restore it from a copy or run the scenario again."
    )


def _query(run: FoundRun, sql: str, window: dict[str, Any]) -> pd.DataFrame:
    """Ask with those parameters of the window that the query names."""
    return rows(run, sql, **{name: value for name, value in window.items() if f"${name}" in sql})


def _span_h(window: dict[str, Any]) -> budgets.Span:
    return window["from_s"] / 3600, window["to_s"] / 3600


def _power(run: FoundRun, window: dict[str, Any], power: dict[str, Any]) -> None:
    span_h = _span_h(window)
    charge = _query(run, extremes(CHARGE, "charge_fraction"), window)
    eclipses = _query(run, UMBRAS, window)
    low = float(power.get("low_power_fraction", 0.0))
    st.subheader("Power", anchor=False)
    figure(
        "battery",
        budgets.battery(charge, eclipses, low, float(power.get("recover_fraction", 0.0)), span_h),
        charge,
        f"Battery charge as a share of {power.get('battery_wh', 0):g} Wh: least and greatest of "
        "each step, at changes of load or sunlight. Shaded: umbra.",
    )
    left, right = st.columns(2, gap="medium")
    columns = (*(f"{name}_w" for name in CONSUMERS), "generation_w")
    long = window["to_s"] - window["from_s"] > LONG_S and len(eclipses) > 1
    means = orbit_means if long else step_means
    table = _query(run, means("power", columns), window)
    with left:
        figure(
            "loads",
            budgets.loads(table, CONSUMERS, span_h),
            table,
            "Loads stacked, and what the panels give: means over "
            + ("one orbit. Choose a shorter part to see each." if long else "a step."),
        )
    depth = _query(run, DEPTH, window)
    with right:
        figure(
            "depth-of-discharge",
            budgets.depth(depth, low, span_h),
            depth,
            "Deepest discharge between the start of one umbra and the next, or of one orbit "
            "without umbra, of the full battery; dashed: where payload and imager are shed.",
        )


def _storage(run: FoundRun, window: dict[str, Any], capacity_mib: float) -> None:
    st.subheader("Storage", anchor=False)
    table = _query(run, STORED_MIB, window)
    figure(
        "storage",
        budgets.storage(table, capacity_mib, _span_h(window)),
        table,
        f"Bytes on board by the priority of their targets; the capacity is {capacity_mib:,.0f} MiB"
        " (drawn when it comes near).",
    )


def _payload(run: FoundRun, window: dict[str, Any], payload: dict[str, Any]) -> None:
    st.subheader("Payload computer", anchor=False)
    if not int(_query(run, FRAMES, window).iat[0, 0]):
        st.info(_why_no_frame(run, window["satellite"]))
        return
    left, right = st.columns(2, gap="medium")
    queue = _query(run, MOST_WAITING, window)
    with left:
        figure(
            "payload-queue",
            budgets.queue(queue, window["bin_s"] / 3600, _span_h(window)),
            queue,
            "Frames waiting for the payload computer or on it; the most of each step.",
        )
    latency = _query(run, LATENCY, window)
    deadline_s = float(payload.get("frame_deadline_s") or 0.0)
    with right:
        figure(
            "payload-latency",
            budgets.latency(latency, deadline_s),
            latency,
            f"From queue to result, per frame; the deadline is {deadline_s:g} s (drawn when it "
            "comes near).",
        )
    peaks = _peaks(run, window, payload)
    figure(
        "payload-caps",
        budgets.against_caps(peaks),
        pd.DataFrame(
            [{"what": k, "peak": v[0], "cap": v[1], "unit": v[2]} for k, v in peaks.items()]
        ),
        "Highest value of the whole mission against the cap of the scenario. Memory is the host's "
        "figure (its provenance is in the event); energy is that of work on frames, by orbits "
        "counted from the epoch, as the limit counts it.",
    )


def _why_no_frame(run: FoundRun, satellite: str) -> str:
    policy = setup_of(run).policy
    if policy in WITHOUT_MASKS:
        return f"The payload computer was not used: {plain(policy)} asks for no mask."
    return f"No frame of {plain(satellite)} has reached the payload computer."


def _peaks(
    run: FoundRun, window: dict[str, Any], payload: dict[str, Any]
) -> dict[str, tuple[float, float, str]]:
    peak = _query(run, PEAKS, window).iloc[0]
    orbit_wh = _query(run, MOST_ENERGY, window).iat[0, 0]
    candidates = {
        "memory": (peak["memory_mib"], payload.get("memory_limit_mib"), "MiB"),
        "power": (peak["power_w"], payload.get("power_limit_w"), "W"),
        "energy per orbit": (orbit_wh, payload.get("energy_limit_wh_per_orbit"), "Wh"),
        "time per frame": (peak["total_s"], payload.get("frame_deadline_s"), "s"),
    }
    return {
        name: (float(value), float(cap), unit)
        for name, (value, cap, unit) in candidates.items()
        if cap and not pd.isna(value)
    }


def _link(run: FoundRun, window: dict[str, Any]) -> None:
    st.subheader("Link", anchor=False)
    table = _query(run, PASSES, window)
    if table.empty:
        st.info("No station saw the satellite in this part of the mission.")
        return
    left_out = ""
    if len(table) > MOST_PASSES:
        left_out = (
            f" The first {MOST_PASSES:,} of {len(table):,} are drawn, the CSV has all: choose a "
            "shorter part to see the others."
        )
    figure(
        "passes",
        budgets.passes(table.head(MOST_PASSES), _span_h(window)),
        table,
        f"Bytes carried in each pass against what its usable time could have carried.{left_out}",
    )


draw(show)
