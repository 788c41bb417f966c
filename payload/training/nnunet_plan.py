"""The teacher's plan, made by nnU-Net itself from the data.

`nnunetv2` looks at the images (fingerprint: shapes, intensity statistics under cloud), plans a 2D
U-Net for them (depth, features, patch, batch, normalisation) and preprocesses them. Three things
of its plan are then fixed by us, and written into the plan so that nothing is hidden:

- *patch and batch* to what a CPU can step through in seconds; nnU-Net sizes both for a GPU;
- *batch normalisation* in place of instance normalisation, as nnU-Net's own trainer variant
  ``nnUNetTrainerBN`` does: a patch that is all cloud and one that is all desert differ in
  brightness alone, which is just what instance normalisation takes away;
- the channels are declared ``CT``, nnU-Net's word for a physical scale: clipping and
  standardising use statistics of the whole data set, so that they fit inside the exported graph.

nnU-Net learns from hard masks: targets are cut at one half, and what is not trusted becomes its
``ignore`` label. Our training loop uses the soft targets themselves.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from skimage import io
from torch import Tensor, nn

from payload.frame import BANDS
from payload.scenes import REFLECTANCE_SCALE
from payload.training.datasets import Sample, TrainingSet
from payload.training.soft_labels import FULL_SCALE

DATASET = "Dataset083_Clouds"
"""nnU-Net's name for the data; 83 is the number of the On Cloud N competition."""

PATCH_PX, BATCH_SIZE = 192, 8
"""Fixed in the plan. A patch of 192 px still shows the ground around a cloud; a step of Muon costs
as much whatever the batch, as much as four patches do, so that it pays to show it eight."""

IGNORE_BELOW = 0.3
"""Pixels trusted less than this are nnU-Net's ``ignore``."""

STATISTICS_PX = 100_000_000
"""nnU-Net's own number."""

LABELS: Mapping[str, int] = {"background": 0, "cloud": 1, "ignore": 2}
CONFIGURATION = "2d"
PLAN_FILE, FINGERPRINT_FILE = "nnUNetPlans.json", "dataset_fingerprint.json"
BATCH_NORM = "torch.nn.modules.batchnorm.BatchNorm2d"


@dataclass(frozen=True)
class Normalisation:
    """Clipping and standardising per band, in reflectance: nnU-Net's ``CTNormalization``.

    Attributes
    ----------
    low, high, mean, std : tuple of float
        One value per band of `payload.frame.BANDS`.
    """

    low: tuple[float, ...]
    high: tuple[float, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]


class NormaliseReflectance(nn.Module):
    """`Normalisation` as the first layer of a network: (N, 4, H, W) -> (N, 4, H, W)."""

    def __init__(self, normalisation: Normalisation) -> None:
        super().__init__()
        for name in ("low", "high", "mean", "std"):
            values = torch.tensor(getattr(normalisation, name), dtype=torch.float32)
            self.register_buffer(name, values[:, None, None])

    def forward(self, reflectance: Tensor) -> Tensor:
        clipped = torch.minimum(torch.maximum(reflectance, self.low), self.high)
        return (clipped - self.mean) / self.std


def make_plan(
    training_set: TrainingSet,
    work_dir: Path,
    processes: int = 2,
    statistics_px: int = STATISTICS_PX,
) -> dict[str, Any]:
    """Fingerprint, plan and preprocess with nnU-Net; return the plan with our three changes.

    Parameters
    ----------
    training_set : TrainingSet
    work_dir : Path
        Gets nnU-Net's folders ``nnUNet_raw``, ``nnUNet_preprocessed`` and ``nnUNet_results``.
    processes : int
        Worker processes of nnU-Net.
    statistics_px : int
        Cloud pixels drawn, with repetition, for the intensity statistics.

    Returns
    -------
    dict
        nnU-Net's plan; also in ``nnUNet_preprocessed/Dataset083_Clouds/nnUNetPlans.json``.
    """
    raw, preprocessed = _declare_folders(work_dir)
    write_raw_dataset(training_set, raw / DATASET)
    # nnU-Net reads its folders from the environment when imported or used: import after that.
    from nnunetv2.experiment_planning.dataset_fingerprint.fingerprint_extractor import (
        DatasetFingerprintExtractor,
    )
    from nnunetv2.experiment_planning.experiment_planners.default_experiment_planner import (
        ExperimentPlanner,
    )
    from nnunetv2.preprocessing.preprocessors.default_preprocessor import DefaultPreprocessor

    extractor = DatasetFingerprintExtractor(DATASET, processes)
    extractor.num_foreground_voxels_for_intensitystats = statistics_px
    extractor.run(overwrite_existing=True)
    ExperimentPlanner(DATASET).plan_experiment()
    plan_file = preprocessed / DATASET / PLAN_FILE
    plan = fixed_for_cpu(json.loads(plan_file.read_text(encoding="utf-8")))
    plan_file.write_text(json.dumps(plan, indent=2) + "\n", encoding="utf-8")
    DefaultPreprocessor(verbose=False).run(DATASET, CONFIGURATION, plan_file.stem, processes)
    return plan


