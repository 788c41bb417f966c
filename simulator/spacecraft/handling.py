"""What is done with the data of a frame that the policy keeps: crop, compress, preview, ration."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from payload.frame import BLOCK_PX, frame_cover
from simulator.autonomy.policies import cloud_mask
from simulator.environment.frames import CapturedPixels
from simulator.scenario import DataHandling, Imager, StorageQuota
from simulator.spacecraft.compression import (
    BlockSizes,
    mask_bytes,
    thumbnail_bytes,
    thumbnail_step,
)


@dataclass(frozen=True)
class Preview:
    """What goes down before the pixels.

    Attributes
    ----------
    kind : {"mask", "thumbnail"}
    size_bytes : int
    not_clear : float
        Part of the region of interest that the ground will see not clear in it.
    """

    kind: str
    size_bytes: int
    not_clear: float


class Handling:
    """The scenario's data handling for one imager.

    Parameters
    ----------
    rules : DataHandling
    imager : Imager
    """

    def __init__(self, rules: DataHandling, imager: Imager) -> None:
        self._rules, self._imager = rules, imager
        self.region = region_blocks(rules, imager)
        self.quotas: tuple[StorageQuota, ...] = rules.storage_quotas
        self._sizes = (
            BlockSizes(imager.bands, imager.bit_depth) if rules.compression == "jpeg2000" else None
        )

    def block_bytes(self, pixels: CapturedPixels, kept: tuple[int, ...]) -> tuple[int, ...]:
        """Compressed size of each kept block; empty where nothing is compressed."""
        if self._sizes is None:
            return ()
        return self._sizes.stored_bytes(pixels.reflectance, pixels.frame_sha256, kept)

    def preview(
        self,
        pixels: CapturedPixels,
        mask: NDArray[np.uint8] | None,
        not_clear: float | None,
    ) -> Preview | None:
        """The preview of a frame; None where its pixels are to go at once.

        Parameters
        ----------
        mask : ndarray of uint8 or None
            What was detected on board.
        not_clear : float or None
            Part of the region that the product will not show clear, by that mask.
        """
        kind = self._rules.preview
        if kind == "mask" and mask is not None and not_clear is not None:
            return Preview(kind, mask_bytes(mask), not_clear)
        if kind == "thumbnail":
            edge_px = self._rules.thumbnail_px
            size_bytes = thumbnail_bytes(pixels.reflectance, edge_px)
            return Preview(kind, size_bytes, self._seen_in_thumbnail(pixels.truth, edge_px))
        return None

    def _seen_in_thumbnail(self, truth: NDArray[np.uint8], edge_px: int) -> float:
        """Cloud over the region as an analyst counts it in the thumbnail's own pixels."""
        step = thumbnail_step(truth.shape, edge_px)
        columns = -(-truth.shape[1] // BLOCK_PX)
        rows = np.arange(0, truth.shape[0], step) // BLOCK_PX
        places = np.arange(0, truth.shape[1], step) // BLOCK_PX
        within = np.isin(rows[:, None] * columns + places[None, :], self.region)
        return frame_cover(cloud_mask(truth[::step, ::step])[within])


def region_blocks(rules: DataHandling, imager: Imager) -> tuple[int, ...]:
    """Blocks that the region of interest touches, row-major; all where there is none."""
    if rules.region_of_interest_km is None:
        rows, columns = (-(-size // BLOCK_PX) for size in imager.frame_px)
        return tuple(range(rows * columns))
    spans = [
        _touched(size_px, 1000.0 * size_km / imager.gsd_m)
        for size_px, size_km in zip(imager.frame_px, rules.region_of_interest_km, strict=True)
    ]
    columns = -(-imager.frame_px[1] // BLOCK_PX)
    return tuple(row * columns + column for row in spans[0] for column in spans[1])


def _touched(frame_px: int, region_px: float) -> range:
    """Indices of the blocks that the middle `region_px` of an axis touch."""
    half_px = min(region_px, frame_px) / 2.0
    first = math.floor((frame_px / 2.0 - half_px) / BLOCK_PX)
    last = math.ceil((frame_px / 2.0 + half_px) / BLOCK_PX)
    return range(first, last)
