"""`nephoscope train`: the teacher (or the ResNet-34 baseline) and the students.

Training needs the extra ``train``; nothing of it is imported before a command runs.
"""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(help="Train cloud models (needs the extra `train`).", no_args_is_help=True)

SCENES_VARIABLE = "NEPHOSCOPE_SCENES"
NEEDED_PACKAGES: tuple[str, ...] = ("torch", "nnunetv2", "matplotlib")
REPORT_EVERY_STEPS = 50

LARGEST_SEED = 2**32 - 1
"""NumPy takes no seed below 0, torch none of more than 64 bits."""

ScenesOption = Annotated[
    Path | None,
    typer.Option(help=f"Folder of scene collections; default: ${SCENES_VARIABLE}."),
]
LabelKindOption = Annotated[
    list[str] | None,
    typer.Option(help="human, s2cloudless, scl, pseudo or teacher; repeat for more. Default: all."),
]
SeedOption = Annotated[
    int, typer.Option(help="Of the first weights and of every draw.", min=0, max=LARGEST_SEED)
]
PublishOption = Annotated[
    bool, typer.Option("--publish", help="Also write what is committed, into the package.")
]


@app.command()
def teacher(
    scenes: ScenesOption = None,
    budget_minutes: Annotated[
        float, typer.Option(help="Training minutes: processor time over threads.")
    ] = 40.0,
    architecture: Annotated[str, typer.Option(help="nnunet or unet-resnet34.")] = "nnunet",
    resume: Annotated[
        bool, typer.Option("--resume", help="Continue from the last checkpoint.")
    ] = False,
    work_dir: Annotated[
        Path | None, typer.Option(help="Checkpoint, log, plan; default: in the user's cache.")
    ] = None,
    label_kind: LabelKindOption = None,
    seed: SeedOption = 0,
    threads: Annotated[int, typer.Option(help="Processor threads.", min=1)] = 2,
    publish: PublishOption = False,
) -> None:
    """Train the nnU-Net teacher, or the ResNet-34 U-Net under the same terms, within a budget."""
    with _user_errors():
        _check_installed()
        from payload.training.datasets import LABEL_KINDS
        from payload.training.teacher import TeacherOptions, train_teacher, training_folder
        from payload.training.teacher_outputs import PACKAGE, write_outputs
        from payload.training.training_plan import TrainingPlan

        options = TeacherOptions(
            scenes_root=_scenes_root(scenes),
            architecture=architecture,
            work_dir=work_dir or training_folder() / architecture,
            schedule=TrainingPlan(budget_minutes=budget_minutes, threads=threads),
            label_kinds=tuple(label_kind or LABEL_KINDS),
            seed=seed,
            resume=resume,
        )
        trained = train_teacher(options, typer.echo)
        card = write_outputs(trained, typer.echo, PACKAGE if publish else None)
        typer.echo(f"{card.name}: score it with `nephoscope models evaluate {card.name} --record`")


@app.command()
def student(
    scenes: ScenesOption = None,
    params: Annotated[str, typer.Option(help="Size: a member of the student family.")] = "120k",
    steps: Annotated[int, typer.Option(help="Batches to learn from.")] = 30000,
    teacher: Annotated[
        str,
        typer.Option(
            help="Whose soft labels: nnunet (the teacher whose card ships), or peers (needs the "
            "extra `peers`)."
        ),
    ] = "nnunet",
    teacher_share: Annotated[
        float,
        typer.Option(help="Share of the loss given to soft labels, 0 to 1; 0 learns labels alone."),
    ] = 0.5,
    label_kind: LabelKindOption = None,
    seed: SeedOption = 0,
    name: Annotated[
        str | None,
        typer.Option(help="Name of the model; default: by size, and -local if not published."),
    ] = None,
    publish: PublishOption = False,
) -> None:
    """Distil a student that can fly: ONNX and card, fp32 and INT8, into the user's cache."""
    with _user_errors():
        _check_installed()
        from payload.card import MODELS_DIR, cache_dir
        from payload.training.datasets import LABEL_KINDS
        from payload.training.distillation import StudentRecipe
        from payload.training.publication import build_student, student_name
        from payload.training.teacher import PSEUDO_LABELS, training_folder

        recipe = StudentRecipe(
            size=params,
            steps=steps,
            seed=seed,
            teacher=teacher,
            teacher_share=teacher_share,
            label_kinds=tuple(label_kind or LABEL_KINDS),
        )
        folder = MODELS_DIR if publish else cache_dir()
        folder.mkdir(parents=True, exist_ok=True)
        cards = build_student(
            _scenes_root(scenes),
            recipe,
            folder,
            training_folder() / PSEUDO_LABELS,
            name or student_name(params, publish),
            report=_report_step,
            say=typer.echo,
        )
        for card in cards:
            typer.echo(f"{card.name}: {card.onnx_path}, {card.bytes / 1000:.0f} kB")
        typer.echo(f"score it with `nephoscope models evaluate {cards[0].name}`")


def _report_step(done: int, steps: int, loss: float) -> None:
    if done % REPORT_EVERY_STEPS == 0 or done == steps:
        typer.echo(f"step {done}/{steps}  loss {loss:.4f}")


def _check_installed() -> None:
    missing = [name for name in NEEDED_PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        raise ValueError(
            f"training needs the package {missing[0]}, which is not installed; install it with: "
            "pip install 'nephoscope[train]'"
        )


def _scenes_root(scenes: Path | None) -> Path:
    named = scenes or os.environ.get(SCENES_VARIABLE)
    if not named:
        raise ValueError(
            f"--scenes is not given and {SCENES_VARIABLE} is not set; name the folder that holds "
            "the scene collections"
        )
    return Path(named)


@contextmanager
def _user_errors() -> Iterator[None]:
    try:
        yield
    except ValueError as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(2) from error