def _declare_folders(work_dir: Path) -> tuple[Path, Path]:
    folders = []
    for name in ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results"):
        folder = work_dir.resolve() / name
        folder.mkdir(parents=True, exist_ok=True)
        os.environ[name] = str(folder)
        folders.append(folder)
    return folders[0], folders[1]


def write_raw_dataset(training_set: TrainingSet, folder: Path) -> None:
    """Write a training set in nnU-Net's raw layout: one file per channel and a label file.

    Channel ``c`` of case ``k`` is ``imagesTr/k_000c.tif`` (digital numbers), its label
    ``labelsTr/k.tif``. What the folder held before is removed: nnU-Net would plan for the cases of
    an earlier, larger set as well.
    """
    images, labels = folder / "imagesTr", folder / "labelsTr"
    for path in (images, labels):
        shutil.rmtree(path, ignore_errors=True)
        path.mkdir(parents=True)
    for index, sample in enumerate(training_set.samples):
        case = f"clouds_{index:04d}"
        for channel, band in enumerate(sample.digital_number):
            io.imsave(images / f"{case}_{channel:04d}.tif", band, check_contrast=False)
        io.imsave(labels / f"{case}.tif", hard_label(sample), check_contrast=False)
    description = {
        "channel_names": {str(i): "CT" for i in range(len(BANDS))},
        "labels": dict(LABELS),
        "numTraining": len(training_set.samples),
        "file_ending": ".tif",
        "overwrite_image_reader_writer": "NaturalImage2DIO",
        "description": f"bands {', '.join(BANDS)}, reflectance x {REFLECTANCE_SCALE:g}",
    }
    (folder / "dataset.json").write_text(json.dumps(description, indent=2), encoding="utf-8")


def hard_label(sample: Sample) -> NDArray[np.uint8]:
    """Mask with the values of `LABELS`, shape (H, W)."""
    cloud = (sample.target > FULL_SCALE // 2).astype(np.uint8)
    untrusted = sample.weight < IGNORE_BELOW * FULL_SCALE
    return np.where(untrusted, np.uint8(LABELS["ignore"]), cloud)


def fixed_for_cpu(plan: Mapping[str, Any]) -> dict[str, Any]:
    """The plan with patch, batch and normalisation layers fixed (see the module's opening)."""
    fixed = json.loads(json.dumps(plan))
    configuration = fixed["configurations"][CONFIGURATION]
    configuration["patch_size"] = [PATCH_PX, PATCH_PX]
    configuration["batch_size"] = BATCH_SIZE
    kwargs = configuration["architecture"]["arch_kwargs"]
    kwargs["norm_op"] = BATCH_NORM
    # The layer that follows subtracts the mean, and a bias with it.
    kwargs["conv_bias"] = False
    return dict(fixed)


def normalisation_of(plan: Mapping[str, Any]) -> Normalisation:
    """What the plan prescribes per band, from digital numbers to reflectance."""
    per_band = plan["foreground_intensity_properties_per_channel"]

    def values(key: str) -> tuple[float, ...]:
        return tuple(per_band[str(i)][key] / REFLECTANCE_SCALE for i in range(len(BANDS)))

    return Normalisation(
        low=values("percentile_00_5"),
        high=values("percentile_99_5"),
        mean=values("mean"),
        std=values("std"),
    )


def build_network(plan: Mapping[str, Any]) -> nn.Module:
    """The network of a plan: (N, 4, H, W) normalised -> list of (N, 2, h, w), finest first."""
    from nnunetv2.utilities.get_network_from_plans import get_network_from_plans

    architecture = plan["configurations"][CONFIGURATION]["architecture"]
    classes = sum(name != "ignore" for name in LABELS)
    return get_network_from_plans(
        architecture["network_class_name"],
        architecture["arch_kwargs"],
        architecture["_kw_requires_import"],
        len(BANDS),
        classes,
        deep_supervision=True,
    )


def patch_and_batch(plan: Mapping[str, Any]) -> tuple[int, int]:
    """Patch edge in pixels and batch size of a plan."""
    configuration = plan["configurations"][CONFIGURATION]
    return int(configuration["patch_size"][0]), int(configuration["batch_size"])


def strides(plan: Mapping[str, Any]) -> Sequence[Sequence[int]]:
    """Stride of each stage; their product is what an image's edge must be a multiple of."""
    kwargs = plan["configurations"][CONFIGURATION]["architecture"]["arch_kwargs"]
    return [list(stride) for stride in kwargs["strides"]]
