"""What a mission was worth and what it cost, computed from its run folder alone.

Each metric is a field of `Metrics` that carries its unit, its meaning and which direction is
better (`METRICS` is that table, for command line and dashboard). The formulas are queries on the
event tables. A ratio without a denominator (nothing delivered, no inference) is None.

``px`` are truth-labelled pixels. A product counts as delivered once its last byte is on the ground.
"""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import duckdb
import numpy as np
import pyarrow as pa

from simulator.telemetry.coverage import Delivery, covered_km2
from simulator.telemetry.events import EVENT_TYPES
from simulator.telemetry.host_events import HOST_EVENT_TYPES
from simulator.telemetry.manifest import RESTORE, RunFolderError
from simulator.telemetry.revisits import revisits
from simulator.telemetry.run_folder import RunFolder
from simulator.telemetry.waits import time_to_clear

Better = Literal["higher", "lower", "neither"]


@dataclass(frozen=True)
class MetricInfo:
    """How to show a metric: unit (empty for a plain number), meaning, which way is better."""

    unit: str
    meaning: str
    better: Better


def _metric(unit: str, meaning: str, better: Better = "neither") -> Any:
    return dataclasses.field(metadata={"info": MetricInfo(unit, meaning, better)})


@dataclass(frozen=True, kw_only=True)
class Metrics:
    """The metrics of one run. None where a ratio has no denominator."""

    clear_km2_delivered: float = _metric(
        "km2", "truth-clear ground delivered, each target pixel counted once", "higher"
    )
    clear_km2_delivered_with_repeats: float = _metric(
        "km2", "truth-clear ground delivered, repeats counted again"
    )
    clear_fraction_delivered: float | None = _metric(
        "", "clear share of the delivered pixels (value density)", "higher"
    )
    onboard_reduction_fraction: float | None = _metric(
        "", "share of the raw bytes not put in the downlink queue"
    )
    compression_ratio: float | None = _metric(
        "", "raw bytes of what the policy kept / the bytes it was stored in", "higher"
    )
    backlog_mib: float = _metric("MiB", "left in the downlink queue at the end", "lower")
    false_cloud_fraction: float | None = _metric(
        "", "clear pixels the detector called cloud / clear pixels it saw", "lower"
    )
    false_cloud_fraction_by_surface: Mapping[str, float | None] = _metric(
        "", "the same by surface", "lower"
    )
    false_discard_fraction: float | None = _metric(
        "", "clear pixels dropped that a perfect mask would have kept / captured", "lower"
    )
    false_discard_fraction_by_surface: Mapping[str, float | None] = _metric(
        "", "the same by surface", "lower"
    )
    policy_loss_fraction: float | None = _metric(
        "", "clear pixels that even a perfect mask drops / captured", "lower"
    )
    overflow_loss_fraction: float | None = _metric(
        "", "clear pixels lost to full storage / captured", "lower"
    )
    cloud_leakage_fraction: float | None = _metric(
        "", "cloud pixels delivered / cloud pixels captured", "lower"
    )
    targets_satisfied_fraction: float | None = _metric(
        "",
        "targets with an image under target_cloud_fraction down by their deadline",
        "higher",
    )
    time_to_clear_h_median: float | None = _metric(
        "h", "half of the targets are satisfied by then (Kaplan-Meier)", "lower"
    )
    time_to_clear_h_restricted_mean: float | None = _metric(
        "h",
        "wait for a clear image, cut at the end of the mission; mean of all (Kaplan-Meier)",
        "lower",
    )
    delivery_latency_h_p50: float | None = _metric("h", "capture to ground, median", "lower")
    delivery_latency_h_p90: float | None = _metric("h", "capture to ground, 9 of 10", "lower")
    reacquisitions: int = _metric("", "captures that repeat one that was cloudy or lost")
    reacquisition_success_fraction: float | None = _metric(
        "", "reacquisitions that came clear", "higher"
    )
    payload_energy_wh: float = _metric("Wh", "energy of the payload computer", "lower")
    payload_energy_share: float | None = _metric("", "share of all energy consumed", "lower")
    clear_km2_per_wh: float | None = _metric(
        "km2/Wh", "clear ground delivered per energy of the payload computer", "higher"
    )
    battery_min_fraction: float | None = _metric("", "lowest charge", "higher")
    low_power_h: float = _metric("h", "time with payload and imager shed", "lower")
    storage_peak_fraction: float = _metric("", "fullest storage", "lower")
    storage_overflow_mib: float = _metric("MiB", "dropped because storage was full", "lower")
    deadline_misses: int = _metric("", "frames the payload could not finish in time", "lower")
    payload_faults: int = _metric("", "crashes, memory deaths and outages of the payload", "lower")
    station_utilisation: float | None = _metric(
        "", "share of usable pass time that carried data, summed over satellites", "neither"
    )
    real_time_factor: float | None = _metric("", "simulated / wall seconds (host)", "higher")
    captures: int = _metric("", "frames taken")
    frames_processed: int = _metric("", "frames with a mask from the payload")
    frames_unprocessed: int = _metric("", "frames kept without a mask although one was due")
    tiles: int = _metric("", "tiles in processed frames")
    distinct_tiles: int = _metric("", "distinct tiles among them, per model")
    model_calls: int = _metric("", "inferences really run on the host")
    products: int = _metric("", "pixel products put in the downlink queue")
    products_delivered: int = _metric("", "pixel products that reached the ground whole")
    previews_delivered: int = _metric("", "masks or thumbnails that reached the ground")
    pixels_released: int = _metric("", "captures whose pixels the ground did not ask for")
    passes: int = _metric("", "station passes")
    targets: int = _metric("", "targets of the mission")
    targets_satisfied: int = _metric("", "targets satisfied by the end")
    plans: int = _metric("", "plans made, the first of each satellite included")
    plan_gap_fraction: float | None = _metric(
        "", "most that a plan may fall short of the best one (optimal only; host)", "lower"
    )
    glances: int = _metric("", "looks ahead at the clouds over a target")
    look_ahead_energy_wh: float = _metric("Wh", "energy of the look-ahead camera", "lower")
    periods_due: int = _metric("", "repeat periods that lie whole within the mission")
    periods_satisfied_fraction: float | None = _metric(
        "", "of these, those with a clear image captured in them and delivered", "higher"
    )
    area_coverage_fraction: float | None = _metric(
        "", "share of the areas' ground delivered clear, mean over areas and periods", "higher"
    )
    area_coverage_fraction_by_area: Mapping[str, float] = _metric("", "the same by area", "higher")

    def to_dict(self) -> dict[str, Any]:
        """Plain values for ``metrics.json``."""
        return dataclasses.asdict(self)


