"""The plan is nnU-Net's own, with three stated changes; its normalisation is ours exactly."""

from __future__ import annotations

import json
import multiprocessing
import multiprocessing.dummy
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch", reason="training needs the extra `train`")

import torch
from torch import nn

from payload.training import nnunet_plan
from payload.training.datasets import TrainingSet, load_training_set
from payload.training.nnunet_plan import (
    BATCH_SIZE,
    DATASET,
    IGNORE_BELOW,
    LABELS,
    PATCH_PX,
    NormaliseReflectance,
    build_network,
    fixed_for_cpu,
    hard_label,
    make_plan,
    normalisation_of,
    patch_and_batch,
    strides,
    write_raw_dataset,
)
from payload.training.soft_labels import FULL_SCALE

MakeCollection = Callable[..., Path]
NORMALISATION_TOLERANCE = 1e-4
"""nnU-Net keeps its preprocessed images compressed, in single precision."""
STATISTICS_TOLERANCE = 0.02
"""Ten thousand draws per image from values that scatter by a tenth."""


@pytest.fixture
def training_set(make_collection: MakeCollection, tmp_path: Path) -> TrainingSet:
    scenes = [(f"s{i}", "human", "train") for i in range(3)]
    return load_training_set(make_collection(tmp_path / "c", scenes, 48))


@pytest.fixture
def written_plan() -> dict[str, Any]:
    """The part of a plan of nnU-Net 2.8 that we read, for a network of two stages."""
    band = {"percentile_00_5": 0.0, "percentile_99_5": 12000.0, "mean": 3000.0, "std": 2500.0}
    return {
        "foreground_intensity_properties_per_channel": {str(i): dict(band) for i in range(4)},
        "configurations": {
            "2d": {
                "patch_size": [256, 256],
                "batch_size": 13,
                "architecture": {
                    "network_class_name": (
                        "dynamic_network_architectures.architectures.unet.PlainConvUNet"
                    ),
                    "arch_kwargs": {
                        "n_stages": 2,
                        "features_per_stage": [4, 8],
                        "conv_op": "torch.nn.modules.conv.Conv2d",
                        "kernel_sizes": [[3, 3], [3, 3]],
                        "strides": [[1, 1], [2, 2]],
                        "n_conv_per_stage": [1, 1],
                        "n_conv_per_stage_decoder": [1],
                        "conv_bias": True,
                        "norm_op": "torch.nn.modules.instancenorm.InstanceNorm2d",
                        "norm_op_kwargs": {"eps": 1e-05, "affine": True},
                        "dropout_op": None,
                        "dropout_op_kwargs": None,
                        "nonlin": "torch.nn.LeakyReLU",
                        "nonlin_kwargs": {"inplace": True},
                    },
                    "_kw_requires_import": ["conv_op", "norm_op", "dropout_op", "nonlin"],
                },
            }
        },
    }


def test_patch_batch_and_normalisation_layers_are_fixed(written_plan: dict[str, Any]) -> None:
    fixed = fixed_for_cpu(written_plan)
    assert patch_and_batch(fixed) == (PATCH_PX, BATCH_SIZE)
    assert patch_and_batch(written_plan) == (256, 13), "the plan given is left alone"
    kinds = {type(module) for module in build_network(fixed).modules()}
    assert nn.BatchNorm2d in kinds
    assert nn.InstanceNorm2d not in kinds
    untouched = {"features_per_stage", "strides", "n_stages", "kernel_sizes"}
    before, after = (
        p["configurations"]["2d"]["architecture"]["arch_kwargs"] for p in (written_plan, fixed)
    )
    assert all(before[key] == after[key] for key in untouched)
    assert strides(fixed) == [[1, 1], [2, 2]]


def test_the_network_gives_two_classes_at_each_scale(written_plan: dict[str, Any]) -> None:
    written_plan["configurations"]["2d"]["architecture"]["arch_kwargs"] |= {
        "n_stages": 3,
        "features_per_stage": [4, 8, 8],
        "kernel_sizes": [[3, 3]] * 3,
        "strides": [[1, 1], [2, 2], [2, 2]],
        "n_conv_per_stage": [1, 1, 1],
        "n_conv_per_stage_decoder": [1, 1],
    }
    outputs = build_network(written_plan)(torch.rand(1, 4, 32, 32))
    assert [tuple(o.shape) for o in outputs] == [(1, 2, 32, 32), (1, 2, 16, 16)]


