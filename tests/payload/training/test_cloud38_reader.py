"""The 38-Cloud reader and its whole-scene protocol on small rasters with the published names."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest
import rasterio
from rasterio.errors import NotGeoreferencedWarning

from payload.scene_check import scene_problems
from payload.scenes import read_collection
from payload.training import cloud38
from payload.training.cloud38 import (
    PATCH_PX,
    TEST,
    TRAINING,
    Cloud38Error,
    assemble,
    average,
    evaluate_whole_scenes,
    import_patches,
    read_patches,
    score,
)
from payload.training.published_data import split_of

SCENE = "LC08_L1TP_002053_20160520_20170324_01_T1"
OTHER = "LC08_L1TP_032030_20160420_20170223_01_T1"
SHAPE = (700, 385)
"""Height and width of a whole scene's truth: padded by 34 and 191 px on each side."""
BRIGHT = 30_000
"""Digital number of cloud; reflectance 0.5."""
DARK = 10_000


def write_band(path: Path, values: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with rasterio.open(
            path,
            "w",
            driver="GTiff",
            count=1,
            height=values.shape[0],
            width=values.shape[1],
            dtype=values.dtype,
            compress="deflate",
        ) as raster:
            raster.write(values, 1)


def write_scene(root: Path, scene: str, truth: np.ndarray) -> None:
    """A test scene of 2 x 2 patches, bright exactly where `truth` is cloud."""
    padded = np.zeros((2 * PATCH_PX, 2 * PATCH_PX), dtype=np.uint16)
    top, left = (2 * PATCH_PX - SHAPE[0]) // 2, (2 * PATCH_PX - SHAPE[1]) // 2
    inside = (slice(top, top + SHAPE[0]), slice(left, left + SHAPE[1]))
    padded[inside] = np.where(truth > 0, BRIGHT, DARK)
    for index, (row, column) in enumerate([(1, 1), (1, 2), (2, 1), (2, 2)], 1):
        here = padded[
            (row - 1) * PATCH_PX : row * PATCH_PX, (column - 1) * PATCH_PX : column * PATCH_PX
        ]
        for band in cloud38.BANDS:
            name = f"{band}_patch_{index}_{row}_by_{column}_{scene}.TIF"
            write_band(root / TEST / f"test_{band}" / name, here)
    write_band(root / TEST / "Entire_scene_gts" / f"edited_corrected_gts_{scene}.TIF", truth)


def bright_is_cloud(reflectance: np.ndarray) -> np.ndarray:
    return (reflectance[0] > 0.3).astype(np.uint8)


@pytest.fixture
def truth() -> np.ndarray:
    mask = np.zeros(SHAPE, dtype=np.uint8)
    mask[100:400, 50:300] = 255
    return mask


def write_training_patch(root: Path, place: str, *, seen: bool = True) -> None:
    """Bands of 0.1 to 0.4 reflectance but for one corner, ten rows of cloud."""
    folder = root / TRAINING
    for level, band in enumerate(("blue", "green", "red", "nir"), 1):
        values = np.full((PATCH_PX, PATCH_PX), (5000 + 5000 * level) * seen, dtype=np.uint16)
        values[0, 0] = 0
        write_band(folder / f"train_{band}" / f"{band}_patch_{place}.TIF", values)
    gt = np.zeros((PATCH_PX, PATCH_PX), dtype=np.uint8)
    gt[:10] = 255 * seen
    write_band(folder / "train_gt" / f"gt_patch_{place}.TIF", gt)


def test_training_patches_have_bands_in_order_and_truth(tmp_path: Path) -> None:
    write_training_patch(tmp_path, f"192_10_by_12_{SCENE}")
    (patch,) = read_patches(tmp_path)
    assert (patch.scene, patch.row, patch.column) == (SCENE, 10, 12)
    np.testing.assert_allclose(patch.reflectance()[:, 5, 5], [0.1, 0.2, 0.3, 0.4], atol=1e-6)
    assert not patch.reflectance()[:, 0, 0].any()
    found = patch.truth()
    assert found is not None
    assert found.mean() == pytest.approx(10 / PATCH_PX)


def test_training_patches_become_a_collection(tmp_path: Path) -> None:
    held_out = next(f"LC08_{n}" for n in range(100) if split_of(f"LC08_{n}") == "val")
    for place in (f"1_1_by_1_{SCENE}", f"1_1_by_1_{held_out}", f"2_1_by_2_{held_out}"):
        write_training_patch(tmp_path, place)
    write_training_patch(tmp_path, f"3_1_by_3_{SCENE}", seen=False)
    assert import_patches(tmp_path, tmp_path / "38cloud") == 3, "one lies outside its scene"
    scenes = read_collection(tmp_path / "38cloud").scenes
    assert [*scene_problems(tmp_path / "38cloud")] == []
    assert [(scene.place, scene.split) for scene in scenes] == [
        (held_out, "val"), (held_out, "val"), (SCENE, split_of(SCENE)),
    ]  # fmt: skip
    for scene in scenes:
        assert scene.cloud_fraction == pytest.approx(10 / PATCH_PX, abs=1e-4)
        np.testing.assert_allclose(scene.reflectance()[:, 5, 5], [0.1, 0.2, 0.3, 0.4], atol=1e-6)
        truth = scene.truth()
        assert truth is not None
        assert (truth[0, 0], truth[0, 1], truth[20, 0]) == (255, 1, 0)


def test_a_training_patch_without_a_mask_is_named(tmp_path: Path) -> None:
    write_training_patch(tmp_path, f"1_1_by_1_{SCENE}")
    (tmp_path / TRAINING / "train_gt" / f"gt_patch_1_1_by_1_{SCENE}.TIF").unlink()
    with pytest.raises(Cloud38Error, match=r"patch_1_1_by_1.*has no mask in .*train_gt"):
        import_patches(tmp_path, tmp_path / "38cloud")


def test_a_right_detector_scores_one_on_every_scene(tmp_path: Path, truth: np.ndarray) -> None:
    for scene in (SCENE, OTHER):
        write_scene(tmp_path, scene, truth)
    scores = evaluate_whole_scenes(tmp_path, bright_is_cloud)
    assert [s.scene for s in scores] == sorted((SCENE, OTHER))
    assert average(scores) == pytest.approx(
        {"jaccard": 1, "precision": 1, "recall": 1, "specificity": 1, "accuracy": 1}
    )


def test_scenes_count_alike_whatever_their_cloud(tmp_path: Path, truth: np.ndarray) -> None:
    """The mean over scenes differs from pooling: that is what makes the protocol its own."""
    small = np.zeros_like(truth)
    small[:10, :10] = 255
    write_scene(tmp_path, SCENE, truth)
    write_scene(tmp_path, OTHER, small)

    def forgets_the_small_cloud(reflectance: np.ndarray) -> np.ndarray:
        mask = bright_is_cloud(reflectance)
        return mask if mask.sum() > 200 else np.zeros_like(mask)

    scores = evaluate_whole_scenes(tmp_path, forgets_the_small_cloud)
    mean = average(scores)
    assert mean["jaccard"] == pytest.approx(0.5)
    assert mean["precision"] == pytest.approx(1.0), "undefined where nothing was called cloud"


def test_scores_are_those_of_the_confusion_matrix() -> None:
    truth = np.array([[1, 1, 0, 0]], dtype=np.uint8)
    mask = np.array([[1, 0, 1, 0]], dtype=np.uint8)
    found = score("s", mask, truth)
    assert found.jaccard == pytest.approx(1 / 3)
    assert found.precision == found.recall == found.specificity == found.accuracy == 0.5


def test_patches_return_to_their_places() -> None:
    corner = np.zeros((PATCH_PX, PATCH_PX), dtype=np.uint8)
    corner[0, 0] = 1
    whole = assemble({(2, 3): corner}, (2 * PATCH_PX, 3 * PATCH_PX))
    assert np.argwhere(whole).tolist() == [[PATCH_PX, 2 * PATCH_PX]]
    cut = assemble({(2, 3): corner}, (2 * PATCH_PX - 3, 3 * PATCH_PX - 2))
    assert np.argwhere(cut).tolist() == [[PATCH_PX - 1, 2 * PATCH_PX - 1]]
    with pytest.raises(Cloud38Error, match="patches are missing"):
        assemble({(1, 1): corner}, (PATCH_PX + 1, PATCH_PX))


def test_a_missing_band_or_wrong_name_is_named(tmp_path: Path, truth: np.ndarray) -> None:
    with pytest.raises(Cloud38Error, match=r"holds no blue_patch"):
        list(read_patches(tmp_path, TEST))
    write_scene(tmp_path, SCENE, truth)
    lost = tmp_path / TEST / "test_nir" / f"nir_patch_3_2_by_1_{SCENE}.TIF"
    lost.unlink()
    with pytest.raises(Cloud38Error, match=r"nir_patch_3_2_by_1.*does not exist"):
        list(read_patches(tmp_path, TEST))
    (tmp_path / TEST / "test_blue" / "blue_patch_0.TIF").write_bytes(b"")
    with pytest.raises(Cloud38Error, match=r"blue_patch_0\.TIF: the name is not"):
        list(read_patches(tmp_path, TEST))


def test_a_band_of_another_size_is_named(tmp_path: Path, truth: np.ndarray) -> None:
    write_scene(tmp_path, SCENE, truth)
    damaged = tmp_path / TEST / "test_nir" / f"nir_patch_1_1_by_1_{SCENE}.TIF"
    write_band(damaged, np.zeros((PATCH_PX // 2, PATCH_PX), dtype=np.uint16))
    with pytest.raises(Cloud38Error, match=r"nir_patch_1_1_by_1.*: is \(192, 384\) px, a patch is"):
        evaluate_whole_scenes(tmp_path, bright_is_cloud)