METRICS: dict[str, MetricInfo] = {f.name: f.metadata["info"] for f in dataclasses.fields(Metrics)}
"""Unit, meaning and direction of every metric, in the order they are shown."""

_VIEWS = """
CREATE VIEW delivered AS
    SELECT p.product, p.capture, p.target, p.bytes, p.clear_px, p.cloud_px,
           l.end_s AS delivered_s, c.t_s AS captured_s, c.gsd_m, c.truth_sha256,
           d.kept_blocks, c.period, d.region_px
    FROM product p
    JOIN downlink l ON l.product = p.product AND l.complete AND p.kind = 'pixels'
    JOIN capture c ON c.capture = p.capture
    JOIN decision d ON d.capture = p.capture
    ORDER BY l.end_s, p.product;
CREATE VIEW last_power AS
    SELECT satellite, arg_max(payload_wh, row) AS payload_wh,
           arg_max(consumed_wh, row) AS consumed_wh
    FROM power_rows GROUP BY satellite;
CREATE VIEW overflowed AS
    SELECT DISTINCT s.satellite, s.capture FROM storage s WHERE s.change = 'dropped_overflow';
"""

_SCALARS: dict[str, str] = {
    "clear_km2_delivered_with_repeats": (
        "SELECT coalesce(sum(clear_px * gsd_m * gsd_m / 1e6), 0.0) FROM delivered"
    ),
    "clear_fraction_delivered": (
        "SELECT sum(clear_px) / nullif(sum(clear_px + cloud_px), 0) FROM delivered"
    ),
    "onboard_reduction_fraction": """
        SELECT 1 - coalesce((SELECT sum(bytes) FROM product), 0) / nullif(sum(d.bytes_raw), 0)
        FROM decision d JOIN capture c USING (capture) WHERE c.stored""",
    "compression_ratio": """
        SELECT (sum(bytes_kept) + coalesce((SELECT sum(delta_bytes) FROM storage
                                            WHERE change = 'compressed'), 0))
             / nullif(sum(bytes_kept), 0) FROM decision""",
    "backlog_mib": """
        SELECT (coalesce((SELECT sum(bytes) FROM product), 0)
              - coalesce((SELECT sum(bytes) FROM downlink), 0)
              - coalesce((SELECT sum(delta_bytes) FROM storage
                          WHERE product <> '' AND change IN ('dropped_overflow', 'dropped_fault')),
                         0))
             / 1048576""",
    "false_cloud_fraction": """
        SELECT sum(clear_px_called_cloud) / nullif(sum(clear_px), 0)
        FROM inference WHERE status = 'ok'""",
    "false_discard_fraction": """
        SELECT coalesce((SELECT sum(clear_px_false_discard) FROM decision), 0)
             / nullif(sum(clear_px), 0) FROM capture""",
    "policy_loss_fraction": """
        SELECT coalesce((SELECT sum(d.clear_px - d.clear_px_perfect)
                         FROM decision d JOIN capture c USING (capture) WHERE c.stored), 0)
             / nullif(sum(clear_px), 0) FROM capture""",
    "overflow_loss_fraction": """
        SELECT coalesce(sum(coalesce(p.clear_px, c.clear_px)) FILTER (o.capture IS NOT NULL), 0)
             / nullif(sum(c.clear_px), 0)
        FROM capture c
        LEFT JOIN (SELECT capture, clear_px_kept AS clear_px FROM decision WHERE bytes_kept > 0) p
            USING (capture)
        LEFT JOIN overflowed o USING (capture)""",
    "cloud_leakage_fraction": """
        SELECT coalesce((SELECT sum(cloud_px) FROM delivered), 0) / nullif(sum(cloud_px), 0)
        FROM capture""",
    "delivery_latency_h_p50": (
        "SELECT quantile_cont((delivered_s - captured_s) / 3600, 0.5) FROM delivered"
    ),
    "delivery_latency_h_p90": (
        "SELECT quantile_cont((delivered_s - captured_s) / 3600, 0.9) FROM delivered"
    ),
    "reacquisitions": "SELECT count(*) FROM capture WHERE reacquisition",
    # Where only a region is wanted it is judged, as satisfaction is, and not the frame.
    "reacquisition_success_fraction": """
        SELECT avg((1 - CASE WHEN c.stored AND d.region_px < c.clear_px + c.cloud_px
                             THEN d.clear_px_perfect / nullif(d.region_px, 0)
                             ELSE c.clear_px / (c.clear_px + c.cloud_px) END < t.cloud_limit)::INT)
        FROM capture c JOIN targets t ON t.name = c.target
        LEFT JOIN decision d ON d.capture = c.capture
        WHERE c.reacquisition AND c.clear_px + c.cloud_px > 0""",
    "payload_energy_wh": "SELECT coalesce(sum(payload_wh), 0.0) FROM last_power",
    "payload_energy_share": "SELECT sum(payload_wh) / nullif(sum(consumed_wh), 0) FROM last_power",
    "plans": "SELECT count(*) FROM host_planning",
    "plan_gap_fraction": "SELECT max(gap_fraction) FROM host_planning WHERE gap_fraction >= 0",
    "glances": "SELECT count(*) FROM glance WHERE outcome = 'seen'",
    "look_ahead_energy_wh": """
        SELECT coalesce(sum(look_ahead_w * (next_s - t_s)), 0.0) / 3600
        FROM (SELECT t_s, look_ahead_w,
                     coalesce(lead(t_s) OVER (PARTITION BY satellite ORDER BY row), t_s) AS next_s
              FROM power_rows)""",
    "battery_min_fraction": "SELECT min(charge_fraction) FROM power",
    "low_power_h": """
        SELECT coalesce(sum(next_s - t_s), 0.0) / 3600
        FROM (SELECT t_s, low_power,
                     coalesce(lead(t_s) OVER (PARTITION BY satellite ORDER BY row),
                              greatest(t_s, $horizon_s)) AS next_s
              FROM power_rows)
        WHERE low_power""",
    # A frame that is turned away is booked as captured and dropped at once: it was never in memory.
    "storage_peak_fraction": """
        SELECT coalesce(max(s.stored_bytes / s.capacity_bytes), 0.0)
        FROM storage s LEFT JOIN capture c USING (capture)
        WHERE s.change <> 'captured' OR coalesce(c.stored, true)""",
    "storage_overflow_mib": """
        SELECT coalesce(sum(delta_bytes), 0) / 1048576 FROM storage
        WHERE change = 'dropped_overflow'""",
    "deadline_misses": "SELECT count(*) FROM inference WHERE status = 'deadline_missed'",
    "payload_faults": "SELECT count(*) FROM fault WHERE component = 'payload'",
    "station_utilisation": "SELECT sum(transmit_s) / nullif(sum(usable_s), 0) FROM pass",
    "captures": "SELECT count(*) FROM capture",
    "frames_processed": "SELECT count(*) FROM inference WHERE status = 'ok'",
    "frames_unprocessed": "SELECT count(*) FROM inference WHERE status <> 'ok'",
    "tiles": "SELECT coalesce(sum(len(tile_sha256)), 0)::BIGINT FROM inference WHERE status = 'ok'",
    "distinct_tiles": """
        SELECT count(*) FROM (SELECT DISTINCT model_sha256, unnest(tile_sha256) FROM inference
                              WHERE status = 'ok')""",
    "model_calls": "SELECT coalesce(sum(model_calls), 0)::BIGINT FROM host_inference",
    "products": "SELECT count(*) FROM product WHERE kind = 'pixels'",
    "products_delivered": "SELECT count(*) FROM delivered",
    "previews_delivered": """
        SELECT count(*) FROM product p JOIN downlink l USING (product)
        WHERE p.kind <> 'pixels' AND l.complete""",
    "pixels_released": "SELECT count(*) FROM storage WHERE change = 'dropped_released'",
    "passes": "SELECT count(*) FROM pass",
}

