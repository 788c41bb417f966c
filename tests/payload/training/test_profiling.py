"""Profiling: plausible, comparable figures, and that the card keeps them."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path

import pytest

from payload.card import MODELS_DIR
from payload.card_file import read_card, save_card
from payload.card_library import load_card
from payload.training import profiling


@pytest.fixture(scope="module")
def measured() -> profiling.Profile:
    (found,) = profiling.profile([load_card("threshold")], rounds=2)
    return found


def test_figures_hang_together(measured: profiling.Profile) -> None:
    for threads in profiling.THREADS:
        latency = measured.latency[threads]
        assert 0 < latency.least_s <= latency.median_s
        assert latency.runs == 2
        assert measured.megapixels_per_s[threads] == pytest.approx(
            512 * 512 / latency.least_s / 1e6
        )
        assert measured.gflop_per_s[threads] == pytest.approx(
            2 * measured.macs_per_px * measured.megapixels_per_s[threads] / 1e3
        )
        assert 0 < measured.share_of_peak[threads] < 1
    assert 20 < measured.peak_memory_mib < 500


def test_card_keeps_what_was_measured(measured: profiling.Profile, tmp_path: Path) -> None:
    for suffix in (".onnx", ".yaml"):
        shutil.copy(MODELS_DIR / f"threshold{suffix}", tmp_path)
    path = tmp_path / "threshold.yaml"
    save_card(profiling.recorded(read_card(path), measured), path)
    kept = read_card(path)
    assert kept.peak_memory_provenance == "measured"
    assert kept.peak_memory_mib == pytest.approx(measured.peak_memory_mib, abs=0.05)
    assert set(kept.measurements["profile"]["threads"]) == set(profiling.THREADS)
    assert kept.sha256 == load_card("threshold").sha256


def test_two_cards_of_one_name_keep_their_own_time(tmp_path: Path) -> None:
    shutil.copy(MODELS_DIR / "unet-distilled-480k.onnx", tmp_path / "threshold.onnx")
    large = load_card("unet-distilled-480k")
    namesake = dataclasses.replace(large, name="threshold", onnx="threshold.onnx", folder=tmp_path)
    save_card(namesake, namesake.path)
    small, other = profiling.profile([load_card("threshold"), namesake], rounds=2)
    for threads in profiling.THREADS:
        assert small.latency[threads] != other.latency[threads]
