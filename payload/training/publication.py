"""From a recipe to the files that fly: ONNX and card, fp32 and INT8.

`build_student` is what `nephoscope train student` runs: it gathers the labels the recipe asks
for, trains, and publishes. A card says what the student learnt from and with which recipe, so
that the same command gives the same student again; what it costs and how good it is are measured
afterwards by `nephoscope models profile` and `nephoscope models evaluate`, which write into the
card what they find.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from tempfile import TemporaryDirectory

from payload.card import MODELS_DIR, ModelCard
from payload.card_file import save_card
from payload.model import file_sha256
from payload.training.datasets import LABEL_KINDS, TrainingSet, load_training_set
from payload.training.distillation import (
    Report,
    StudentRecipe,
    TrainedStudent,
    train_student,
)
from payload.training.export import export_student
from payload.training.quantisation import calibration_tiles, quantise_student
from payload.training.soft_labels import NNUNET, SOFT_LABELS, read_soft_labels
from payload.training.students import StudentError
from payload.training.views import VIEWS, with_views
from payload.training.weak_labels import pseudo_labels

DEFAULT_SIZE = "120k"
DEFAULT_NAME = "unet-distilled"
INT8_SUFFIX = "-int8"
LOCAL_SUFFIX = "-local"
"""Of a student in the user's cache: the bare name always means the one that ships."""

ROOM_BYTES = 5_000_000
"""The largest student with its INT8 form and cards takes half of it."""

MODEL_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
LICENCE = "Apache-2.0"

KNOWN_WEAKNESSES = (
    "Four bands cannot show thin cirrus; snow, ice, salt and bright sand are the hard part; few "
    "human labels were there to learn from."
)

PEER_THREADS = os.cpu_count() or 1
"""Threads the peers judge images with, where they still have to."""

_TAUGHT_BY = {
    "peers": "taught by labels and by the joint opinion of ukis-csmask and s2cloudless",
    NNUNET: "taught by labels and distilled from the nnU-Net teacher",
}


def student_name(size: str, published: bool = True) -> str:
    """Name of the student of a size: the default has no size in it."""
    name = DEFAULT_NAME if size == DEFAULT_SIZE else f"{DEFAULT_NAME}-{size}"
    return name if published else name + LOCAL_SUFFIX


