"""Training the teacher, or the ResNet-34 baseline under the same terms.

Order of things: pseudo labels for what nobody labelled; the training set; nnU-Net's plan for it;
the network the plan asks for, with the plan's normalisation as its first layer; the training
itself. Both architectures share data, patch, batch, normalisation, augmentation and recipe, so
that a difference between them is the network's. What comes out (ONNX, card, soft labels) is in
`payload.training.teacher_outputs`.

The paper's own recipe for those with a GPU is documented in ``payload/training/README.md``.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from platformdirs import user_cache_path
from torch import Tensor, nn

from payload.training import nnunet_plan
from payload.training.augmentation import MODERATE
from payload.training.datasets import LABEL_KINDS, TrainingSet, load_training_set
from payload.training.loss_log import CURVE, LOG, plot_losses
from payload.training.losses import cloud_logit
from payload.training.resnet34 import MULTIPLE_PX, ResNet34UNet
from payload.training.sampling import Sampler
from payload.training.training_loop import (
    CHECKPOINT,
    Trainer,
    TrainingRecord,
    flushed_denormals,
)
from payload.training.training_plan import TrainingError, TrainingPlan
from payload.training.views import VIEWS, with_views
from payload.training.weak_labels import LABEL_VERSION, pseudo_labels
from payload.whole_file import finished_or_nothing

ARCHITECTURES: tuple[str, ...] = ("nnunet", "unet-resnet34")
MODEL_NAMES: dict[str, str] = {"nnunet": "nnunet-teacher", "unet-resnet34": "unet-resnet34"}
"""Name of the card of each architecture."""

PLAN = "plan.json"
PLAN_IMAGES = "plan-images.sha256"
"""Which images the plan was made for (`digest_of`)."""

PSEUDO_LABELS = f"pseudo_labels-v{LABEL_VERSION}.npz"


def training_folder() -> Path:
    """Where trainings live unless told otherwise: the user's cache of the project."""
    return user_cache_path("nephoscope") / "training"


@dataclass(frozen=True)
class TeacherOptions:
    """What `train_teacher` is asked for.

    Attributes
    ----------
    scenes_root : Path
        A scene collection or a folder of several.
    architecture : {"nnunet", "unet-resnet34"}
    work_dir : Path
        Checkpoint, log, curve and nnU-Net's own folders.
    schedule : TrainingPlan
    label_kinds : sequence of str
        Some of `payload.training.datasets.LABEL_KINDS`.
    seed : int
        Of first weights and of every draw.
    resume : bool
        Continue from the checkpoint in `work_dir`.
    pseudo_label_cache : Path
    """

    scenes_root: Path
    architecture: str
    work_dir: Path
    schedule: TrainingPlan
    label_kinds: Sequence[str] = LABEL_KINDS
    seed: int = 0
    resume: bool = False
    pseudo_label_cache: Path = field(default_factory=lambda: training_folder() / PSEUDO_LABELS)

    def __post_init__(self) -> None:
        if self.architecture not in ARCHITECTURES:
            raise TrainingError(
                f"--architecture is {self.architecture!r}, which is not known; use "
                f"{' or '.join(ARCHITECTURES)}"
            )


@dataclass(frozen=True)
class TrainedTeacher:
    """A trained network with what it took.

    Attributes
    ----------
    network : CloudNetwork
        The averaged weights, in evaluation mode.
    plan : dict
        nnU-Net's plan.
    record : TrainingRecord
    training_set : TrainingSet
    options : TeacherOptions
    """

    network: CloudNetwork
    plan: dict[str, Any]
    record: TrainingRecord
    training_set: TrainingSet
    options: TeacherOptions


class CloudNetwork(nn.Module):
    """Reflectance (N, 4, H, W) -> logits; the plan's normalisation, then the architecture."""

    def __init__(self, architecture: str, plan: dict[str, Any]) -> None:
        super().__init__()
        self.normalise = nnunet_plan.NormaliseReflectance(nnunet_plan.normalisation_of(plan))
        self.body = nnunet_plan.build_network(plan) if architecture == "nnunet" else ResNet34UNet()
        self.multiple_px = multiple_px(architecture, plan)

    def forward(self, reflectance: Tensor) -> Tensor | list[Tensor]:
        return self.body(self.normalise(reflectance))

    def probability(self, reflectance: Tensor) -> Tensor:
        """Cloud probability (N, 1, H, W) at full resolution."""
        outputs = self(reflectance)
        finest = outputs if isinstance(outputs, Tensor) else outputs[0]
        return torch.sigmoid(cloud_logit(finest))


