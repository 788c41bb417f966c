"""Best and worst cases as one picture: what a table of figures cannot show.

Each row is one patch: the image in natural colour, the label, the model's mask, and where they
differ. Colours: white cloud, grey thin cloud, dark blue shadow by the label, black clear, and for
errors red where clear was called cloud, yellow where cloud was missed.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from payload.frame import NO_DATA
from payload.scenes import CLOUD, SHADOW, THIN_CLOUD, labelled_cloud
from payload.training.evaluation import PatchScore

PANEL_PX = 256
GAP_PX = 4
CAPTION_PX = 16

BRIGHTNESS_PERCENTILES = (1, 99)
"""Reflectance stretched to black and white, over the three bands together."""

NO_DATA_COLOUR = (70, 40, 70)
MASK_COLOURS = {CLOUD: (255, 255, 255), THIN_CLOUD: (160, 160, 160), SHADOW: (30, 40, 110)}
FALSE_CLOUD_COLOUR = (230, 40, 40)
MISSED_COLOUR = (250, 210, 40)

Picture = NDArray[np.uint8]


def worst_and_best(patches: Sequence[PatchScore], each: int) -> list[PatchScore]:
    """The `each` patches with most wrong pixels, worst first, then those with fewest."""
    by_error = sorted(patches, key=lambda patch: (-patch.wrong_fraction, patch.scene.full_name))
    if len(by_error) <= 2 * each:
        return by_error
    return by_error[:each] + by_error[-each:]


def draw_cases(patches: Sequence[PatchScore], path: Path) -> None:
    """Write one PNG with a row (RGB, label, mask, error) for each patch, in the given order."""
    rows = [_row(patch) for patch in patches]
    width = 4 * PANEL_PX + 3 * GAP_PX
    height = CAPTION_PX + PANEL_PX + GAP_PX
    sheet = Image.new("RGB", (width, height * len(rows)), "black")
    pen = ImageDraw.Draw(sheet)
    for i, (patch, panels) in enumerate(zip(patches, rows, strict=True)):
        found, false, missed, clear = patch.counts
        caption = (
            f"{patch.scene.full_name} ({patch.scene.surface}, {patch.scene.label} label)   "
            f"found {found}  false {false}  missed {missed}  clear {clear} px"
        )
        pen.text((2, i * height + 2), caption, fill="white")
        for j, panel in enumerate(panels):
            where = (j * (PANEL_PX + GAP_PX), i * height + CAPTION_PX)
            sheet.paste(_resized(panel), where)
    sheet.save(path, optimize=True)


def _row(patch: PatchScore) -> tuple[Picture, Picture, Picture, Picture]:
    truth = patch.scene.truth()
    if truth is None:
        truth = np.full(patch.mask.shape, NO_DATA, np.uint8)
    cloud = labelled_cloud(truth)
    judged = (truth != NO_DATA) & (patch.mask != NO_DATA)
    error = np.zeros((*truth.shape, 3), np.uint8)
    error[cloud] = 90
    error[judged & ~cloud & (patch.mask == 1)] = FALSE_CLOUD_COLOUR
    error[judged & cloud & (patch.mask == 0)] = MISSED_COLOUR
    return natural_colour(patch.scene.reflectance()), _coloured(truth), _coloured(patch.mask), error


def natural_colour(reflectance: NDArray[np.float32]) -> Picture:
    """Red, green, blue of a scene (4, H, W) as bytes (H, W, 3), stretched to be seen."""
    valid = np.any(reflectance != 0, axis=0)
    rgb = np.moveaxis(reflectance[[2, 1, 0]], 0, -1)
    if not valid.any():
        return np.zeros(rgb.shape, np.uint8)
    low, high = np.percentile(rgb[valid], BRIGHTNESS_PERCENTILES)
    stretched = (rgb - low) / max(high - low, 1e-3)
    return np.asarray(np.clip(stretched, 0, 1) * 255, np.uint8)


def _coloured(mask: NDArray[np.uint8]) -> Picture:
    picture = np.zeros((*mask.shape, 3), np.uint8)
    for value, colour in MASK_COLOURS.items():
        picture[mask == value] = colour
    picture[mask == NO_DATA] = NO_DATA_COLOUR
    return picture


def _resized(panel: Picture) -> Image.Image:
    return Image.fromarray(panel).resize((PANEL_PX, PANEL_PX), Image.Resampling.BOX)
