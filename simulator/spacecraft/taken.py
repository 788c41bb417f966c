"""A capture as the later steps of its path know it, and whom they tell what became of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from simulator.autonomy.policies import Detection, PixelCount, PolicyTraits, Thresholds, total
from simulator.environment.frames import CapturedPixels
from simulator.ground.screening import Screened
from simulator.scenario.targets import Target


@dataclass(frozen=True)
class Taken:
    """A capture without its pixels, which are large.

    Attributes
    ----------
    counts : tuple of PixelCount
        Truth of each block.
    region : tuple of int
        Blocks of the region of interest.
    screened : Screened or None
        What the ground's own model would see in it; None where the ground sees the truth.
    """

    capture: str
    target: Target
    deadline_s: float | None
    period: int
    attempt: int
    captured_s: float
    cover: float
    counts: tuple[PixelCount, ...]
    truth: Detection
    region: tuple[int, ...]
    screened: Screened | None = None

    @property
    def all_blocks(self) -> tuple[int, ...]:
        """Every block of the frame."""
        return tuple(range(len(self.counts)))

    @property
    def region_px(self) -> int:
        """Labelled pixels of the region of interest."""
        within = total(self.counts, self.region)
        return within.clear_px + within.cloud_px


@dataclass(frozen=True)
class FramePolicy:
    """The policy a frame is judged by."""

    name: str
    traits: PolicyTraits
    limits: Thresholds


class PixelSource(Protocol):
    """Weather and scenes together: what a camera over a target would see."""

    def __call__(self, target: Target, t_s: float) -> tuple[float, CapturedPixels]:
        """Weather cover at the target, and the frame it gives."""


class PictureBook(Protocol):
    """Keeps the pictures of captures."""

    def __call__(
        self, pixels: CapturedPixels, mask: NDArray[np.uint8] | None, mask_sha256: str
    ) -> None:
        """Keep frame, truth and mask."""


class TargetDesk(Protocol):
    """Hears what became of each look at a target."""

    def looked(self, taken: Taken, not_clear: float | None) -> None:
        """A frame was judged on board.

        `not_clear` is the part of the region that its product does not show clear, by the mask;
        None where there was no mask.
        """

    def lost(self, taken: Taken) -> None:
        """A frame or product was lost for lack of storage."""

    def previewed(self, taken: Taken, kind: str, not_clear: float) -> None:
        """A preview reached the ground; `not_clear` is the part of the region not shown clear."""

    def delivered(self, taken: Taken, not_clear: float) -> None:
        """Pixels reached the ground; `not_clear` is the part of the region not shown clear."""
