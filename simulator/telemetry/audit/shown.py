"""What a frame's product does not show clear, counted again from what the run folder holds.

A pixel without data is neither clear nor cloud: shares are of the valid pixels of the region of
interest, and where none is valid nothing is shown clear.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from payload.frame import BLOCK_PX, NO_DATA
from simulator.telemetry.audit.findings import RunLog
from simulator.telemetry.audit.pixels import region_of
from simulator.telemetry.events import Decision, Inference


class Shown:
    """Shares of the region, 0..1, that the kept blocks of a frame do not show clear.

    Parameters
    ----------
    log : RunLog
    """

    def __init__(self, log: RunLog) -> None:
        self._log = log
        self._counted = lru_cache(maxsize=None)(self._count)  # many captures share a mask

    def by_truth(self, decision: Decision) -> float:
        """By the truth, in pixels that the check of pixels counts again."""
        labelled_px = decision.region_px
        return 1.0 - decision.clear_px_kept / labelled_px if labelled_px else 1.0

    def by_payload(self, seen: Inference, decision: Decision) -> float:
        """By the cover per block that the payload reported, and the valid pixels of its mask."""
        _, valid_px = self._counted(seen.mask_sha256)
        return self._not_clear(seen.block_cover, valid_px, decision)

    def by_ground(self, mask_sha256: str, decision: Decision) -> float:
        """By the ground's own mask alone."""
        covers, valid_px = self._counted(mask_sha256)
        return self._not_clear(covers, valid_px, decision)

    def _not_clear(
        self, covers: Sequence[float], valid_px: NDArray[np.int64], decision: Decision
    ) -> float:
        region_px = int(valid_px[list(region_of(self._log, decision.satellite))].sum())
        clear_px = sum((1.0 - covers[i]) * int(valid_px[i]) for i in decision.kept_blocks)
        return 1.0 - clear_px / region_px if region_px else 1.0

    def _count(self, mask_sha256: str) -> tuple[tuple[float, ...], NDArray[np.int64]]:
        """Cloud cover of each block of a mask, to two places, and its valid pixels; row-major."""
        mask = self._log.run.mask(mask_sha256)
        valid_px = _per_block(mask != NO_DATA)
        cloud_px = _per_block((mask != NO_DATA) & (mask != 0))
        counts = zip(cloud_px.tolist(), valid_px.tolist(), strict=True)
        return tuple(round(cloud / valid, 2) if valid else 1.0 for cloud, valid in counts), valid_px


def _per_block(pixels: NDArray[np.bool_]) -> NDArray[np.int64]:
    """How many pixels are set in each block of a raster (H, W); row-major."""
    sums = pixels.astype(np.int64)
    for axis, size in enumerate(pixels.shape):
        sums = np.add.reduceat(sums, np.arange(0, size, BLOCK_PX), axis=axis)
    return sums.ravel()
