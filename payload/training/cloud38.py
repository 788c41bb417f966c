"""Reader of the public 38-Cloud layout, and its whole-scene protocol (Mohajerani et al.).

The data as published: Landsat-8 L1TP scenes cut into patches of 384 x 384 px, 30 m, one file per
band, and for the 20 test scenes the truth of the whole scene::

    38-Cloud_training/train_{red,green,blue,nir,gt}/{red,...,gt}_patch_<n>_<row>_by_<col>_<scene>.TIF
    38-Cloud_test/test_{red,green,blue,nir}/{red,...}_patch_<n>_<row>_by_<col>_<scene>.TIF
    38-Cloud_test/Entire_scene_gts/edited_corrected_gts_<scene>.TIF

Values are taken to be Landsat-8 digital numbers: reflectance = 2e-5 * value - 0.1 (rescaling of the
USGS Landsat 8 Data Users Handbook), without the sun's elevation, which the patches do not carry.

`import_patches` turns the training part into a scene collection, the one format that training,
evaluation and simulation read; all patches of a Landsat scene share a split.

The protocol differs from pooling over patches: the masks of a scene's patches are put back in
their places, the scene's zero padding is cut off, Jaccard, precision, recall, specificity and
accuracy are taken per scene, and averaged over the 20 scenes.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from payload.scene_writer import SceneRow, write_collection, write_image, write_mask
from payload.scenes import REFLECTANCE_SCALE
from payload.training.published_data import read_band, split_of, truth_where_seen

PATCH_PX = 384
BANDS: tuple[str, ...] = ("blue", "green", "red", "nir")
TRAINING, TEST = "38-Cloud_training", "38-Cloud_test"
TRUTH_FOLDER = "Entire_scene_gts"
TRUTH_PREFIX = "edited_corrected_gts_"

REFLECTANCE_GAIN, REFLECTANCE_OFFSET = 2.0e-5, -0.1
"""Landsat-8 rescaling of digital numbers to reflectance (REFLECTANCE_MULT/ADD_BAND)."""

GSD_M = 30.0

_PATCH_NAME = re.compile(
    r"^[a-z]+_patch_(?P<index>\d+)_(?P<row>\d+)_by_(?P<column>\d+)_(?P<scene>.+)$"
)


class Cloud38Error(ValueError):
    """The folder is not in the published layout; the message names what is missing."""


@dataclass(frozen=True)
class Patch:
    """One 384 x 384 patch.

    Attributes
    ----------
    name : str
        ``patch_<n>_<row>_by_<col>_<scene>``: the file name without its band.
    scene : str
        Landsat scene identifier.
    row, column : int
        Place in the scene's grid of patches, from 1.
    band_paths : mapping of str to Path
        File of each band.
    truth_path : Path or None
        Mask of a training patch; test patches have none.
    """

    name: str
    scene: str
    row: int
    column: int
    band_paths: Mapping[str, Path]
    truth_path: Path | None

    def reflectance(self) -> NDArray[np.float32]:
        """Reflectance of blue, green, red and near infrared, shape (4, 384, 384).

        Pixels outside the scene (0 in all bands) stay 0.

        Raises
        ------
        Cloud38Error
            A band cannot be read, or is no patch.
        """
        values = np.stack([_read_patch(self.band_paths[band]) for band in BANDS]).astype(np.float32)
        outside = ~np.any(values, axis=0)
        reflectance = np.maximum(values * REFLECTANCE_GAIN + REFLECTANCE_OFFSET, 1e-4)
        reflectance[:, outside] = 0
        return np.asarray(reflectance, dtype=np.float32)

    def truth(self) -> NDArray[np.uint8] | None:
        """1 cloud, 0 clear, shape (384, 384); None for a test patch."""
        return None if self.truth_path is None else _binary(_read_patch(self.truth_path))


@dataclass(frozen=True)
class SceneScores:
    """Scores of one whole scene, by 38-Cloud's protocol; fractions 0..1, NaN when undefined."""

    scene: str
    jaccard: float
    precision: float
    recall: float
    specificity: float
    accuracy: float