_BY_SURFACE: dict[str, str] = {
    "false_cloud_fraction_by_surface": """
        SELECT c.surface, sum(i.clear_px_called_cloud) / nullif(sum(i.clear_px), 0)
        FROM inference i JOIN capture c USING (capture) WHERE i.status = 'ok'
        GROUP BY c.surface ORDER BY c.surface""",
    "false_discard_fraction_by_surface": """
        SELECT c.surface, coalesce(sum(d.clear_px_false_discard), 0) / nullif(sum(c.clear_px), 0)
        FROM capture c LEFT JOIN decision d USING (capture)
        GROUP BY c.surface ORDER BY c.surface""",
}

_CLEAR_IN_TIME = """
    FROM delivered d JOIN targets t ON t.name = d.target
    WHERE d.region_px > 0 AND 1 - d.clear_px / d.region_px < t.cloud_limit
      AND (t.deadline_s IS NULL OR d.delivered_s <= t.deadline_s)"""

_SATISFIED = f"SELECT d.target, min(d.delivered_s) {_CLEAR_IN_TIME} GROUP BY d.target"

_PERIODS_SATISFIED = f"SELECT DISTINCT d.target, d.period {_CLEAR_IN_TIME}"


def compute_metrics(run: RunFolder) -> Metrics:
    """Compute every metric of a run, complete or not (then over the time it covers).

    Parameters
    ----------
    run : RunFolder

    Returns
    -------
    Metrics

    Raises
    ------
    RunFolderError
        If a file of the run is missing or damaged.
    """
    parameters = {"horizon_s": run.horizon_s}
    with _database(run) as database:
        values: dict[str, Any] = {
            name: _query(database, sql, parameters)[0][0] for name, sql in _SCALARS.items()
        }
        for name, sql in _BY_SURFACE.items():
            values[name] = dict(_query(database, sql, parameters))
        satisfied_s = dict(_query(database, _SATISFIED, parameters))
        periods = set(_query(database, _PERIODS_SATISFIED, parameters))
        values["clear_km2_delivered"] = _clear_km2_delivered(run, database)
        values["real_time_factor"] = _real_time_factor(run, database)
    properties = run.target_properties()
    targets = len(properties)
    wait = time_to_clear(list(satisfied_s.values()), targets, run.horizon_s)
    energy_wh = values["payload_energy_wh"]
    values |= dataclasses.asdict(revisits(properties, periods, run.horizon_s))
    return Metrics(
        targets=targets,
        targets_satisfied=len(satisfied_s),
        targets_satisfied_fraction=len(satisfied_s) / targets if targets else None,
        time_to_clear_h_median=wait.median_h,
        time_to_clear_h_restricted_mean=wait.restricted_mean_h,
        clear_km2_per_wh=values["clear_km2_delivered"] / energy_wh if energy_wh else None,
        **values,
    )