def test_normalisation_clips_and_standardises(written_plan: dict[str, Any]) -> None:
    layer = NormaliseReflectance(normalisation_of(written_plan))
    seen = layer(torch.tensor([-0.5, 0.3, 1.2, 5.0]).reshape(1, 1, 2, 2).expand(1, 4, 2, 2))
    np.testing.assert_allclose(seen[0, 0].flatten(), [-1.2, 0.0, 3.6, 3.6], atol=1e-6)


def test_untrusted_pixels_are_ignored_in_hard_labels(training_set: TrainingSet) -> None:
    weight = np.full((48, 48), FULL_SCALE, dtype=np.uint8)
    weight[0] = int(IGNORE_BELOW * FULL_SCALE) - 1
    sample = replace(training_set.samples[0], weight=weight)
    label = hard_label(sample)
    assert np.all(label[0] == LABELS["ignore"])
    np.testing.assert_array_equal(label[1:] == 1, sample.target[1:] > 127)


def test_cases_of_an_earlier_larger_set_do_not_stay(
    training_set: TrainingSet, tmp_path: Path
) -> None:
    write_raw_dataset(training_set, tmp_path / DATASET)
    write_raw_dataset(replace(training_set, samples=training_set.samples[:1]), tmp_path / DATASET)
    labels = (tmp_path / DATASET / "labelsTr").iterdir()
    assert [path.name for path in labels] == ["clouds_0000.tif"]
    assert len(list((tmp_path / DATASET / "imagesTr").iterdir())) == 4


def test_the_committed_plan_is_a_teacher_of_33_million_weights() -> None:
    records = Path(nnunet_plan.__file__).parent / "records"
    plan = json.loads((records / "nnunet-teacher-plan.json").read_text(encoding="utf-8"))
    assert patch_and_batch(plan) == (PATCH_PX, BATCH_SIZE)
    assert plan["dataset_name"] == DATASET
    weights = sum(p.numel() for p in build_network(plan).parameters())
    assert weights == pytest.approx(33.5e6, rel=0.01)


def test_nnunet_itself_plans_and_preprocesses(
    training_set: TrainingSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Runs nnunetv2 on three small images and compares its preprocessing with our layer.

    Its worker processes are threads here: each process would import torch anew.
    """
    pytest.importorskip("nnunetv2")
    real = multiprocessing.get_context
    monkeypatch.setattr(
        multiprocessing,
        "get_context",
        lambda method=None: multiprocessing.dummy if method == "spawn" else real(method),
    )
    for folder in ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results"):
        monkeypatch.setenv(folder, "set by make_plan, taken back by this test")
    plan = make_plan(training_set, tmp_path / "work", processes=1, statistics_px=30_000)
    configuration = plan["configurations"]["2d"]
    assert configuration["normalization_schemes"] == ["CTNormalization"] * 4
    assert configuration["architecture"]["network_class_name"].endswith("PlainConvUNet")
    assert plan["experiment_planner_used"] == "ExperimentPlanner"
    cloud = np.concatenate([s.digital_number[0][(s.target > 127)] for s in training_set.samples])
    found = normalisation_of(plan).mean[0]
    assert found == pytest.approx(cloud.mean() / 10_000, rel=STATISTICS_TOLERANCE), (
        "statistics under cloud"
    )

    from nnunetv2.training.dataloading.nnunet_dataset import nnUNetDatasetBlosc2

    work = tmp_path / "work"
    folder = work / "nnUNet_preprocessed" / DATASET / configuration["data_identifier"]
    preprocessed = nnUNetDatasetBlosc2(str(folder)).load_case("clouds_0001")[0]
    reflectance = training_set.samples[1].digital_number.astype(np.float32) / 10_000
    ours = NormaliseReflectance(normalisation_of(plan))(torch.from_numpy(reflectance)[None])
    np.testing.assert_allclose(
        np.asarray(preprocessed)[:, 0], ours[0].numpy(), atol=NORMALISATION_TOLERANCE
    )