def build_student(
    scenes_root: Path,
    recipe: StudentRecipe,
    folder: Path,
    pseudo_label_cache: Path,
    name: str,
    report: Report | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> tuple[ModelCard, ModelCard]:
    """Train a student and write it, fp32 and INT8, with cards.

    Parameters
    ----------
    scenes_root : Path
        A scene collection or a folder of several.
    recipe : StudentRecipe
    folder : Path
        Where ``<name>.onnx``, ``<name>.yaml`` and the same with ``-int8`` go.
    pseudo_label_cache : Path
        File of the peers' pseudo labels; made when missing and asked for by the recipe.
    name : str
        Of the fp32 student; a file name without folder or suffix.
    report : callable, optional
        Told of every step.
    say : callable
        Told one line per stage.

    Returns
    -------
    tuple of ModelCard
        Of the fp32 and of the INT8 student.

    Raises
    ------
    StudentError
        The name is no file name, or a model that ships has it and lies elsewhere; or there is no
        room for the student's files.
    """
    _check_name(name, folder)
    _check_room(folder)
    training_set = gather(scenes_root, recipe, pseudo_label_cache, say)
    say(f"training on {len(training_set.samples)} images: {training_set.describe()}")
    trained = train_student(training_set, recipe, report)
    say(f"calibrated: {trained.calibration}")
    return publish(trained, training_set, folder, name)


def _check_name(name: str, folder: Path) -> None:
    if not MODEL_NAME.fullmatch(name):
        raise StudentError(
            f"the student's name is {name!r}, expected letters, digits, '.', '_' and '-' only; "
            "it becomes the name of its files"
        )
    taken = (MODELS_DIR / f"{name}.yaml").is_file()
    if taken and folder.resolve() != MODELS_DIR.resolve():
        raise StudentError(
            f"the student's name is {name!r}, which means the model that ships; take another, such "
            f"as {name + LOCAL_SUFFIX!r}"
        )


def _check_room(folder: Path) -> None:
    """Refuse a folder that cannot take the student: it is written after all has been learnt."""
    with TemporaryDirectory(dir=folder, prefix=".unfinished-"):
        free_bytes = shutil.disk_usage(folder).free
    if free_bytes < ROOM_BYTES:
        raise StudentError(
            f"{folder}: has {free_bytes / 1e6:.1f} MB free, the student's files need up to "
            f"{ROOM_BYTES / 1e6:.0f} MB once it has learnt; make room first"
        )


def gather(
    scenes_root: Path,
    recipe: StudentRecipe,
    pseudo_label_cache: Path,
    say: Callable[[str], None] = lambda _: None,
) -> TrainingSet:
    """The training set a recipe asks for: labels, peers' pseudo labels, teacher's labels."""
    peers_teach = recipe.is_taught and recipe.teacher == "peers"
    pseudo = (
        pseudo_labels(scenes_root, pseudo_label_cache, say, PEER_THREADS)
        if peers_teach or "pseudo" in recipe.label_kinds
        else None
    )
    teacher = pseudo if peers_teach else None
    if recipe.is_taught and recipe.teacher == NNUNET:
        teacher = read_soft_labels(SOFT_LABELS / recipe.teacher)
    training_set = load_training_set(
        scenes_root, recipe.label_kinds, pseudo=pseudo, teacher=teacher
    )
    if "pseudo" not in recipe.label_kinds:  # views are judged by the peers
        return training_set
    views, nnunet = pseudo_label_cache.with_name(VIEWS), None if peers_teach else teacher
    return with_views(training_set, views, say, PEER_THREADS, nnunet)


def publish(
    trained: TrainedStudent, training_set: TrainingSet, folder: Path, name: str
) -> tuple[ModelCard, ModelCard]:
    """Write a trained student and its INT8 form with their cards.

    All four files are made aside and take their names together, so that an interruption leaves
    the model that was there.
    """
    with TemporaryDirectory(dir=folder, prefix=".unfinished-") as aside:
        fp32, int8 = (Path(aside) / f"{name}{suffix}.onnx" for suffix in ("", INT8_SUFFIX))
        export_student(trained.student, fp32)
        quantise_student(fp32, int8, calibration_tiles(training_set))
        made = (
            student_card(trained, fp32, int8_of=None),
            student_card(trained, int8, int8_of=name),
        )
        for card in made:
            save_card(card, card.path)
        for card in made:
            for file in (card.onnx_path, card.path):
                file.replace(folder / file.name)
    fp32_card, int8_card = (replace(card, folder=folder) for card in made)
    return fp32_card, int8_card


def student_card(trained: TrainedStudent, path: Path, int8_of: str | None) -> ModelCard:
    """The card of an exported student; `int8_of` names the fp32 student of an INT8 one."""
    shape, recipe = trained.student.shape, trained.recipe
    precision = "INT8" if int8_of else "fp32"
    return ModelCard(
        name=path.stem,
        description=(
            f"Compact U-Net of {shape.parameters} weights for four bands, {precision}, "
            f"{_TAUGHT_BY[recipe.teacher] if recipe.is_taught else 'taught by labels alone'}."
        ),
        onnx=path.name,
        sha256=file_sha256(path),
        bytes=path.stat().st_size,
        parameters=shape.parameters,
        macs_per_px=shape.macs_per_px,
        precision="int8" if int8_of else "fp32",
        training_data=_training_data(trained),
        licence=LICENCE,
        provenance=_provenance(trained, int8_of),
        notes=KNOWN_WEAKNESSES,
        folder=path.parent,
        measurements={"training": _training_record(trained)},
    )


def _training_data(trained: TrainedStudent) -> str:
    images = ", ".join(f"{count} {kind}" for kind, count in trained.images.items())
    recipe = trained.recipe
    taught = f"; {_TAUGHT_BY[recipe.teacher]}" if recipe.is_taught else ""
    return f"Splits train and unlabelled only: {images}{taught}."


def _provenance(trained: TrainedStudent, int8_of: str | None) -> str:
    recipe = trained.recipe
    command = (
        f"nephoscope train student --params {recipe.size} --steps {recipe.steps} "
        f"--teacher {recipe.teacher} --teacher-share {recipe.teacher_share:g} --seed {recipe.seed}"
    )
    if recipe.label_kinds != LABEL_KINDS:
        command += "".join(f" --label-kind {kind}" for kind in recipe.label_kinds)
    if int8_of:
        return f"static QDQ quantisation of {int8_of} by the same command: {command}"
    return command


def _training_record(trained: TrainedStudent) -> dict[str, object]:
    tail = trained.losses[-max(1, len(trained.losses) // 20) :]
    return {
        "recipe": asdict(trained.recipe),
        "calibration": {key: round(value, 4) for key, value in asdict(trained.calibration).items()},
        "final_loss": round(float(tail.mean()), 4),
    }
