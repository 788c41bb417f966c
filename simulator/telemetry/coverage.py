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
    shown = [
        (clear_pixels(run.truth(truth_sha256), kept_blocks), gsd_m)
        for truth_sha256, kept_blocks, gsd_m in distinct
    ]
    finest_m = min(gsd_m for _, gsd_m in shown)
    rows, columns = (
        max(round(raster.shape[axis] * gsd_m / finest_m) for raster, gsd_m in shown)
        for axis in (0, 1)
    )
    seen = np.zeros((rows, columns), dtype=bool)
    for raster, gsd_m in shown:
        seen |= _on_grid(raster, gsd_m / finest_m, (rows, columns))
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


def _on_grid(shown: NDArray[np.bool_], ratio: float, shape: tuple[int, int]) -> NDArray[np.bool_]:
    """Look pixels up on a grid of the same centre whose pixels are `ratio` times finer."""
    if ratio == 1.0 and shown.shape == shape:
        return shown
    rows, columns = (
        np.floor((np.arange(n) + 0.5 - n / 2) / ratio + size / 2).astype(int)
        for n, size in zip(shape, shown.shape, strict=True)
    )
    inside = np.outer(
        (rows >= 0) & (rows < shown.shape[0]), (columns >= 0) & (columns < shown.shape[1])
    )
    clipped = np.ix_(rows.clip(0, shown.shape[0] - 1), columns.clip(0, shown.shape[1] - 1))
    return np.asarray(shown[clipped] & inside)
