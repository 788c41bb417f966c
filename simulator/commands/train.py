"""`nephoscope train`: the teacher (or the ResNet-34 baseline) and the students.

Training needs the extra ``train``; nothing of it is imported before a command runs.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(help="Train cloud models (needs the extra `train`).", no_args_is_help=True)


@app.callback()
def _group() -> None:
    """Keep `teacher` a subcommand however many commands there are."""


SCENES_VARIABLE = "NEPHOSCOPE_SCENES"

ScenesOption = Annotated[
    Path | None,
    typer.Option(
        "--scenes",
        help=f"Folder of scene collections; default: the environment variable {SCENES_VARIABLE}.",
    ),
]


@app.command()
def teacher(
    scenes: ScenesOption = None,
    budget_minutes: Annotated[
        float, typer.Option(help="Training minutes: processor time over threads.")
    ] = 40.0,
    architecture: Annotated[str, typer.Option(help="nnunet or unet-resnet34.")] = "nnunet",
    resume: Annotated[bool, typer.Option(help="Continue from the last checkpoint.")] = False,
    work_dir: Annotated[
        Path | None, typer.Option(help="Checkpoint, log, plan; default: in the user's cache.")
    ] = None,
    label_kind: Annotated[
        list[str] | None,
        typer.Option(help="human, s2cloudless, scl, pseudo; repeat. Default: all."),
    ] = None,
    seed: Annotated[int, typer.Option(help="Of first weights and of every draw.")] = 0,
    threads: Annotated[int, typer.Option(help="Processor threads.")] = 2,
) -> None:
    """Train the nnU-Net teacher or the ResNet-34 U-Net within a budget."""
    from payload.training.datasets import LABEL_KINDS
    from payload.training.teacher import TeacherOptions, train_teacher, training_folder
    from payload.training.training_loop import TrainingPlan

    try:
        options = TeacherOptions(
            scenes_root=_scenes_root(scenes),
            architecture=architecture,
            work_dir=work_dir or training_folder() / architecture,
            schedule=TrainingPlan(budget_minutes=budget_minutes, threads=threads),
            label_kinds=tuple(label_kind or LABEL_KINDS),
            seed=seed,
            resume=resume,
        )
        train_teacher(options, report=lambda line: typer.echo(line))
    except ValueError as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(2) from error


def _scenes_root(scenes: Path | None) -> Path:
    named = scenes or (Path(os.environ[SCENES_VARIABLE]) if SCENES_VARIABLE in os.environ else None)
    if named is None:
        raise ValueError(
            f"--scenes is not given and {SCENES_VARIABLE} is not set; name the folder that holds "
            "the scene collections"
        )
    return named