def multiple_px(architecture: str, plan: dict[str, Any]) -> int:
    """What an image's edges must be a multiple of."""
    if architecture != "nnunet":
        return MULTIPLE_PX
    edge = 1
    for stride, _ in nnunet_plan.strides(plan):
        edge *= stride
    return edge


def train_teacher(
    options: TeacherOptions, report: Callable[[str], None] = lambda _: None
) -> TrainedTeacher:
    """Train to the end of the budget, or go on with a training that was interrupted.

    Parameters
    ----------
    options : TeacherOptions
    report : callable
        Is told of progress, one line at a time.

    Raises
    ------
    TrainingError
        Nothing to resume, a training that would be overwritten, a plan made for other images, or
        the checkpoint is of another seed or network.
    payload.training.datasets.TrainingDataError, payload.scenes.SceneError
        The scenes cannot be used.
    payload.training.weak_labels.WeakLabelError
        Pseudo labels are wanted and the peers are not installed.
    """
    _check_work_dir(options)
    training_set = _training_set(options, report)
    report(f"{len(training_set.samples)} training images: {training_set.describe()}")
    plan = plan_of(training_set, options.work_dir)
    sampler = Sampler(training_set, *nnunet_plan.patch_and_batch(plan), options.seed, MODERATE)
    with flushed_denormals():
        torch.manual_seed(options.seed)
        network = CloudNetwork(options.architecture, plan)
        report(f"{options.architecture}: {parameter_count(network) / 1e6:.2f} M parameters")
        trainer = Trainer(
            network,
            sampler,
            options.schedule,
            options.work_dir,
            report=report,
            seed=options.seed,
        )
        if options.resume:
            trainer.resume()
        record = trainer.run()
    name = MODEL_NAMES[options.architecture]
    plot_losses(options.work_dir / LOG, options.work_dir / CURVE, f"{name}: training loss")
    return TrainedTeacher(trainer.average.eval(), plan, record, training_set, options)


def _training_set(options: TeacherOptions, report: Callable[[str], None]) -> TrainingSet:
    pseudo = None
    if "pseudo" in options.label_kinds:
        pseudo = pseudo_labels(
            options.scenes_root, options.pseudo_label_cache, report, options.schedule.threads
        )
    training_set = load_training_set(options.scenes_root, options.label_kinds, pseudo=pseudo)
    if "pseudo" not in options.label_kinds:  # views are judged by the peers
        return training_set
    views = options.pseudo_label_cache.with_name(VIEWS)
    return with_views(training_set, views, report, options.schedule.threads)


def _check_work_dir(options: TeacherOptions) -> None:
    checkpoint = options.work_dir / CHECKPOINT
    if checkpoint.is_file() and not options.resume:
        raise TrainingError(
            f"{options.work_dir} holds a training already; go on with it by --resume, or begin "
            "anew in another --work-dir"
        )
    options.work_dir.mkdir(parents=True, exist_ok=True)


def plan_of(training_set: TrainingSet, work_dir: Path) -> dict[str, Any]:
    """The plan in the work folder; made first where there is none yet.

    A plan that was put there by hand is taken as it is.

    Raises
    ------
    TrainingError
        The plan was made here for other images, or is damaged.
    """
    path, made_for = work_dir / PLAN, work_dir / PLAN_IMAGES
    images = digest_of(training_set)
    if not path.is_file():
        work_dir.mkdir(parents=True, exist_ok=True)
        plan = nnunet_plan.make_plan(training_set, work_dir / "nnunet")
        made_for.write_text(images + "\n", encoding="ascii")
        with finished_or_nothing(path) as file:
            file.write((json.dumps(plan, indent=2) + "\n").encode("utf-8"))
    elif made_for.is_file() and made_for.read_text(encoding="ascii").strip() != images:
        raise TrainingError(
            f"{path} was planned for other images or labels than these; name another --work-dir"
        )
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except ValueError as error:
        raise TrainingError(
            f"{path} is damaged ({error}); restore it, or remove it: it is made again"
        ) from error


def digest_of(training_set: TrainingSet) -> str:
    """SHA-256 over the images and what kinds of label they have."""
    known = sorted(f"{sample.sha256} {sample.label_kind}" for sample in training_set.samples)
    return hashlib.sha256("\n".join(known).encode()).hexdigest()


def parameter_count(network: nn.Module) -> int:
    """Number of trained weights."""
    return sum(parameter.numel() for parameter in network.parameters())