def target_cloud_limits(run: RunFolder) -> dict[str, float]:
    """Cover below which each target is satisfied: its own, or that of the scenario."""
    scenario = run.scenario()
    try:
        general = float(scenario["autonomy"]["target_cloud_fraction"])
    except (KeyError, TypeError, ValueError):
        raise RunFolderError(
            f"{run.path / 'scenario.yaml'}: autonomy.target_cloud_fraction is no number. {RESTORE}"
        ) from None
    own = {name: p.get("max_cloud_fraction") for name, p in run.target_properties().items()}
    return {name: general if limit is None else float(limit) for name, limit in own.items()}


def satisfied_times_s(run: RunFolder) -> dict[str, float]:
    """When each satisfied target was: the first product that shows it clear is on the ground.

    What comes down after the target's deadline has no worth and satisfies nobody.
    """
    with _database(run) as database:
        return dict(_query(database, _SATISFIED, {}))


def _database(run: RunFolder) -> duckdb.DuckDBPyConnection:
    """An in-memory database with one table per event type, and the targets.

    One thread, because the order of summation decides the last bits of a float.
    """
    database = duckdb.connect(config={"threads": 1})
    for name in EVENT_TYPES:
        database.register(name, run.events(name))
    for name in HOST_EVENT_TYPES:
        database.register(f"host_{name}", run.host_events(name))
    database.register("targets", _target_table(run))
    power = run.events("power")
    database.register("power_rows", power.append_column("row", [np.arange(power.num_rows)]))
    database.execute(_VIEWS)
    return database


