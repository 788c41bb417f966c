"""Batches depend on seed and step alone, and are cut from the right pixels."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="training needs the extra `train`")

from payload.scenes import REFLECTANCE_SCALE
from payload.training.augmentation import NO_AUGMENTATION
from payload.training.datasets import TrainingSet, load_training_set
from payload.training.sampling import Sampler, cut_patch

MakeCollection = Callable[..., Path]


@pytest.fixture
def training_set(make_collection: MakeCollection, tmp_path: Path) -> TrainingSet:
    scenes = [(f"s{i}", "human", "train") for i in range(3)]
    return load_training_set(make_collection(tmp_path / "c", scenes))


def test_a_step_always_gives_the_same_batch(training_set: TrainingSet) -> None:
    one, two = (Sampler(training_set, 32, 3, seed=1) for _ in range(2))
    one.draw(0)
    np.testing.assert_array_equal(one.draw(7).reflectance, two.draw(7).reflectance)
    assert not np.array_equal(two.draw(7).reflectance, two.draw(8).reflectance)
    other_seed = Sampler(training_set, 32, 3, seed=2)
    assert not np.array_equal(two.draw(7).reflectance, other_seed.draw(7).reflectance)


def test_shapes_follow_patch_and_batch(training_set: TrainingSet) -> None:
    batch = Sampler(training_set, 32, 5).draw(0)
    assert batch.reflectance.shape == (5, 4, 32, 32)
    assert batch.target.shape == batch.weight.shape == batch.teacher.shape == (5, 1, 32, 32)


def test_cloud_is_where_the_image_is_bright(training_set: TrainingSet) -> None:
    batch = Sampler(training_set, 32, 8, augmentation=NO_AUGMENTATION).draw(3)
    bright = batch.reflectance.mean(axis=1, keepdims=True)
    assert bright[batch.target > 0.99].min() > bright[batch.target < 0.01].max()


def test_an_image_smaller_than_the_patch_is_mirrored(training_set: TrainingSet) -> None:
    patch = cut_patch(training_set.samples[0], 96, np.random.default_rng(0))
    assert patch.shape == (8, 96, 96)
    assert patch[:4].min() > 0


def test_a_gap_in_the_data_is_not_smeared_into_ground(training_set: TrainingSet) -> None:
    sample = training_set.samples[0]
    holed = sample.digital_number.copy()
    holed[:, 20:30, 20:30] = 0
    weight = np.where(holed.any(axis=0), sample.weight, 0).astype(np.uint8)
    sample = replace(sample, digital_number=holed, weight=weight)
    darkest = sample.digital_number[:, holed.any(axis=0)].min() / REFLECTANCE_SCALE
    for seed in range(20):
        patch = cut_patch(sample, 32, np.random.default_rng(seed))
        gap = ~patch[:4].any(axis=0)
        assert np.all(patch[5][gap] == 0)
        assert patch[:4, ~gap].min() > darkest * 0.95


def test_the_teacher_is_the_label_where_it_has_not_looked(training_set: TrainingSet) -> None:
    batch = Sampler(training_set, 32, 2).draw(0)
    np.testing.assert_array_equal(batch.teacher, batch.target)
    seen = replace(
        training_set.samples[0], teacher=np.full((64, 64), 51, np.uint8), sampling_weight=1.0
    )
    looked = Sampler(TrainingSet((seen,)), 32, 2, augmentation=NO_AUGMENTATION).draw(0)
    np.testing.assert_allclose(looked.teacher, 0.2, atol=1e-6)
