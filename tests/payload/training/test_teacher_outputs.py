"""From a tiny training to ONNX, card and soft labels; and the command that does it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch", reason="training needs the extra `train`")

import torch
from typer.testing import CliRunner

from payload.card_library import load_card
from payload.model import CloudModel
from payload.training import publication, teacher, teacher_outputs
from payload.training.augmentation import MODERATE
from payload.training.datasets import training_images
from payload.training.nnunet_plan import DATASET
from payload.training.resnet34 import ResNet34UNet
from payload.training.soft_labels import NNUNET, read_soft_labels
from payload.training.teacher import (
    CloudNetwork,
    TeacherOptions,
    TrainedTeacher,
    multiple_px,
    parameter_count,
    train_teacher,
)
from payload.training.teacher_outputs import export_onnx, macs_per_px, write_outputs
from payload.training.training_plan import TrainingError, TrainingPlan
from simulator.commands.train import app

MakeCollection = Callable[..., Path]
EXPORT_TOLERANCE = 1e-4

TINY_STAGES = {
    "n_stages": 3,
    "features_per_stage": [4, 8, 8],
    "conv_op": "torch.nn.modules.conv.Conv2d",
    "kernel_sizes": [[3, 3]] * 3,
    "strides": [[1, 1], [2, 2], [2, 2]],
    "n_conv_per_stage": [1, 1, 1],
    "n_conv_per_stage_decoder": [1, 1],
    "conv_bias": False,
    "norm_op": "torch.nn.modules.batchnorm.BatchNorm2d",
    "norm_op_kwargs": {"eps": 1e-05, "affine": True},
    "dropout_op": None,
    "dropout_op_kwargs": None,
    "nonlin": "torch.nn.LeakyReLU",
    "nonlin_kwargs": {"inplace": True},
}


def tiny_plan() -> dict[str, Any]:
    band = {"percentile_00_5": 0.0, "percentile_99_5": 12000.0, "mean": 3000.0, "std": 2500.0}
    return {
        "dataset_name": DATASET,
        "foreground_intensity_properties_per_channel": {str(i): dict(band) for i in range(4)},
        "configurations": {
            "2d": {
                "patch_size": [32, 32],
                "batch_size": 2,
                "architecture": {
                    "network_class_name": (
                        "dynamic_network_architectures.architectures.unet.PlainConvUNet"
                    ),
                    "arch_kwargs": TINY_STAGES,
                    "_kw_requires_import": ["conv_op", "norm_op", "dropout_op", "nonlin"],
                },
            }
        },
    }


@pytest.fixture
def options(
    make_collection: MakeCollection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> TeacherOptions:
    """A training of three steps on two drawn images, with a tiny plan instead of nnU-Net's."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(teacher.nnunet_plan, "make_plan", lambda *_: tiny_plan())
    scenes = [("a", "human", "train"), ("b", "human", "train"), ("held_out", "human", "val")]
    return TeacherOptions(
        scenes_root=make_collection(tmp_path / "c", scenes),
        architecture="nnunet",
        work_dir=tmp_path / "work",
        schedule=TrainingPlan(1.0, total_steps=3, warmup_steps=1, threads=1),
        label_kinds=("human",),
    )


@pytest.fixture
def trained(options: TeacherOptions) -> TrainedTeacher:
    return train_teacher(options)


def test_a_trained_teacher_leaves_a_model_that_flies(
    trained: TrainedTeacher, tmp_path: Path
) -> None:
    package = tmp_path / "package"
    (package / "models").mkdir(parents=True)
    write_outputs(trained, publish_to=package)
    model = CloudModel(load_card("nnunet-teacher"))
    reflectance = np.random.default_rng(0).uniform(0, 1, (1, 4, 32, 64)).astype(np.float32)
    with torch.no_grad():
        expected = trained.network.probability(torch.from_numpy(reflectance))[0]
    np.testing.assert_allclose(
        model.probability(reflectance), expected.numpy(), atol=EXPORT_TOLERANCE
    )
    assert (package / "models" / "nnunet-teacher.yaml").is_file()
    labels = package / "training" / "soft_labels" / NNUNET
    assert [path.name for path in labels.iterdir()] == ["c.npz"]
    names = {path.name for path in (package / "training" / "records").iterdir()}
    assert names == {f"nnunet-teacher-{n}" for n in ("plan.json", "loss.csv", "loss.png")}


def test_soft_labels_cover_what_may_be_trained_on_and_nothing_else(
    trained: TrainedTeacher, tmp_path: Path
) -> None:
    root = trained.options.scenes_root
    model = CloudModel(write_outputs(trained))
    assert teacher_outputs.label_scenes(model, root, tmp_path / "labels") == 2
    labels = read_soft_labels(tmp_path / "labels")
    assert labels.keys() == {image.sha256 for image in training_images(root)}


