"""Pseudo labels: detectors are believed as far as they agree."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from payload.scene_writer import write_mask
from payload.scenes import SceneError
from payload.training import weak_labels
from payload.training.datasets import training_images
from payload.training.soft_labels import FULL_SCALE
from payload.training.weak_labels import (
    LEAST_CONFIDENCE,
    Opinion,
    UkisDetector,
    WeakLabelError,
    agree,
    grown,
    pseudo_labels,
    tiled,
)

MakeCollection = Callable[..., Path]
BYTE = 1.01 / FULL_SCALE
BLENDING_TOLERANCE = 1e-5
UKIS_LEAST_JACCARD = 0.7
"""On one patch that is half cloud, by eye not a hard one."""

needs_peers = pytest.mark.skipif(
    importlib.util.find_spec("ukis_csmask") is None, reason="the extra `peers` is not installed"
)


def opinion(detector: str, probability: float) -> Opinion:
    return Opinion(detector, np.full((2, 3), probability, dtype=np.float32))


def test_agreement_is_trusted_and_disagreement_is_not() -> None:
    agreed = agree(
        [opinion("ukis_l1c", 1.0), opinion("ukis_l2a", 1.0), opinion("s2cloudless", 1.0)]
    )
    assert agreed.probability[0, 0] == agreed.confidence[0, 0] == FULL_SCALE
    cirrus = agree(
        [opinion("ukis_l1c", 0.0), opinion("ukis_l2a", 0.0), opinion("s2cloudless", 1.0)]
    )
    assert cirrus.probability[0, 0] < FULL_SCALE / 2
    assert cirrus.confidence[0, 0] == round(LEAST_CONFIDENCE * FULL_SCALE)
    snow = agree([opinion("ukis_l1c", 1.0), opinion("ukis_l2a", 0.0), opinion("s2cloudless", 0.0)])
    assert snow.confidence[0, 0] == round(LEAST_CONFIDENCE * FULL_SCALE)


@settings(deadline=None)
@given(st.lists(st.floats(0, 1, width=32), min_size=1, max_size=2))
def test_the_target_lies_between_the_opinions(said: list[float]) -> None:
    label = agree([opinion(name, p) for name, p in zip(("ukis_l1c", "scl"), said, strict=False)])
    target = label.probability[0, 0] / FULL_SCALE
    assert min(said) - BYTE <= target <= max(said) + BYTE
    assert LEAST_CONFIDENCE - BYTE <= label.confidence[0, 0] / FULL_SCALE <= 1


@pytest.mark.parametrize(("gsd_m", "radius_px"), [(10.0, 2), (15.0, 1), (30.0, 0)])
def test_outlines_grow_by_metres_not_pixels(gsd_m: float, radius_px: int) -> None:
    probability = np.zeros((11, 11), dtype=np.float32)
    probability[5, 5] = 0.8
    cloud = grown(probability, gsd_m) > 0.5
    assert cloud[5].sum() == cloud[:, 5].sum() == 2 * radius_px + 1
    assert cloud[5 - radius_px, 5 - radius_px] == (radius_px == 0), "a disk, not a square"


def test_nobody_to_ask_is_an_error() -> None:
    with pytest.raises(WeakLabelError, match="no detector"):
        agree([])


@pytest.mark.parametrize("shape", [(20, 20), (64, 64), (100, 130), (64, 300)])
def test_tiles_blend_without_seams_at_any_size(shape: tuple[int, int]) -> None:
    image = np.random.default_rng(0).random((4, *shape)).astype(np.float32)
    seen = tiled(image, lambda tile: tile[0] * 0.5, tile_px=64, stride_px=48)
    assert seen.shape == shape
    np.testing.assert_allclose(seen, image[0] * 0.5, atol=BLENDING_TOLERANCE)


class Darkness:
    """A detector that calls dark pixels cloud, and counts how often it is asked."""

    asked = 0

    def opinions(self, reflectance: np.ndarray) -> list[Opinion]:
        type(self).asked += 1
        return [Opinion("ukis_l1c", (reflectance[0] < 0.3).astype(np.float32))]


def test_labels_are_made_once_and_only_where_no_person_drew(
    make_collection: MakeCollection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(weak_labels, "UkisDetector", Darkness)
    monkeypatch.setattr(Darkness, "asked", 0)
    root = make_collection(
        tmp_path / "c",
        [
            ("a", "none", "unlabelled"),
            ("b", "human", "train"),
            ("c", "scl", "train"),
            ("v", "none", "val"),
        ],
    )
    said: list[str] = []
    labels = pseudo_labels(root, tmp_path / "cache.npz", said.append, threads=2)
    images = [i for i in training_images(root) if i.scene.name in ("a", "c")]
    wanted = {image.sha256 for image in images}
    assert labels.keys() == wanted
    assert Darkness.asked == 2
    for image in images:
        expected = weak_labels.pseudo_label(image, Darkness()).probability  # type: ignore[arg-type]
        np.testing.assert_array_equal(labels[image.sha256].probability, expected)
    asked = Darkness.asked
    assert said == ["pseudo labels: 2 of 2 images"]
    assert pseudo_labels(root, tmp_path / "cache.npz", said.append).keys() == wanted
    assert Darkness.asked == asked, "the second time they come from the cache"


def test_a_corrected_class_map_is_heard(
    make_collection: MakeCollection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(weak_labels, "UkisDetector", Darkness)
    root = make_collection(tmp_path / "c", [("c", "scl", "train")])
    (before,) = pseudo_labels(root, tmp_path / "cache.npz").values()
    write_mask(root / "c.mask.tif", np.full(before.probability.shape, 1, dtype=np.uint8))
    (after,) = pseudo_labels(root, tmp_path / "cache.npz").values()
    assert after.probability.mean() > before.probability.mean()


def test_a_corrected_cell_size_is_heard(
    make_collection: MakeCollection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(weak_labels, "UkisDetector", Darkness)
    root = make_collection(tmp_path / "c", [("c", "scl", "train")])
    (before,) = pseudo_labels(root, tmp_path / "cache.npz").values()
    manifest = root / "manifest.csv"
    manifest.write_text(manifest.read_text().replace(",10.0,", ",60.0,"))
    (after,) = pseudo_labels(root, tmp_path / "cache.npz").values()
    assert after.probability.mean() < before.probability.mean(), "outlines of 60 m are not grown"


def test_a_class_map_that_contradicts_takes_the_trust_away(
    make_collection: MakeCollection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(weak_labels, "UkisDetector", Darkness)
    root = make_collection(tmp_path / "c", [("c", "scl", "train")])
    (label,) = pseudo_labels(root, tmp_path / "cache.npz").values()
    assert np.median(label.confidence) == round(LEAST_CONFIDENCE * FULL_SCALE)


def test_a_mask_of_s2cloudless_beside_four_bands_is_not_asked_for_thirteen(
    make_collection: MakeCollection, tmp_path: Path
) -> None:
    root = make_collection(tmp_path / "c", [("a", "s2cloudless", "train")])
    (image,) = training_images(root)
    assert weak_labels.s2cloudless_opinion(image) is None


def test_a_probability_that_cannot_be_used_is_named(
    make_collection: MakeCollection, tmp_path: Path
) -> None:
    root = make_collection(tmp_path / "c", [("a", "none", "unlabelled")])
    (image,) = training_images(root)
    write_mask(root / "a.s2cloudless.tif", np.zeros((32, 64), dtype=np.uint8))
    with pytest.raises(SceneError, match=r"a\.s2cloudless\.tif: is \(32, 64\) px, its scene is"):
        weak_labels.s2cloudless_opinion(image)
    (root / "a.s2cloudless.tif").write_bytes(b"no image")
    with pytest.raises(SceneError, match=r"a\.s2cloudless\.tif: cannot be opened"):
        weak_labels.s2cloudless_opinion(image)


@needs_peers
def test_ukis_finds_the_cloud_a_person_drew(real_scenes: Path) -> None:
    images = {image.scene.name: image for image in training_images(real_scenes, ["l8biome"])}
    image = images["GrassCrops_02_0608"]
    truth = image.scene.truth()
    assert truth is not None
    for said in UkisDetector().opinions(image.reflectance()):
        found, drawn = said.probability > 0.5, np.isin(truth, (1, 2))
        assert (found & drawn).sum() / (found | drawn).sum() > UKIS_LEAST_JACCARD


@needs_peers
def test_s2cloudless_speaks_from_the_file_beside_a_scene(real_scenes: Path) -> None:
    image = next(training_images(real_scenes, ["sen12mscr"]))
    said = weak_labels.s2cloudless_opinion(image)
    assert said is not None
    assert said.probability.shape == (image.scene.height_px, image.scene.width_px)
    assert 0 <= said.probability.min() <= said.probability.max() <= 1 + BYTE
