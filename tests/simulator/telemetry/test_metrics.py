"""Metrics of the mini mission (see conftest) against figures worked out by hand."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulator.telemetry.audit.accounts import check_metrics
from simulator.telemetry.audit.findings import RunLog
from simulator.telemetry.coverage import Delivery, clear_pixels, covered_km2
from simulator.telemetry.metrics import METRICS, Metrics, compute_metrics
from simulator.telemetry.run_folder import RunFolder

BLOCK_PX = 256 * 256
FRAME_PX = 4 * BLOCK_PX
PX_KM2 = 1e-4
CLEAR_CAPTURED_PX = 2 * BLOCK_PX + FRAME_PX + 0 + FRAME_PX - 1
EXACT = 1e-12


def with_regions(run: RunFolder, clear_px: int) -> RunFolder:
    """The mini mission as if only one block of each frame had been wanted."""
    path = run.path / "events" / "decision.parquet"
    rows = pq.read_table(path).to_pylist()
    for row in rows:
        row |= {"region_px": BLOCK_PX, "clear_px_perfect": clear_px}
    pq.write_table(pa.Table.from_pylist(rows, pq.read_schema(path)), path)
    return run


@pytest.mark.parametrize(("clear_px", "expected"), [(BLOCK_PX, 1.0), (BLOCK_PX // 2, 0.0)])
def test_a_reacquisition_comes_clear_where_its_region_does(
    mini_run: RunFolder, clear_px: int, expected: float
) -> None:
    cropped = with_regions(mini_run, clear_px)
    assert compute_metrics(cropped).reacquisition_success_fraction == expected
    counted_again = [f.message for f in check_metrics(RunLog(cropped))]
    told = [text for text in counted_again if text.startswith("reacquisition_success_fraction")]
    assert bool(told) == (expected != 1.0)  # metrics.json still has what the whole frames gave


@pytest.fixture(scope="module")
def metrics(
    tmp_path_factory: pytest.TempPathFactory,
    build_run_once: Callable[[Path], RunFolder],
) -> Metrics:
    return compute_metrics(build_run_once(tmp_path_factory.mktemp("metrics") / "mini"))


def test_a_ground_pixel_counts_once(metrics: Metrics) -> None:
    # c2 shows all of A clear (shadow is ground), c1 the right half of it again.
    assert metrics.clear_km2_delivered == pytest.approx(FRAME_PX * PX_KM2, rel=EXACT)
    repeats_px = FRAME_PX + 2 * BLOCK_PX
    assert metrics.clear_km2_delivered_with_repeats == pytest.approx(repeats_px * PX_KM2, rel=EXACT)


def test_what_arrived(metrics: Metrics) -> None:
    assert metrics.clear_fraction_delivered == 1.0
    assert metrics.cloud_leakage_fraction == 0.0
    assert (metrics.products, metrics.products_delivered) == (3, 2)
    assert metrics.onboard_reduction_fraction == pytest.approx(1 - 9 / 16, rel=EXACT)
    assert metrics.backlog_mib == pytest.approx(2 * BLOCK_PX * 6 / 2**20, rel=EXACT)


def test_what_was_lost(metrics: Metrics) -> None:
    lost_px = BLOCK_PX
    assert metrics.false_cloud_fraction == pytest.approx(lost_px / CLEAR_CAPTURED_PX, rel=EXACT)
    assert metrics.false_discard_fraction == pytest.approx(lost_px / CLEAR_CAPTURED_PX, rel=EXACT)
    assert metrics.false_cloud_fraction_by_surface == {
        "forest": 0.0,
        "water": pytest.approx(lost_px / (FRAME_PX - 1), rel=EXACT),
    }
    assert metrics.false_discard_fraction_by_surface == metrics.false_cloud_fraction_by_surface
    assert metrics.policy_loss_fraction == 0.0
    assert metrics.overflow_loss_fraction == 0.0
    assert metrics.storage_overflow_mib == 0.0


def test_targets(metrics: Metrics) -> None:
    # A is satisfied by c2, not by c1 (half a frame); B is still on board; C was never seen.
    assert (metrics.targets, metrics.targets_satisfied) == (3, 1)
    assert metrics.targets_satisfied_fraction == pytest.approx(1 / 3, rel=EXACT)
    arrival_s = 9000 + 6 * BLOCK_PX * 6 * 8 / 1e6
    assert metrics.time_to_clear_h_median is None
    expected_s = arrival_s + (21600 - arrival_s) * 2 / 3
    assert metrics.time_to_clear_h_restricted_mean == pytest.approx(expected_s / 3600, rel=EXACT)
    assert (metrics.reacquisitions, metrics.reacquisition_success_fraction) == (2, 1.0)


@pytest.mark.parametrize(("margin_s", "satisfied"), [(1.0, 1), (-1.0, 0)])
def test_what_arrives_after_the_deadline_satisfies_nobody(
    mini_run: RunFolder, margin_s: float, satisfied: int
) -> None:
    arrival_s = 9000 + 6 * BLOCK_PX * 6 * 8 / 1e6
    path = mini_run.path / "targets.geojson"
    targets = json.loads(path.read_text())
    for feature in targets["features"]:
        feature["properties"]["deadline_h"] = (arrival_s + margin_s) / 3600
    path.write_text(json.dumps(targets))
    found = compute_metrics(mini_run)
    assert found.targets_satisfied == satisfied
    assert (found.time_to_clear_h_restricted_mean == 6.0) == (not satisfied)
    told = [finding.message for finding in check_metrics(RunLog(mini_run))]
    assert any(text.startswith("targets_satisfied") for text in told) == (not satisfied)


def test_latency(metrics: Metrics) -> None:
    first_h = (9000 + 2 * BLOCK_PX * 48 / 1e6 - 1000) / 3600
    second_h = (9000 + 6 * BLOCK_PX * 48 / 1e6 - 7000) / 3600
    assert metrics.delivery_latency_h_p50 == pytest.approx((first_h + second_h) / 2, rel=EXACT)
    p90_h = second_h + 0.9 * (first_h - second_h)
    assert metrics.delivery_latency_h_p90 == pytest.approx(p90_h, rel=EXACT)


def test_cost(metrics: Metrics) -> None:
    payload_wh = (21600 * 0.2 + 4 * 10 * 1.6) / 3600
    imager_wh = 4 * (10 + 5.12 / 7) * 10 / 3600
    consumed_wh = payload_wh + imager_wh + (21600 * 6 + 2 * 40 * 5 + 15 * 2) / 3600
    assert metrics.payload_energy_wh == pytest.approx(payload_wh, rel=EXACT)
    assert metrics.payload_energy_share == pytest.approx(payload_wh / consumed_wh, rel=EXACT)
    km2_per_wh = metrics.clear_km2_delivered / payload_wh
    assert metrics.clear_km2_per_wh == pytest.approx(km2_per_wh, rel=EXACT)
    assert metrics.battery_min_fraction == pytest.approx(0.8, rel=EXACT)
    assert metrics.low_power_h == 0.0
    assert metrics.real_time_factor == 21600 / 2.0


def test_use_of_stations_and_storage(metrics: Metrics) -> None:
    sent_s = (6 + 1) * BLOCK_PX * 48 / 1e6
    assert metrics.station_utilisation == pytest.approx(sent_s / 80, rel=EXACT)
    peak_bytes = (2 + 4 + 4) * BLOCK_PX * 6
    assert metrics.storage_peak_fraction == pytest.approx(peak_bytes / 2**31, rel=EXACT)


def test_counts(metrics: Metrics) -> None:
    assert (metrics.captures, metrics.frames_processed, metrics.frames_unprocessed) == (4, 4, 0)
    # c2 (shadow) and c4 (clear) look the same from above: one tile, inferred once.
    assert (metrics.tiles, metrics.distinct_tiles, metrics.passes) == (4, 3, 2)


def test_every_metric_is_described_and_serialisable(metrics: Metrics) -> None:
    assert list(METRICS) == [field.name for field in fields(Metrics)]
    assert all(info.meaning for info in METRICS.values())
    assert json.loads(json.dumps(metrics.to_dict(), allow_nan=False)) == metrics.to_dict()


def test_nothing_happened_gives_none_instead_of_a_ratio(
    empty_run: Callable[[Path], RunFolder], tmp_path: Path
) -> None:
    metrics = compute_metrics(empty_run(tmp_path / "empty"))
    assert metrics.clear_km2_delivered == 0.0
    for name in (
        "clear_fraction_delivered",
        "onboard_reduction_fraction",
        "false_cloud_fraction",
        "false_discard_fraction",
        "cloud_leakage_fraction",
        "reacquisition_success_fraction",
        "delivery_latency_h_p50",
        "clear_km2_per_wh",
        "station_utilisation",
        "real_time_factor",
    ):
        assert getattr(metrics, name) is None, name
    json.dumps(metrics.to_dict(), allow_nan=False)


def test_union_of_frames_of_different_cells(mini_run: RunFolder) -> None:
    """The same ground at 10 m and at 20 m: the coarse frame is four times as large."""
    captures = mini_run.events("capture").to_pylist()
    clear = captures[1]["truth_sha256"]
    everything = (0, 1, 2, 3)
    fine = Delivery(clear, everything, 10.0, FRAME_PX)
    coarse = Delivery(clear, everything, 20.0, FRAME_PX)
    assert covered_km2(mini_run, [fine, coarse]) == pytest.approx(coarse.clear_km2, rel=EXACT)


@given(st.sets(st.integers(0, 5)), st.sets(st.integers(0, 5)))
@settings(deadline=None)
def test_clear_pixels_follow_the_kept_blocks(one: set[int], other: set[int]) -> None:
    truth = np.zeros((300, 600), dtype=np.uint8)
    truth[10:20, 10:20] = 1
    union = clear_pixels(truth, sorted(one)) | clear_pixels(truth, sorted(other))
    assert np.array_equal(union, clear_pixels(truth, sorted(one | other)))
    assert clear_pixels(truth, range(6)).sum() == truth.size - 100