def test_a_teacher_sees_mild_changes(
    options: TeacherOptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []
    sampler = teacher.Sampler

    def watched(*arguments: object) -> object:
        seen.append(sampler(*arguments))
        return seen[-1]

    monkeypatch.setattr(teacher, "Sampler", watched)
    train_teacher(options)
    assert [drawn.augmentation for drawn in seen] == [MODERATE]


def test_the_card_tells_how_the_model_came_about(trained: TrainedTeacher) -> None:
    card = write_outputs(trained)
    assert card.parameters == parameter_count(trained.network)
    assert "2 c (human)" in card.training_data
    assert "3 steps" in card.provenance
    assert "--threads 1 --seed 0 --label-kind human;" in card.provenance
    assert card.measurements["training"]["patch_px"] == 32
    assert load_card("nnunet-teacher").sha256 == card.sha256


def test_a_training_is_not_overwritten_unasked(trained: TrainedTeacher) -> None:
    with pytest.raises(TrainingError, match=r"holds a training already; go on with it by --resume"):
        train_teacher(trained.options)


def test_a_training_is_not_resumed_with_other_draws(trained: TrainedTeacher) -> None:
    other = replace(trained.options, seed=3, resume=True)
    with pytest.raises(TrainingError, match=r"--seed is 3, but the training in .* draws with 0"):
        train_teacher(other)
    assert train_teacher(replace(other, seed=0)).record.steps == trained.record.steps


def test_a_plan_made_for_other_images_is_not_taken(
    trained: TrainedTeacher,
) -> None:
    work_dir = trained.options.work_dir
    assert teacher.plan_of(trained.training_set, work_dir) == trained.plan
    fewer = replace(trained.training_set, samples=trained.training_set.samples[:1])
    with pytest.raises(TrainingError, match="planned for other images"):
        teacher.plan_of(fewer, work_dir)
    (work_dir / teacher.PLAN_IMAGES).unlink()  # a plan that somebody put there
    assert teacher.plan_of(fewer, work_dir) == trained.plan


def test_a_damaged_plan_is_named(trained: TrainedTeacher) -> None:
    path = trained.options.work_dir / teacher.PLAN
    path.write_text(path.read_text()[:100])
    with pytest.raises(TrainingError, match=r"plan\.json is damaged .* it is made again"):
        teacher.plan_of(trained.training_set, trained.options.work_dir)


def test_an_export_that_differs_is_not_left_behind(
    trained: TrainedTeacher, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(teacher_outputs, "EXPORT_TOLERANCE", -1.0)
    with pytest.raises(TrainingError, match="file removed"):
        export_onnx(trained.network, tmp_path / "model.onnx")
    assert not (tmp_path / "model.onnx").exists()


def test_multiply_accumulates_are_counted_by_hand(trained: TrainedTeacher) -> None:
    encoder = 4 * 4 * 9 + 4 * 8 * 9 / 4 + 8 * 8 * 9 / 16
    up = 8 * 8 * 4 / 16 + 8 * 4 * 4 / 4
    decoder = 16 * 8 * 9 / 4 + 8 * 4 * 9
    heads = 8 * 2 / 4 + 4 * 2
    assert macs_per_px(trained.network, 64) == pytest.approx(encoder + up + decoder + heads)


def test_resnet34_has_the_published_layout() -> None:
    network = ResNet34UNet()
    assert [len(stage) for stage in network.stages] == [3, 4, 6, 3]
    encoder = [network.stem, network.stages]
    published, three_bands_to_four, classifier = 21_797_672, 7 * 7 * 64, 512 * 1000 + 1000
    weights = sum(p.numel() for part in encoder for p in part.parameters())
    assert weights == published + three_bands_to_four - classifier
    with torch.no_grad():
        assert network.eval()(torch.rand(1, 4, 64, 96)).shape == (1, 1, 64, 96)


def test_both_architectures_share_normalisation_and_contract() -> None:
    plan = tiny_plan()
    for name in teacher.ARCHITECTURES:
        network = CloudNetwork(name, plan).eval()
        with torch.no_grad():
            probability = network.probability(torch.rand(1, 4, 64, 64))
        assert probability.shape == (1, 1, 64, 64)
        assert 0 <= float(probability.min()) <= float(probability.max()) <= 1
    assert (multiple_px("nnunet", plan), multiple_px("unet-resnet34", plan)) == (4, 32)


def test_the_command_trains_and_resumes(options: TeacherOptions, tmp_path: Path) -> None:
    arguments = [
        "teacher", "--scenes", str(options.scenes_root), "--work-dir", str(tmp_path / "cli"),
        "--label-kind", "human", "--threads", "1",
    ]  # fmt: skip
    first = CliRunner().invoke(app, [*arguments, "--budget-minutes", "0.01"])
    assert first.exit_code == 0, first.output
    assert "nnunet-teacher: score it with" in first.output
    again = CliRunner().invoke(app, [*arguments, "--budget-minutes", "0.012", "--resume"])
    assert again.exit_code == 0, again.output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--architecture", "transformer"], "--architecture is 'transformer'"),
        (["--budget-minutes", "0"], "budget_minutes is 0"),
        (["--label-kind", "guess"], "'guess' is not known"),
        (["--label-kind", "human", "--resume"], "start without --resume"),
    ],
)
def test_user_errors_end_with_exit_code_2(
    options: TeacherOptions, tmp_path: Path, arguments: list[str], message: str
) -> None:
    base = ["teacher", "--scenes", str(options.scenes_root), "--work-dir", str(tmp_path / "cli")]
    result = CliRunner().invoke(app, [*base, *arguments])
    assert result.exit_code == 2
    assert message in result.output
    assert "Traceback" not in result.output


def test_without_scenes_the_remedy_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NEPHOSCOPE_SCENES", raising=False)
    result = CliRunner().invoke(app, ["teacher"])
    assert result.exit_code == 2
    assert "name the folder" in result.output


def test_a_student_of_unknown_size_or_without_a_teacher_is_refused(
    options: TeacherOptions, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(publication, "SOFT_LABELS", tmp_path / "no_labels")
    base = ["student", "--scenes", str(options.scenes_root), "--label-kind", "human"]
    for extra, message in (
        (["--params", "7"], "'7'"),
        (["--teacher-share", "0.5", "--steps", "1"], "there are no soft labels there"),
    ):
        result = CliRunner().invoke(app, [*base, *extra])
        assert result.exit_code == 2
        assert message in result.output
