"""The ground's own cloud mask of what came down, where it is not taken as perfect.

The same frames go through a model on the ground, by the same card format as on board. What the
ground believes of a target then rests on that mask; metrics go on to count with the truth.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from payload.card import ModelCard
from payload.frame import NO_DATA, content_sha256, valid_pixels
from payload.model import CloudModel
from payload.runtime import OPERATING_POINT, cut_tiles
from simulator.autonomy.policies import Detection, mask_detection
from simulator.environment.frames import CapturedPixels

PERFECT = "perfect"
"""`ground.screening` of a ground that sees the truth."""


@dataclass(frozen=True)
class Screened:
    """What the ground's model says of a frame, and the hash of its mask."""

    detection: Detection
    mask_sha256: str


class ModelScreening:
    """A model on the ground; each distinct frame is looked at once.

    Parameters
    ----------
    card : ModelCard

    Raises
    ------
    ModelError
        The model cannot be opened.
    """

    def __init__(self, card: ModelCard) -> None:
        self.card = card
        self._model = CloudModel(card)
        self._seen: dict[str, Screened] = {}

    def screen(self, pixels: CapturedPixels) -> tuple[Screened, NDArray[np.uint8] | None]:
        """What the model says of a frame, and its mask the first time the frame is seen."""
        if pixels.frame_sha256 in self._seen:
            return self._seen[pixels.frame_sha256], None
        mask = np.zeros(pixels.reflectance.shape[1:], dtype=np.uint8)
        for rows, columns, tile in cut_tiles(pixels.reflectance):
            cloud = self._model.probability(tile[None])[0] >= OPERATING_POINT
            mask[rows, columns] = cloud[: rows.stop - rows.start, : columns.stop - columns.start]
        mask[~valid_pixels(pixels.reflectance)] = NO_DATA
        screened = Screened(mask_detection(mask), content_sha256(mask))
        self._seen[pixels.frame_sha256] = screened
        return screened, mask