def _target_table(run: RunFolder) -> pa.Table:
    """Name, cloud limit and deadline (null without one) of each target."""
    limits = target_cloud_limits(run)
    deadlines_h = {name: p.get("deadline_h") for name, p in run.target_properties().items()}
    deadlines_s = [None if hours is None else hours * 3600.0 for hours in deadlines_h.values()]
    return pa.table(
        {
            "name": pa.array(list(limits), pa.string()),
            "cloud_limit": pa.array(list(limits.values()), pa.float64()),
            "deadline_s": pa.array(deadlines_s, pa.float64()),
        }
    )


def _query(
    database: duckdb.DuckDBPyConnection, sql: str, parameters: Mapping[str, float]
) -> list[tuple[Any, ...]]:
    used = {name: value for name, value in parameters.items() if f"${name}" in sql}
    return database.execute(sql, used).fetchall()


def _clear_km2_delivered(run: RunFolder, database: duckdb.DuckDBPyConnection) -> float:
    deliveries: dict[str, list[Delivery]] = defaultdict(list)
    for target, truth_sha256, kept_blocks, gsd_m, clear_px in _query(
        database, "SELECT target, truth_sha256, kept_blocks, gsd_m, clear_px FROM delivered", {}
    ):
        deliveries[target].append(Delivery(truth_sha256, tuple(kept_blocks), gsd_m, clear_px))
    return sum((covered_km2(run, deliveries[target]) for target in sorted(deliveries)), 0.0)


def _real_time_factor(run: RunFolder, database: duckdb.DuckDBPyConnection) -> float | None:
    wall_s = _query(
        database,
        "SELECT coalesce(sum(wall_s) FILTER (phase = 'total'), sum(wall_s)) FROM host_run",
        {},
    )[0][0]
    return run.horizon_s / wall_s if wall_s else None
