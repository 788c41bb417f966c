"""What a trained teacher leaves behind: ONNX, card, soft labels, plan and loss curve.

The ONNX file is too large to commit; it goes to the user's cache of the project, where its card
finds it. Card, plan, loss log and curve, and the soft labels of every image that may be trained
on are small and are committed, so that students can be rebuilt without the teacher.
"""

from __future__ import annotations

import dataclasses
import shutil
import warnings
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import onnxruntime
import torch
from torch import Tensor, nn

from payload.card import InputSpec, ModelCard, cache_dir
from payload.card_file import read_card, save_card
from payload.frame import BANDS, TILE_PX
from payload.model import CloudModel, file_sha256
from payload.training.datasets import LABEL_KINDS, training_images
from payload.training.loss_log import CURVE, LOG
from payload.training.soft_labels import (
    FULL_SCALE,
    NNUNET,
    PROBABILITY_STEP,
    SoftLabel,
    quantise,
    write_soft_labels,
)
from payload.training.teacher import (
    MODEL_NAMES,
    PLAN,
    CloudNetwork,
    TeacherOptions,
    TrainedTeacher,
    TrainingError,
    parameter_count,
)
from payload.training.views import VIEWS, is_view, opinions_of_views

PACKAGE = Path(__file__).parents[1]
"""The package folder ``payload``, whose parts are committed."""

INPUT_NAME, OUTPUT_NAME = "reflectance", "cloud_probability"
OPSET = 17
EXPORT_TOLERANCE = 1e-3
"""Largest difference of probability allowed between torch and ONNX Runtime."""

HOUSE_MULTIPLE_PX = InputSpec().multiple_px
LICENCE = "Apache-2.0"
DESCRIPTIONS = {
    "nnunet": "Teacher: 2D PlainConvUNet planned by nnU-Net from the training data.",
    "unet-resnet34": "Baseline: U-Net with a ResNet-34 encoder from random weights.",
}
KNOWN_WEAKNESSES = (
    "Trained for minutes on a CPU, on few human labels: the published nnU-Net had a GPU, "
    "11 thousand labelled chips and five folds. Thin cirrus hardly shows in four bands; snow, ice "
    "and bright sand are the hard part."
)


class _Probability(nn.Module):
    """A network as the house contract wants it: reflectance in, cloud probability out."""

    def __init__(self, network: CloudNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, reflectance: Tensor) -> Tensor:
        return self.network.probability(reflectance)


def export_onnx(network: CloudNetwork, path: Path) -> float:
    """Write the network as ONNX and prove that it computes the same.

    Parameters
    ----------
    network : CloudNetwork
        In evaluation mode; batch normalisation is folded into the convolutions.
    path : Path

    Returns
    -------
    float
        Largest difference of probability found on random reflectance of two sizes.

    Raises
    ------
    TrainingError
        The difference exceeds `EXPORT_TOLERANCE`; the file is removed.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    module = _Probability(network).eval()
    edge = 2 * network.multiple_px
    axes = {0: "N", 2: "H", 3: "W"}
    with warnings.catch_warnings():
        # The exporter by tracing is announced as old; the new one needs another package.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            module,
            (torch.rand(1, len(BANDS), edge, edge),),
            str(path),
            input_names=[INPUT_NAME],
            output_names=[OUTPUT_NAME],
            dynamic_axes={INPUT_NAME: axes, OUTPUT_NAME: axes},
            opset_version=OPSET,
            dynamo=False,
        )
    difference = _largest_difference(module, path, edge)
    if difference > EXPORT_TOLERANCE:
        path.unlink()
        raise TrainingError(
            f"export of {path.stem}: ONNX Runtime and torch differ by {difference:.2e} in "
            f"probability, more than {EXPORT_TOLERANCE:.0e}; file removed"
        )
    return difference


@torch.no_grad()
def _largest_difference(module: nn.Module, path: Path, edge: int) -> float:
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    generator = np.random.default_rng(0)
    worst = 0.0
    for shape in ((1, len(BANDS), edge, edge), (2, len(BANDS), edge, 2 * edge)):
        reflectance = generator.uniform(0, 1.2, shape).astype(np.float32)
        expected = module(torch.from_numpy(reflectance)).numpy()
        (found,) = session.run([OUTPUT_NAME], {INPUT_NAME: reflectance})
        worst = max(worst, float(np.abs(found - expected).max()))
    return worst


@torch.no_grad()
def macs_per_px(network: CloudNetwork, edge: int = TILE_PX) -> float:
    """Multiply-accumulates of all convolutions per pixel of a full tile."""
    total = 0

    def count(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        nonlocal total
        # A transposed convolution applies its whole kernel once per input pixel.
        applied_at = inputs[0] if isinstance(module, nn.ConvTranspose2d) else output
        total += module.weight.numel() * applied_at.shape[-2] * applied_at.shape[-1]

    convolutions = [m for m in network.modules() if isinstance(m, nn.Conv2d | nn.ConvTranspose2d)]
    hooks = [module.register_forward_hook(count) for module in convolutions]
    try:
        network.probability(torch.zeros(1, len(BANDS), edge, edge))
    finally:
        for hook in hooks:
            hook.remove()
    return total / edge**2


def label_scenes(
    model: CloudModel,
    scenes_root: Path,
    folder: Path,
    report: Callable[[str], None] = lambda _: None,
) -> int:
    """Write a teacher's soft labels of every image that may be trained on.

    The teacher looks as it would fly: by its card, through ONNX Runtime, in tiles. One file per
    collection; images of the split ``val`` are not looked at.

    Returns
    -------
    int
        Number of images labelled.
    """
    by_collection: dict[str, dict[str, SoftLabel]] = {}
    for image in training_images(scenes_root):
        probability = quantise(model.probability(image.reflectance()[None])[0], PROBABILITY_STEP)
        label = SoftLabel(probability, np.full_like(probability, FULL_SCALE))
        by_collection.setdefault(image.scene.collection, {})[image.sha256] = label
    for collection, labels in by_collection.items():
        write_soft_labels(folder / f"{collection}.npz", labels)
        report(f"soft labels: {collection}, {len(labels)} images")
    return sum(len(labels) for labels in by_collection.values())


def _label_views(
    model: CloudModel, trained: TrainedTeacher, folder: Path, report: Callable[[str], None]
) -> None:
    """Write a teacher's soft labels of the views it learnt from, if it learnt from any."""
    cache = trained.options.pseudo_label_cache.with_name(VIEWS)
    if not any(map(is_view, trained.training_set.samples)):
        return
    opinions = opinions_of_views(
        trained.training_set, cache, lambda seen: model.probability(seen[None])[0]
    )
    write_soft_labels(folder / VIEWS, opinions)
    report(f"soft labels: {len(opinions)} views")


