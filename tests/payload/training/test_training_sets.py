"""What may be trained on, how far it is trusted, how often it is drawn."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from payload.scenes import read_scenes
from payload.training.datasets import (
    LABEL_KINDS,
    MASK_CONFIDENCE,
    SURFACE_SHARE,
    TRAINING_SPLITS,
    TrainingDataError,
    label_of_mask,
    load_training_set,
    training_images,
)
from payload.training.soft_labels import FULL_SCALE, SoftLabel

MakeCollection = Callable[..., Path]

SCENES = [
    ("drawn", "human", "train"),
    ("held_out", "human", "val"),
    ("machine", "s2cloudless", "train"),
    ("machine_held_out", "s2cloudless", "val"),
    ("classified", "scl", "train"),
    ("bare", "none", "unlabelled"),
]


def half_clear(shape: tuple[int, int] = (64, 64)) -> SoftLabel:
    probability = np.full(shape, FULL_SCALE, dtype=np.uint8)
    probability[: shape[0] // 2] = 0
    return SoftLabel(probability, np.full(shape, 100, dtype=np.uint8))


def pseudo_for(root: Path) -> dict[str, SoftLabel]:
    return {scene.sha256: half_clear() for scene in read_scenes(root)}


def test_a_set_holds_the_kinds_asked_for(make_collection: MakeCollection, tmp_path: Path) -> None:
    root = make_collection(tmp_path / "c", SCENES)
    names = {s.name: s.label_kind for s in load_training_set(root).samples}
    assert names == {"drawn": "human", "machine": "s2cloudless", "classified": "scl"}
    assert [s.name for s in load_training_set(root, ["scl"]).samples] == ["classified"]


def test_pseudo_labels_replace_machines_but_never_people(
    make_collection: MakeCollection, tmp_path: Path
) -> None:
    root = make_collection(tmp_path / "c", SCENES)
    samples = load_training_set(root, pseudo=pseudo_for(root)).samples
    kinds = {s.name: s.label_kind for s in samples}
    assert kinds == {
        "drawn": "human",
        "machine": "pseudo",
        "classified": "pseudo",
        "bare": "pseudo",
    }
    drawn = next(s for s in samples if s.name == "drawn")
    assert np.all(drawn.weight == FULL_SCALE)


@pytest.mark.parametrize("label", ["clear_by_eye", "exact"])
def test_other_true_masks_are_learnt_like_a_persons(
    make_collection: MakeCollection, tmp_path: Path, label: str
) -> None:
    root = make_collection(tmp_path / "c", [("a", label, "train")])
    (image,) = training_images(root)
    for pseudo in (None, pseudo_for(root)):
        (sample,) = load_training_set(root, pseudo=pseudo).samples
        assert sample.label_kind == "human"
        np.testing.assert_array_equal(sample.target > 0, image.scene.truth() == 1)
        assert (sample.weight == FULL_SCALE).all()


def test_the_teacher_labels_what_nobody_else_has_and_is_trusted_where_sure(
    make_collection: MakeCollection, tmp_path: Path
) -> None:
    root = make_collection(tmp_path / "c", SCENES)
    undecided = SoftLabel(
        np.full((64, 64), round(0.6 * FULL_SCALE), dtype=np.uint8),
        np.full((64, 64), FULL_SCALE, dtype=np.uint8),
    )
    teacher = {scene.sha256: undecided for scene in read_scenes(root)}
    samples = {s.name: s for s in load_training_set(root, teacher=teacher).samples}
    assert {name: s.label_kind for name, s in samples.items()} == {
        "drawn": "human",
        "machine": "s2cloudless",
        "classified": "scl",
        "bare": "teacher",
    }
    assert np.all(samples["bare"].weight == round(0.2 * FULL_SCALE))
    assert samples["drawn"].teacher is not None
    without = load_training_set(root, ["human", "scl"], teacher=teacher).samples
    assert {s.name for s in without} == {"drawn", "classified"}


def test_barren_ground_is_drawn_more_often_than_others_and_snow_less(
    make_collection: MakeCollection, tmp_path: Path
) -> None:
    names = ("Forest_00_0101", "Barren_00_0101", "SnowIce_00_0101")
    root = make_collection(tmp_path / "c", [(name, "human", "train") for name in names])
    ordinary, barren, snow = load_training_set(root).sampling_weights
    assert barren == pytest.approx(SURFACE_SHARE["barren"] * ordinary)
    assert snow == pytest.approx(SURFACE_SHARE["snow_ice"] * ordinary)
    assert snow < ordinary < barren


@settings(
    max_examples=15,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    splits=st.lists(
        st.sampled_from(["train", "val", "unlabelled", "test", "", "validation"]),
        min_size=3,
        max_size=3,
    ),
    kinds=st.sets(st.sampled_from(LABEL_KINDS), min_size=1),
)
def test_no_other_split_is_ever_trained_on(
    make_collection: MakeCollection,
    tmp_path_factory: pytest.TempPathFactory,
    splits: list[str],
    kinds: set[str],
) -> None:
    labels = ("human", "s2cloudless", "none")
    rows = [
        (f"s{i}", label, split) for i, (label, split) in enumerate(zip(labels, splits, strict=True))
    ]
    root = make_collection(tmp_path_factory.mktemp("c") / "c", rows, 16)
    pseudo = {scene.sha256: half_clear((16, 16)) for scene in read_scenes(root)}
    try:
        samples = load_training_set(root, kinds, pseudo=pseudo, teacher=pseudo).samples
    except TrainingDataError:
        samples = ()
    forbidden = {s.sha256 for s in read_scenes(root) if s.split not in ("train", "unlabelled")}
    assert not forbidden & {s.sha256 for s in samples}
    assert all(s.split in TRAINING_SPLITS for s in samples)


def test_the_real_validation_scenes_are_never_trained_on(real_scenes: Path) -> None:
    held_out = {scene.sha256 for scene in read_scenes(real_scenes) if scene.split == "val"}
    offered = {image.sha256 for image in training_images(real_scenes)}
    assert len(held_out) == 8
    assert not held_out & offered


def test_a_clear_date_beside_a_scene_is_an_image_of_its_own(
    make_collection: MakeCollection, tmp_path: Path
) -> None:
    root = make_collection(tmp_path / "c", [("a", "s2cloudless", "train"), ("b", "human", "val")])
    for name in ("a", "b"):
        other = make_collection(tmp_path / f"other_{name}", [(name, "none", "unlabelled")])
        (root / f"{name}.clear.tif").write_bytes((other / f"{name}.tif").read_bytes())
    images = list(training_images(root))
    assert [image.path.name for image in images] == ["a.tif", "a.clear.tif"]
    assert [image.is_clear_date for image in images] == [False, True]
    only_own = load_training_set(root).samples
    assert [s.name for s in only_own] == ["a"], "without a pseudo label the clear date has none"


def test_trust_in_a_mask_depends_on_its_maker_and_ends_at_edges() -> None:
    mask = np.zeros((20, 20), dtype=np.uint8)
    mask[:, 10:] = 1
    mask[0, 0] = 255
    human, machine = label_of_mask(mask, "human"), label_of_mask(mask, "scl")
    assert human.confidence[0, 0] == machine.confidence[0, 0] == 0
    assert human.confidence[5, 10] == FULL_SCALE
    assert machine.confidence[5, 9] == machine.confidence[5, 10] == 0
    assert machine.confidence[5, 3] == round(MASK_CONFIDENCE["scl"] * FULL_SCALE)


def test_thin_cloud_is_cloud_and_shadow_is_clear() -> None:
    label = label_of_mask(np.array([[0, 1], [2, 3]], dtype=np.uint8), "human")
    assert label.probability.tolist() == [[0, FULL_SCALE], [FULL_SCALE, 0]]


def test_sampling_weights_sum_to_one_and_spread_over_places(
    make_collection: MakeCollection, tmp_path: Path
) -> None:
    root = make_collection(tmp_path / "c", [(f"s{i}", "human", "train") for i in range(5)])
    manifest = (root / "manifest.csv").read_text()
    (root / "manifest.csv").write_text(
        manifest.replace("place 1", "place 0")
        .replace("place 2", "place 0")
        .replace("place 3", "place 0")
    )
    weights = load_training_set(root).sampling_weights
    assert weights.sum() == pytest.approx(1.0)
    crowded, alone = weights[0], weights[4]
    assert alone == pytest.approx(2 * crowded), "four images of a place count as two"


def test_a_set_without_images_says_what_was_looked_for(
    make_collection: MakeCollection, tmp_path: Path
) -> None:
    root = make_collection(tmp_path / "c", [("only", "human", "val")])
    with pytest.raises(TrainingDataError, match="train or unlabelled"):
        load_training_set(root)
    with pytest.raises(TrainingDataError, match="'guess' is not known"):
        load_training_set(root, ["guess"])


def test_a_soft_label_of_another_size_is_refused(
    make_collection: MakeCollection, tmp_path: Path
) -> None:
    root = make_collection(tmp_path / "c", [("a", "none", "unlabelled")])
    pseudo = {scene.sha256: half_clear((8, 8)) for scene in read_scenes(root)}
    with pytest.raises(TrainingDataError, match="make the soft labels again"):
        load_training_set(root, pseudo=pseudo)


def test_the_real_training_set_shows_snow_desert_and_water(real_scenes: Path) -> None:
    surfaces = {s.surface for s in load_training_set(real_scenes, collections=["l8biome"]).samples}
    assert {"snow_ice", "desert", "water"} <= surfaces
