"""Look at every scene of a collection and say each thing that is wrong with it.

`payload.scenes` stops at the first scene it cannot use. Whoever prepares a collection wants to
hear of all faults at once, also of those that can be read but would mislead: a cover in the
manifest that the mask does not have, dark holes that are not marked as no data, pixels that are
not reflectance.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from payload.frame import NO_DATA
from payload.scenes import Scene, SceneError, collection_rows, labelled_cloud, scene_of_row

COVER_TOLERANCE = 0.001
"""By how much the manifest's cloud fraction may differ from the mask's (it is rounded)."""

PLAUSIBLE_MEDIAN = (0.002, 1.5)
"""Median reflectance of a valid image: over deep water, and over a bright snow field."""


def scene_problems(folder: Path | str) -> Iterator[str]:
    """One sentence for each problem of a collection, in the order of its manifest.

    Raises
    ------
    SceneError
        There is no manifest to go by.
    """
    folder = Path(folder)
    manifest, rows = collection_rows(folder)
    seen: set[str] = set()
    for number, row in enumerate(rows, 2):
        where = f"{manifest}, row {number}"
        if row["name"] in seen:
            yield f"{where}: name {row['name']!r} occurs twice; remove one row"
        seen.add(row["name"])
        try:
            scene = scene_of_row(row, folder, where)
            yield from _problems_of_pixels(scene, where)
        except SceneError as error:
            yield str(error)


def _problems_of_pixels(scene: Scene, where: str) -> Iterator[str]:
    reflectance, truth = scene.reflectance(), scene.truth()
    scene.clear_reflectance()
    valid = np.any(reflectance != 0, axis=0)
    if not valid.any():
        yield f"{scene.path}: holds no data at all; remove the scene"
        return
    median = float(np.median(reflectance[:, valid]))
    low, high = PLAUSIBLE_MEDIAN
    if not low <= median <= high:
        yield (
            f"{scene.path}: median reflectance is {median:.4f}, expected {low:g} to {high:g}; "
            "pixels must be reflectance x 10000"
        )
    if truth is not None:
        yield from _problems_of_truth(scene, truth, valid, where)


def _problems_of_truth(
    scene: Scene, truth: NDArray[np.uint8], valid: NDArray[np.bool_], where: str
) -> Iterator[str]:
    unmarked = int((~valid & (truth != NO_DATA)).sum())
    if unmarked:
        yield (
            f"{scene.mask_path}: {unmarked} pixels without data are labelled; mark them {NO_DATA}"
        )
    labelled = truth != NO_DATA
    if not labelled.any():
        yield f"{scene.mask_path}: no pixel is labelled; set label to 'none' or restore the mask"
    elif scene.cloud_fraction is None:
        yield f"{where}: cloud_fraction is empty though there is a mask; write it"
    else:
        cover = float(labelled_cloud(truth[labelled]).mean())
        if abs(cover - scene.cloud_fraction) > COVER_TOLERANCE:
            yield (
                f"{where}: cloud_fraction is {scene.cloud_fraction:.4f}, the mask has "
                f"{cover:.4f}; correct the manifest"
            )