def read_patches(root: Path | str, part: str = TRAINING) -> Iterator[Patch]:
    """Patches of the training or the test part, by scene, row and column.

    Parameters
    ----------
    root : path
        Holds ``38-Cloud_training`` or ``38-Cloud_test``.
    part : str
        `TRAINING` or `TEST`.

    Raises
    ------
    Cloud38Error
        The folders are not there, a name does not follow the pattern, or a band is missing.
    """
    folder = Path(root) / part
    prefix = "train" if part == TRAINING else "test"
    blue = folder / f"{prefix}_blue"
    files = sorted(blue.glob("blue_patch_*.TIF"))
    if not files:
        raise Cloud38Error(
            f"{blue}: holds no blue_patch_*.TIF; unpack the data set so that {part}/{prefix}_blue "
            "exists"
        )
    patches = [_patch_of(file, folder, prefix) for file in files]
    yield from sorted(patches, key=lambda patch: (patch.scene, patch.row, patch.column))


def _patch_of(blue_file: Path, folder: Path, prefix: str) -> Patch:
    match = _PATCH_NAME.match(blue_file.stem)
    if match is None:
        raise Cloud38Error(
            f"{blue_file}: the name is not blue_patch_<n>_<row>_by_<col>_<scene>.TIF; restore it"
        )
    name = blue_file.stem.removeprefix("blue_")
    paths = {band: folder / f"{prefix}_{band}" / f"{band}_{name}.TIF" for band in BANDS}
    for path in paths.values():
        if not path.is_file():
            raise Cloud38Error(f"{path}: does not exist; unpack the data set again")
    truth = folder / f"{prefix}_gt" / f"gt_{name}.TIF"
    return Patch(
        name=name,
        scene=match["scene"],
        row=int(match["row"]),
        column=int(match["column"]),
        band_paths=paths,
        truth_path=truth if truth.is_file() else None,
    )


def import_patches(root: Path | str, target: Path) -> int:
    """Write the training patches as a scene collection, without those that lie outside a scene.

    Parameters
    ----------
    root : path
        Holds ``38-Cloud_training``.
    target : Path
        Folder of the new collection.

    Returns
    -------
    int
        Number of scenes written.

    Raises
    ------
    Cloud38Error
        As `read_patches` and `Patch.reflectance`; or a patch has no mask.
    """
    rows = []
    for patch in read_patches(root):
        reflectance = patch.reflectance()
        if not reflectance.any():
            continue
        image = np.rint(reflectance * REFLECTANCE_SCALE).astype(np.uint16)
        truth = patch.truth()
        if truth is None:
            raise Cloud38Error(
                f"{root}: {patch.name} has no mask in {TRAINING}/train_gt; unpack it again"
            )
        mask = truth_where_seen(truth, image)
        write_image(target / f"{patch.name}.tif", image)
        write_mask(target / f"{patch.name}.mask.tif", mask)
        rows.append(_row(patch, image, mask))
    write_collection(target, rows)
    return len(rows)


def _row(patch: Patch, image: NDArray[np.uint16], mask: NDArray[np.uint8]) -> SceneRow:
    return SceneRow.of(
        name=patch.name,
        sensor="Landsat-8 OLI",
        level="L1TP TOA",
        gsd_m=GSD_M,
        image=image,
        mask=mask,
        label="human",
        split=split_of(patch.scene),
        place=patch.scene,
        source="38-Cloud (Mohajerani et al.), not corrected for the sun's elevation",
        licence="Landsat: public domain; masks: as their authors publish them",
    )


