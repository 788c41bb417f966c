"""The teacher's training, killed and resumed, against the same training left alone.

Run from the repository's root (needs the extra ``train``)::

    python tests/evidence/training_resume.py --scenes "$NEPHOSCOPE_SCENES" [--steps 24]
        [--architecture nnunet] [--threads 2]

Trains the whole network on the images a person labelled: once without interruption, once in a
process that is killed with SIGKILL between two checkpoints and resumed in a new one. Prints both
losses of every step and the largest difference. The suite does the same with a small network.
"""

from __future__ import annotations

import argparse
import csv
import multiprocessing
import os
import shutil
import signal
import sys
import tempfile
from pathlib import Path

from payload import training
from payload.training.loss_log import LOG
from payload.training.sampling import Sampler
from payload.training.teacher import ARCHITECTURES, PLAN, TeacherOptions, train_teacher
from payload.training.training_plan import TrainingPlan

COMMITTED_PLAN = Path(training.__file__).parent / "records" / "nnunet-teacher-plan.json"

CHECKPOINTS = 4
"""Checkpoints of a training; the kill comes half way between the second and the third."""


def main(arguments: list[str] | None = None) -> int:
    """Run both trainings; 0 when every loss is the same to the last digit."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scenes", type=Path, required=True, help="folder of scene collections")
    parser.add_argument("--steps", type=int, default=24)
    parser.add_argument("--architecture", choices=ARCHITECTURES, default="nnunet")
    parser.add_argument("--threads", type=int, default=2)
    asked = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        alone, killed = (_options(asked, Path(folder) / name) for name in ("alone", "killed"))
        for options in (alone, killed):
            options.work_dir.mkdir()
            shutil.copy(COMMITTED_PLAN, options.work_dir / PLAN)
        _run(alone)
        exit_code = _run(killed, kill_at=asked.steps * 5 // (CHECKPOINTS * 2))
        print(f"first process ended with {signal.Signals(-exit_code).name}")
        _run(_options(asked, killed.work_dir, resume=True))
        return _compare(_losses(alone), _losses(killed))


def _options(asked: argparse.Namespace, work_dir: Path, resume: bool = False) -> TeacherOptions:
    return TeacherOptions(
        scenes_root=asked.scenes,
        architecture=asked.architecture,
        work_dir=work_dir,
        schedule=TrainingPlan(
            budget_minutes=1,
            total_steps=asked.steps,
            checkpoint_steps=asked.steps // CHECKPOINTS,
            threads=asked.threads,
        ),
        label_kinds=("human",),
        resume=resume,
    )


def _run(options: TeacherOptions, kill_at: int | None = None) -> int:
    process = multiprocessing.get_context("spawn").Process(target=_train, args=(options, kill_at))
    process.start()
    process.join()
    code = process.exitcode or 0
    if kill_at is None and code != 0:
        raise SystemExit(f"training ended with exit code {code}")
    return code


def _train(options: TeacherOptions, kill_at: int | None) -> None:
    if kill_at is not None:
        _die_at(kill_at)
    train_teacher(options, lambda line: print(line, flush=True))


def _die_at(step: int) -> None:
    """Have this process kill itself when a batch of `step` is drawn: in the midst of a training."""
    draw = Sampler.draw

    def deadly(sampler: Sampler, number: int):  # type: ignore[no-untyped-def]
        if number == step:
            os.kill(os.getpid(), signal.SIGKILL)
        return draw(sampler, number)

    Sampler.draw = deadly  # type: ignore[method-assign]


def _losses(options: TeacherOptions) -> list[str]:
    with (options.work_dir / LOG).open(newline="", encoding="utf-8") as file:
        return [row["loss"] for row in csv.DictReader(file)]


def _compare(alone: list[str], killed: list[str]) -> int:
    for step, (left, right) in enumerate(zip(alone, killed, strict=True), 1):
        print(f"step {step:3d}  alone {left}  killed and resumed {right}")
    worst = max(abs(float(a) - float(b)) for a, b in zip(alone, killed, strict=True))
    print(f"{len(alone)} steps, largest difference of loss {worst:g}")
    return int(worst != 0)


if __name__ == "__main__":
    sys.exit(main())
