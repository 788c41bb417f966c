"""Metrics again, by plain sums over the rows, and held against ``metrics.json``."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from payload.frame import BLOCK_PX
from simulator.telemetry import events as ev
from simulator.telemetry.audit.areas import recount
from simulator.telemetry.audit.findings import Finding, RunLog, by_satellite, is_pixels

RELATIVE_TOLERANCE = 1e-9
MIB = 2**20


def check_metrics(log: RunLog) -> Iterator[Finding]:
    """Recompute every metric that the run stores."""
    stored = log.run.metrics()
    recomputed = recompute(log)
    for name in sorted(stored.keys() ^ recomputed.keys()):
        yield Finding("metrics.json", f"{name} is stored or recomputed, not both")
    for name in sorted(stored.keys() & recomputed.keys()):
        if not _same(stored[name], recomputed[name]):
            yield Finding(
                "metrics.json", f"{name} is {stored[name]}, recomputed {recomputed[name]}"
            )


def recompute(log: RunLog) -> dict[str, Any]:
    """All metrics by name, as `simulator.telemetry.metrics` defines them."""
    complete = {row.product: row for row in log.downlinks if row.complete}
    delivered = [
        product for product in log.products if product.product in complete and is_pixels(product)
    ]
    ends_s = {product.product: complete[product.product].end_s for product in delivered}
    return {
        **_delivered(log, delivered, ends_s),
        **_lost(log),
        **_targets(log, delivered, ends_s),
        **_margins(log),
        **_counts(log, delivered, complete),
        **_cost(log, _covered_km2(log, delivered)),
    }


def _delivered(
    log: RunLog, delivered: list[ev.Product], ends_s: Mapping[str, float]
) -> dict[str, Any]:
    captures = log.capture_by_name
    clear_px = sum(p.clear_px for p in delivered)
    cloud_px = sum(p.cloud_px for p in delivered)
    waits_h = sorted((ends_s[p.product] - captures[p.capture].t_s) / 3600.0 for p in delivered)
    pushed_out = sum(
        s.delta_bytes
        for s in log.storages
        if s.change in ("dropped_overflow", "dropped_fault") and s.product
    )
    kept = sum(d.bytes_kept for d in log.decisions)
    squeezed = sum(s.delta_bytes for s in log.storages if s.change == "compressed")
    queued = sum(p.bytes for p in log.products)
    raw = sum(d.bytes_raw for d in log.decisions if captures[d.capture].stored)
    return {
        "clear_km2_delivered_with_repeats": math.fsum(
            p.clear_px * captures[p.capture].gsd_m ** 2 / 1e6 for p in delivered
        ),
        "clear_fraction_delivered": _ratio(clear_px, clear_px + cloud_px),
        "cloud_leakage_fraction": _ratio(cloud_px, sum(c.cloud_px for c in log.captures)),
        "onboard_reduction_fraction": None if raw == 0 else 1.0 - queued / raw,
        "compression_ratio": _ratio(kept + squeezed, kept),
        "backlog_mib": (queued - sum(d.bytes for d in log.downlinks) - pushed_out) / MIB,
        "delivery_latency_h_p50": _quantile(waits_h, 0.5),
        "delivery_latency_h_p90": _quantile(waits_h, 0.9),
    }


def _covered_km2(log: RunLog, delivered: list[ev.Product]) -> float:
    """Truth-clear ground, each pixel of a target once: painted on one canvas per target."""
    kept = {d.capture: d.kept_blocks for d in log.decisions}
    by_target: dict[str, list[ev.Capture]] = defaultdict(list)
    for product in delivered:
        by_target[product.target].append(log.capture_by_name[product.capture])
    truth = lru_cache(maxsize=32)(log.run.truth)
    areas_km2 = []
    for captures in by_target.values():
        finest_m = min(capture.gsd_m for capture in captures)
        pictures = [
            (_shown_clear(truth(c.truth_sha256), kept[c.capture]), c.gsd_m) for c in captures
        ]
        seen = pictures[0][0] if len(pictures) == 1 else _painted(pictures, finest_m)
        areas_km2.append(np.count_nonzero(seen) * finest_m**2 / 1e6)
    return math.fsum(areas_km2)


def _painted(pictures: list[tuple[NDArray[np.bool_], float]], finest_m: float) -> NDArray[np.bool_]:
    height, width = np.max(
        [np.round(np.array(picture.shape) * gsd_m / finest_m) for picture, gsd_m in pictures],
        axis=0,
    ).astype(int)
    # Metres from the target's centre; a picture is looked up where they fall.
    y_m = (np.arange(height) - (height - 1) / 2) * finest_m
    x_m = (np.arange(width) - (width - 1) / 2) * finest_m
    canvas = np.zeros((height, width), dtype=bool)
    for picture, gsd_m in pictures:
        canvas |= _look_up(picture, y_m / gsd_m, x_m / gsd_m)
    return canvas


def _shown_clear(truth: NDArray[np.uint8], kept: tuple[int, ...]) -> NDArray[np.bool_]:
    rows, columns = (np.arange(n) // BLOCK_PX for n in truth.shape)
    wanted = np.zeros((rows[-1] + 1) * (columns[-1] + 1), dtype=bool)
    wanted[list(kept)] = True
    block = rows[:, None] * (columns[-1] + 1) + columns[None, :]
    return np.asarray(wanted[block] & ((truth == 0) | (truth == 3)))


def _look_up(
    picture: NDArray[np.bool_], y_px: NDArray[np.float64], x_px: NDArray[np.float64]
) -> NDArray[np.bool_]:
    rows = np.floor(y_px + picture.shape[0] / 2).astype(int)
    columns = np.floor(x_px + picture.shape[1] / 2).astype(int)
    framed = np.pad(picture, 1)
    return np.asarray(
        framed[
            np.clip(rows + 1, 0, framed.shape[0] - 1)[:, None],
            np.clip(columns + 1, 0, framed.shape[1] - 1)[None, :],
        ]
    )


def _lost(log: RunLog) -> dict[str, Any]:
    captures = log.capture_by_name
    captured_px = sum(c.clear_px for c in log.captures)
    seen = [row for row in log.inferences if row.status == "ok"]
    false_px = {row.capture: row.clear_px_false_discard for row in log.decisions}
    pushed_out = {row.capture for row in log.storages if row.change == "dropped_overflow"}
    kept_px = {d.capture: d.clear_px_kept for d in log.decisions if d.bytes_kept > 0}
    return {
        "false_cloud_fraction": _ratio(
            sum(row.clear_px_called_cloud for row in seen), sum(row.clear_px for row in seen)
        ),
        "false_cloud_fraction_by_surface": _by(
            (captures[row.capture].surface, row.clear_px_called_cloud, row.clear_px) for row in seen
        ),
        "false_discard_fraction": _ratio(sum(false_px.values()), captured_px),
        "false_discard_fraction_by_surface": _by(
            (row.surface, false_px.get(row.capture, 0), row.clear_px) for row in log.captures
        ),
        "policy_loss_fraction": _ratio(
            sum(
                row.clear_px - row.clear_px_perfect
                for row in log.decisions
                if captures[row.capture].stored
            ),
            captured_px,
        ),
        "overflow_loss_fraction": _ratio(
            sum(
                kept_px[name] if name in kept_px else captures[name].clear_px for name in pushed_out
            ),
            captured_px,
        ),
        "storage_overflow_mib": sum(
            row.delta_bytes for row in log.storages if row.change == "dropped_overflow"
        )
        / MIB,
    }


def _targets(
    log: RunLog, delivered: list[ev.Product], ends_s: Mapping[str, float]
) -> dict[str, Any]:
    general = log.scenario["autonomy"]["target_cloud_fraction"]
    limits = {
        name: general
        if properties.get("max_cloud_fraction") is None
        else properties["max_cloud_fraction"]
        for name, properties in log.targets.items()
    }
    deadlines_s = {
        name: 3600.0 * properties["deadline_h"]
        for name, properties in log.targets.items()
        if properties.get("deadline_h") is not None
    }
    region_px = {row.capture: row.region_px for row in log.decisions}
    first_s: dict[str, float] = {}
    periods: set[tuple[str, int]] = set()
    for product in delivered:
        labelled_px = region_px[product.capture]
        if labelled_px and 1.0 - product.clear_px / labelled_px < limits[product.target]:
            end_s = ends_s[product.product]
            if end_s <= deadlines_s.get(product.target, math.inf):
                first_s[product.target] = min(end_s, first_s.get(product.target, end_s))
                periods.add((product.target, log.capture_by_name[product.capture].period))
    clear_again = _clear_again(log, limits)
    median_h, mean_h = _kaplan_meier(sorted(first_s.values()), len(limits), log.run.horizon_s)
    return {
        **recount(log, periods),
        "targets": len(limits),
        "targets_satisfied": len(first_s),
        "targets_satisfied_fraction": _ratio(len(first_s), len(limits)),
        "time_to_clear_h_median": median_h,
        "time_to_clear_h_restricted_mean": mean_h,
        "reacquisitions": sum(c.reacquisition for c in log.captures),
        "reacquisition_success_fraction": _ratio(sum(clear_again), len(clear_again)),
    }


def _clear_again(log: RunLog, limits: Mapping[str, float]) -> list[bool]:
    """Whether each reacquisition came clear: of its region, where a part of the frame is wanted."""
    decisions = {row.capture: row for row in log.decisions}
    found = []
    for capture in log.captures:
        clear_px, labelled_px = capture.clear_px, capture.clear_px + capture.cloud_px
        if not capture.reacquisition or not labelled_px:
            continue
        decision = decisions.get(capture.capture)
        if capture.stored and decision is not None and decision.region_px < labelled_px:
            clear_px, labelled_px = decision.clear_px_perfect, decision.region_px
        if labelled_px:
            found.append(1.0 - clear_px / labelled_px < limits[capture.target])
    return found


def _kaplan_meier(
    satisfied_s: list[float], targets: int, horizon_s: float
) -> tuple[float | None, float | None]:
    """Product-limit estimate, step by step; all censoring is at the horizon."""
    if targets == 0 or horizon_s <= 0.0:
        return None, None
    survival, area_s, last_s, median_s = 1.0, 0.0, 0.0, None
    for number, t_s in enumerate(satisfied_s):
        area_s += survival * (t_s - last_s)
        survival, last_s = 1.0 - (number + 1) / targets, t_s
        # Ties fall together: half is reached only when the next target waits longer.
        tied = number + 1 < len(satisfied_s) and satisfied_s[number + 1] == t_s
        if median_s is None and not tied and 2 * (number + 1) >= targets:
            median_s = t_s
    area_s += survival * (horizon_s - last_s)
    return (None if median_s is None else median_s / 3600.0), area_s / 3600.0


def _cost(log: RunLog, covered_km2: float) -> dict[str, Any]:
    last = [rows[-1] for rows in by_satellite(log.powers).values()]
    payload_wh = math.fsum(row.payload_wh for row in last)
    wall_s = {row["phase"]: row["wall_s"] for row in log.run.host_events("run").to_pylist()}
    total_s = wall_s.get("total", math.fsum(wall_s.values()))
    return {
        "clear_km2_delivered": covered_km2,
        "payload_energy_wh": payload_wh,
        "payload_energy_share": _ratio(payload_wh, math.fsum(row.consumed_wh for row in last)),
        "clear_km2_per_wh": _ratio(covered_km2, payload_wh),
        "real_time_factor": _ratio(log.run.horizon_s, total_s),
    }


def _margins(log: RunLog) -> dict[str, Any]:
    low_s = 0.0
    for rows in by_satellite(log.powers).values():
        ends_s = [row.t_s for row in rows[1:]] + [max(rows[-1].t_s, log.run.horizon_s)]
        low_s += math.fsum(
            end_s - row.t_s for row, end_s in zip(rows, ends_s, strict=True) if row.low_power
        )
    look_ahead_ws = math.fsum(
        before.look_ahead_w * (after.t_s - before.t_s)
        for rows in by_satellite(log.powers).values()
        for before, after in pairwise(rows)
    )
    turned_away = {("captured", row.capture) for row in log.captures if not row.stored}
    return {
        "look_ahead_energy_wh": look_ahead_ws / 3600.0,
        "battery_min_fraction": min((row.charge_fraction for row in log.powers), default=None),
        "low_power_h": low_s / 3600.0,
        "storage_peak_fraction": max(
            (
                row.stored_bytes / row.capacity_bytes
                for row in log.storages
                if (row.change, row.capture) not in turned_away
            ),
            default=0.0,
        ),
        "station_utilisation": _ratio(
            math.fsum(row.transmit_s for row in log.passes),
            math.fsum(row.usable_s for row in log.passes),
        ),
    }


def _counts(
    log: RunLog, delivered: list[ev.Product], complete: Mapping[str, ev.Downlink]
) -> dict[str, Any]:
    seen = [row for row in log.inferences if row.status == "ok"]
    calls = log.run.host_events("inference")["model_calls"].to_pylist()
    gaps = log.run.host_events("planning")["gap_fraction"].to_pylist()
    return {
        "captures": len(log.captures),
        "frames_processed": len(seen),
        "frames_unprocessed": len(log.inferences) - len(seen),
        "tiles": sum(len(row.tile_sha256) for row in seen),
        "distinct_tiles": len({(row.model_sha256, t) for row in seen for t in row.tile_sha256}),
        "model_calls": sum(calls),
        "products": sum(is_pixels(product) for product in log.products),
        "products_delivered": len(delivered),
        "previews_delivered": len(complete) - len(delivered),
        "pixels_released": sum(row.change == "dropped_released" for row in log.storages),
        "passes": len(log.passes),
        "plans": len(gaps),
        "plan_gap_fraction": max((gap for gap in gaps if gap >= 0.0), default=None),
        "glances": sum(row.outcome == "seen" for row in log.glances),
        "deadline_misses": sum(row.status == "deadline_missed" for row in log.inferences),
        "payload_faults": sum(row.component == "payload" for row in log.faults),
    }


def _ratio(part: float, whole: float) -> float | None:
    return part / whole if whole else None


def _by(rows: Iterable[tuple[str, int, int]]) -> dict[str, float | None]:
    sums: dict[str, tuple[int, int]] = {}
    for key, part, whole in rows:
        before = sums.get(key, (0, 0))
        sums[key] = (before[0] + part, before[1] + whole)
    return {key: _ratio(*pair) for key, pair in sums.items()}


def _quantile(ordered: list[float], level: float) -> float | None:
    """Linear interpolation between order statistics."""
    if not ordered:
        return None
    place = level * (len(ordered) - 1)
    low = math.floor(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (place - low) * (ordered[high] - ordered[low])


def _same(a: Any, b: Any) -> bool:
    if isinstance(a, Mapping) and isinstance(b, Mapping):
        return a.keys() == b.keys() and all(_same(a[key], b[key]) for key in a)
    if isinstance(a, int | float) and isinstance(b, int | float):
        return math.isclose(a, b, rel_tol=RELATIVE_TOLERANCE, abs_tol=RELATIVE_TOLERANCE)
    return a is None and b is None
