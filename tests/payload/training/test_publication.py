"""From scenes to flying files: both precisions, cards that load, and a record of the recipe."""

from __future__ import annotations

import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("torch", reason="training needs the extra `train`")

from payload.card_file import read_card
from payload.model import CloudModel
from payload.training import calibration, publication, quantisation
from payload.training.datasets import training_images
from payload.training.distillation import StudentRecipe
from payload.training.soft_labels import (
    FULL_SCALE,
    NNUNET,
    SoftLabel,
    SoftLabelError,
    write_soft_labels,
)
from payload.training.students import StudentError


@pytest.fixture(autouse=True)
def _little_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calibration, "CALIBRATION_BATCHES", 2)
    monkeypatch.setattr(quantisation, "CALIBRATION_TILES", 2)


def small_recipe(**changes: object) -> StudentRecipe:
    settings = {
        "size": "8k",
        "steps": 3,
        "teacher_share": 0.0,
        "batch_size": 2,
        "patch_px": 64,
        "label_kinds": ("human",),
    }
    return StudentRecipe(**{**settings, **changes})  # type: ignore[arg-type]


def test_built_student_flies_by_its_card(make_collection, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    scenes = make_collection(tmp_path / "scenes", [("a", "human", "train"), ("b", "human", "val")])
    folder = tmp_path / "models"
    folder.mkdir()
    cards = publication.build_student(
        scenes, small_recipe(), folder, tmp_path / "cache.npz", "small"
    )
    assert {path.name for path in folder.iterdir()} == {
        f"small{suffix}.{kind}" for suffix in ("", "-int8") for kind in ("onnx", "yaml")
    }
    assert [card.precision for card in cards] == ["fp32", "int8"]
    for card in cards:
        kept = read_card(folder / f"{card.name}.yaml")
        assert kept.training_data.startswith("Splits train and unlabelled only: 1 scenes (human)")
        assert "--params 8k --steps 3" in kept.provenance
        assert "--label-kind human" in kept.provenance
        assert kept.measurements["training"]["recipe"]["seed"] == 0
        found = CloudModel(kept).probability(np.full((1, 4, 96, 80), 0.4, np.float32))
        assert found.shape == (1, 96, 80)


@pytest.mark.parametrize("name", ["sub/name", "../name", ".hidden", "", "unet-distilled-8k"])
def test_name_that_cannot_be_is_refused_before_anything_is_learnt(
    name: str, tmp_path: Path
) -> None:
    with pytest.raises(StudentError, match="the student's name is"):
        publication.build_student(
            tmp_path / "no_scenes", small_recipe(), tmp_path, tmp_path / "cache.npz", name
        )


def test_full_disk_is_refused_before_anything_is_learnt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=60_000))
    with pytest.raises(StudentError, match=r"has 0\.1 MB free, .* make room first"):
        publication.build_student(
            tmp_path / "no_scenes", small_recipe(), tmp_path, tmp_path / "cache.npz", "small"
        )
    assert list(tmp_path.iterdir()) == []


def test_interruption_leaves_the_student_that_was_there(
    make_collection,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,  # type: ignore[no-untyped-def]
) -> None:
    scenes = make_collection(tmp_path / "scenes", [("a", "human", "train")])
    folder = tmp_path / "models"
    folder.mkdir()
    cache = tmp_path / "cache.npz"
    publication.build_student(scenes, small_recipe(), folder, cache, "small")
    before = {path.name: path.read_bytes() for path in folder.iterdir()}

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(publication, "quantise_student", interrupted)
    with pytest.raises(KeyboardInterrupt):
        publication.build_student(scenes, small_recipe(seed=1), folder, cache, "small")
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_unpublished_student_does_not_take_the_name_of_one_that_ships() -> None:
    assert publication.student_name("120k", published=False) == "unet-distilled-local"


def test_default_student_has_no_size_in_its_name() -> None:
    assert publication.student_name("120k") == "unet-distilled"
    assert publication.student_name("8k") == "unet-distilled-8k"


def test_a_teacher_without_labels_is_refused(
    make_collection,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,  # type: ignore[no-untyped-def]
) -> None:
    monkeypatch.setattr(publication, "SOFT_LABELS", tmp_path / "nothing")
    scenes = make_collection(tmp_path / "scenes", [("a", "human", "train")])
    recipe = small_recipe(teacher="nnunet", teacher_share=0.5)
    with pytest.raises(SoftLabelError, match="there are no soft labels there"):
        publication.gather(scenes, recipe, tmp_path / "cache.npz")


@pytest.mark.parametrize(("teacher", "heard"), [(NNUNET, True), ("peers", False)])
def test_of_views_the_nnunet_teacher_is_heard_and_the_peers_are_already(
    make_collection,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,  # type: ignore[no-untyped-def]
    teacher: str,
    heard: bool,
) -> None:
    scenes = make_collection(tmp_path / "scenes", [("a", "human", "train")])
    (image,) = training_images(scenes)
    said = np.full(image.reflectance().shape[1:], 7, dtype=np.uint8)
    labels = {image.sha256: SoftLabel(said, np.full_like(said, FULL_SCALE))}
    write_soft_labels(tmp_path / "labels" / NNUNET / "c.npz", labels)
    monkeypatch.setattr(publication, "SOFT_LABELS", tmp_path / "labels")
    monkeypatch.setattr(publication, "pseudo_labels", lambda *_: labels)
    told: list[object] = []

    def with_views(training_set: object, *more: object) -> object:
        told.append(more[-1])
        return training_set

    monkeypatch.setattr(publication, "with_views", with_views)
    recipe = small_recipe(teacher=teacher, teacher_share=0.5, label_kinds=("human", "pseudo"))
    publication.gather(scenes, recipe, tmp_path / "cache.npz")
    assert [known is not None for known in told] == [heard]


def test_the_teacher_teaches_by_its_committed_labels(
    make_collection,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,  # type: ignore[no-untyped-def]
) -> None:
    scenes = make_collection(tmp_path / "scenes", [("a", "human", "train")])
    (image,) = training_images(scenes)
    monkeypatch.setattr(publication, "SOFT_LABELS", tmp_path / "labels")
    said = np.full(image.reflectance().shape[1:], 7, dtype=np.uint8)
    label = {image.sha256: SoftLabel(said, np.full_like(said, FULL_SCALE))}
    write_soft_labels(tmp_path / "labels" / NNUNET / "c.npz", label)
    recipe = small_recipe(teacher=NNUNET, teacher_share=0.5)
    (sample,) = publication.gather(scenes, recipe, tmp_path / "cache.npz").samples
    assert sample.teacher is not None
    assert np.all(sample.teacher == 7)
