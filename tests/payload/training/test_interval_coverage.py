"""How often an interval over patches holds the true value: what `FEW_PATCHES` says, simulated."""

from __future__ import annotations

import numpy as np
import pytest

from payload.training.evaluation import FEW_PATCHES, FIGURES, interval, redrawn_patches

PATCH_PX = 65536.0
SETS = 300
REDRAWS = 400
COVERAGE_TOLERANCE = 0.06
NO_BINS = np.empty((0, 3))


def patches(count: int, rng: np.random.Generator) -> np.ndarray:
    """Counts of patches, clear, cloudy or between, by a detector good on most, (count, 4)."""
    cloud_px = PATCH_PX * rng.beta(0.5, 0.5, count)
    found, called = rng.beta(6, 2, count), rng.beta(1, 12, count)
    clear_px = PATCH_PX - cloud_px
    columns = (cloud_px * found, clear_px * called, cloud_px * (1 - found), clear_px * (1 - called))
    return np.stack(columns, axis=1)


def coverage(count: int) -> float:
    rng = np.random.default_rng(1)
    jaccard, drawn = FIGURES["jaccard"], redrawn_patches(count)[:REDRAWS]
    everything = patches(200_000, rng)
    truth = float(jaccard(np.ones((1, len(everything))), everything, NO_BINS)[0])
    held = 0
    for _ in range(SETS):
        counts = patches(count, rng)
        value = float(jaccard(np.ones((1, count)), counts, NO_BINS)[0])
        found = interval(value, jaccard(drawn, counts, NO_BINS), count)
        held += found.low <= truth <= found.high
    return held / SETS


@pytest.mark.parametrize(
    ("count", "held"), [(2, 0.50), (3, 0.73), (5, 0.82), (8, 0.88), (20, 0.93)]
)
def test_intervals_of_few_patches_are_too_narrow(count: int, held: float) -> None:
    found = coverage(count)
    assert found == pytest.approx(held, abs=COVERAGE_TOLERANCE)
    assert (count < FEW_PATCHES) == (found < 0.91)
