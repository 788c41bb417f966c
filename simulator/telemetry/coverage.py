"""What of a target reached the ground: truth-clear pixels, each counted once.

A target imaged again is the same ground seen again. Its delivered products are laid over each
other, centred on the target, and a ground pixel counts as soon as one of them shows it clear.
Only a product that arrived whole counts, and only its kept blocks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from payload.frame import BLOCK_PX
from simulator.telemetry.run_folder import RunFolder

CLEAR_CLASSES = (0, 3)
"""Truth classes that count as clear ground: clear, and shadow of a cloud."""


@dataclass(frozen=True)
class Delivery:
    """A product that reached the ground whole.

    Attributes
    ----------
    truth_sha256 : str
        Names the truth behind the capture.
    kept_blocks : tuple of int
        Row-major indices of the 256 px blocks that were sent.
    gsd_m : float
        Edge of a pixel on the ground.
    clear_px : int
        Truth-clear pixels in the kept blocks.
    """

    truth_sha256: str
    kept_blocks: tuple[int, ...]
    gsd_m: float
    clear_px: int

    @property
    def clear_km2(self) -> float:
        """Truth-clear area of this product alone."""
        return self.clear_px * pixel_km2(self.gsd_m)


def pixel_km2(gsd_m: float) -> float:
    """Area of a pixel on the ground, km2."""
    return gsd_m * gsd_m / 1e6


def covered_km2(run: RunFolder, deliveries: Sequence[Delivery]) -> float:
    """Area of one target that at least one of its delivered products shows clear.

    Parameters
    ----------
    run : RunFolder
        Holds the truth images.
    deliveries : sequence of Delivery
        All of the same target.
    """
    distinct = sorted({(d.truth_sha256, d.kept_blocks, d.gsd_m) for d in deliveries})
    if len(distinct) == 1:
        return deliveries[0].clear_km2
    finest_m = min(d.gsd_m for d in deliveries)
    seen = np.zeros((0, 0), dtype=bool)
    for truth_sha256, kept_blocks, gsd_m in distinct:
        shown = clear_pixels(run.truth(truth_sha256), kept_blocks)
        seen = _overlay(seen, _resampled(shown, gsd_m / finest_m))
    return int(seen.sum()) * pixel_km2(finest_m)


def clear_pixels(truth: NDArray[np.uint8], kept_blocks: Sequence[int]) -> NDArray[np.bool_]:
    """Truth-clear pixels inside the kept blocks.

    Parameters
    ----------
    truth : ndarray of uint8, shape (H, W)
    kept_blocks : sequence of int
        Row-major indices in the grid of ceil(H/256) x ceil(W/256) blocks.

    Returns
    -------
    ndarray of bool, shape (H, W)
    """
    columns = -(-truth.shape[1] // BLOCK_PX)
    shown = np.zeros(truth.shape, dtype=bool)
    for index in kept_blocks:
        top, left = (BLOCK_PX * place for place in divmod(index, columns))
        block = truth[top : top + BLOCK_PX, left : left + BLOCK_PX]
        shown[top : top + BLOCK_PX, left : left + BLOCK_PX] = np.isin(block, CLEAR_CLASSES)
    return shown


def _resampled(shown: NDArray[np.bool_], ratio: float) -> NDArray[np.bool_]:
    """Nearest-neighbour copy on pixels `ratio` times finer."""
    if ratio == 1.0:
        return shown
    rows, columns = (
        np.minimum((np.arange(round(n * ratio)) + 0.5) / ratio, n - 1).astype(int)
        for n in shown.shape
    )
    return np.asarray(shown[np.ix_(rows, columns)])


def _overlay(a: NDArray[np.bool_], b: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Union of two rasters with a common centre, on the smallest raster that holds both."""
    shape = (max(a.shape[0], b.shape[0]), max(a.shape[1], b.shape[1]))
    union = np.zeros(shape, dtype=bool)
    for raster in (a, b):
        top, left = ((outer - inner) // 2 for outer, inner in zip(shape, raster.shape, strict=True))
        union[top : top + raster.shape[0], left : left + raster.shape[1]] |= raster
    return union