def assemble(
    masks: Mapping[tuple[int, int], NDArray[np.uint8]], shape: tuple[int, int]
) -> NDArray[np.uint8]:
    """Put patches back into their scene and cut the zero padding off.

    The published patches pad a scene evenly on all sides to whole patches; the surplus is cut
    half before and half after.

    Parameters
    ----------
    masks : mapping of (row, column), from 1, to ndarray of uint8, shape (384, 384)
        Patches left out of the data set (mostly empty ones) count as clear.
    shape : tuple of int
        Height and width of the scene's truth.

    Raises
    ------
    Cloud38Error
        The grid of patches is smaller than the scene.
    """
    rows = max(row for row, _ in masks)
    columns = max(column for _, column in masks)
    whole = np.zeros((rows * PATCH_PX, columns * PATCH_PX), dtype=np.uint8)
    for (row, column), mask in masks.items():
        top, left = (row - 1) * PATCH_PX, (column - 1) * PATCH_PX
        whole[top : top + PATCH_PX, left : left + PATCH_PX] = mask
    surplus = [have - want for have, want in zip(whole.shape, shape, strict=True)]
    if min(surplus) < 0:
        raise Cloud38Error(
            f"patches cover {whole.shape} px, the scene's truth is {shape} px; patches are missing"
        )
    top, left = surplus[0] // 2, surplus[1] // 2
    return whole[top : top + shape[0], left : left + shape[1]]


def evaluate_whole_scenes(
    root: Path | str, detect: Callable[[NDArray[np.float32]], NDArray[np.uint8]]
) -> list[SceneScores]:
    """Scores of a detector on the test part, one per scene; see `average`.

    Parameters
    ----------
    root : path
        Holds ``38-Cloud_test``.
    detect : callable
        Reflectance (4, 384, 384) -> mask (384, 384), 1 cloud.

    Raises
    ------
    Cloud38Error
        As `read_patches`; or a scene has no truth.
    """
    masks: defaultdict[str, dict[tuple[int, int], NDArray[np.uint8]]] = defaultdict(dict)
    for patch in read_patches(root, TEST):
        masks[patch.scene][patch.row, patch.column] = detect(patch.reflectance())
    scores = []
    for scene, of_scene in sorted(masks.items()):
        path = Path(root) / TEST / TRUTH_FOLDER / f"{TRUTH_PREFIX}{scene}.TIF"
        truth = _binary(read_band(path, Cloud38Error))
        scores.append(score(scene, assemble(of_scene, truth.shape), truth))
    return scores


def score(scene: str, mask: NDArray[np.uint8], truth: NDArray[np.uint8]) -> SceneScores:
    """Scores of one scene; mask and truth are 1 for cloud, shape (H, W)."""
    hit = int(np.sum((mask == 1) & (truth == 1)))
    false_alarm = int(np.sum((mask == 1) & (truth != 1)))
    miss = int(np.sum((mask != 1) & (truth == 1)))
    rest = mask.size - hit - false_alarm - miss
    return SceneScores(
        scene=scene,
        jaccard=_ratio(hit, hit + false_alarm + miss),
        precision=_ratio(hit, hit + false_alarm),
        recall=_ratio(hit, hit + miss),
        specificity=_ratio(rest, rest + false_alarm),
        accuracy=_ratio(hit + rest, mask.size),
    )


def average(scores: Sequence[SceneScores]) -> dict[str, float]:
    """Mean of each score over the scenes, leaving out scenes where it is undefined."""
    names = ("jaccard", "precision", "recall", "specificity", "accuracy")
    return {name: float(np.nanmean([getattr(s, name) for s in scores])) for name in names}


def _ratio(part: int, whole: int) -> float:
    return part / whole if whole else float("nan")


def _read_patch(path: Path) -> NDArray[np.generic]:
    values = read_band(path, Cloud38Error)
    if values.shape != (PATCH_PX, PATCH_PX):
        raise Cloud38Error(
            f"{path}: is {values.shape} px, a patch is {PATCH_PX} x {PATCH_PX} px; unpack it again"
        )
    return values


def _binary(values: NDArray[np.generic]) -> NDArray[np.uint8]:
    return np.asarray(values != 0, dtype=np.uint8)