def card_of(trained: TrainedTeacher, onnx: Path) -> ModelCard:
    """The card of a trained teacher; scores and latencies are measured into it afterwards."""
    record, options = trained.record, trained.options
    network = trained.network
    images = ", ".join(f"{n} {kind}" for kind, n in trained.training_set.describe().items())
    return ModelCard(
        name=MODEL_NAMES[options.architecture],
        description=DESCRIPTIONS[options.architecture],
        onnx=onnx.name,
        sha256=file_sha256(onnx),
        bytes=onnx.stat().st_size,
        parameters=parameter_count(network),
        macs_per_px=round(macs_per_px(network), 1),
        precision="fp32",
        training_data=f"Splits train and unlabelled only: {images}.",
        licence=LICENCE,
        provenance=(
            f"{_command(options)}; {record.steps} steps, "
            f"{record.training_minutes:.1f} training minutes (processor time over threads), "
            f"{record.wall_minutes:.0f} min elapsed"
        ),
        notes=KNOWN_WEAKNESSES,
        measurements={"training": _training_record(trained)},
        input=dataclasses.replace(
            InputSpec(), multiple_px=max(HOUSE_MULTIPLE_PX, network.multiple_px)
        ),
    )


def _command(options: TeacherOptions) -> str:
    """The command that trains so again."""
    command = (
        f"nephoscope train teacher --architecture {options.architecture} --budget-minutes "
        f"{options.schedule.budget_minutes:g} --threads {options.schedule.threads} "
        f"--seed {options.seed}"
    )
    if tuple(options.label_kinds) != LABEL_KINDS:
        command += "".join(f" --label-kind {kind}" for kind in options.label_kinds)
    return command


def _training_record(trained: TrainedTeacher) -> dict[str, object]:
    record, schedule = trained.record, trained.options.schedule
    configuration = trained.plan["configurations"]["2d"]
    return {
        "steps": record.steps,
        "training_minutes": round(record.training_minutes, 2),
        "wall_minutes": round(record.wall_minutes, 1),
        "threads": schedule.threads,
        "patch_px": int(configuration["patch_size"][0]),
        "batch_size": int(configuration["batch_size"]),
        "peak_learning_rate": schedule.peak_learning_rate,
        "final_loss": round(record.final_loss, 4),
        "torch": str(torch.__version__),
    }


def write_outputs(
    trained: TrainedTeacher,
    report: Callable[[str], None] = lambda _: None,
    publish_to: Path | None = None,
) -> ModelCard:
    """Write the ONNX file and the card; on request also what is committed.

    Parameters
    ----------
    trained : TrainedTeacher
    report : callable
        Is told of progress, one line at a time.
    publish_to : Path, optional
        The package folder ``payload``. Its ``models`` gets the card, its ``training/records`` plan,
        loss log and curve, and, for the nnU-Net teacher, its ``training/soft_labels/nnunet``
        the labels of images and views.

    Returns
    -------
    ModelCard
    """
    name = MODEL_NAMES[trained.options.architecture]
    onnx = cache_dir() / f"{name}.onnx"
    onnx.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=onnx.parent, prefix=".unfinished-") as aside:
        made = Path(aside) / onnx.name
        difference = export_onnx(trained.network, made)
        card = card_of(trained, made)
        made.replace(onnx)
        save_card(card, onnx.with_suffix(".yaml"))
    report(f"{onnx}: {card.bytes / 1e6:.1f} MB, differs from torch by {difference:.1e}")
    if publish_to is not None:
        save_card(card, publish_to / "models" / f"{name}.yaml")
        _publish_records(trained.options.work_dir, publish_to / "training" / "records", name)
        if trained.options.architecture == "nnunet":
            folder = publish_to / "training" / "soft_labels" / NNUNET
            model = CloudModel(
                read_card(onnx.with_suffix(".yaml")), threads=trained.options.schedule.threads
            )
            label_scenes(model, trained.options.scenes_root, folder, report)
            _label_views(model, trained, folder, report)
    return card


def _publish_records(work_dir: Path, records: Path, name: str) -> None:
    records.mkdir(parents=True, exist_ok=True)
    for file in (PLAN, LOG, CURVE):
        shutil.copyfile(work_dir / file, records / f"{name}-{file}")
