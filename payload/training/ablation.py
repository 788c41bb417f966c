"""What each ingredient of a student is worth: the same student, one thing changed at a time.

Arms differ in what is learnt from (labels alone, the peers' pseudo labels, the teacher's soft
labels, both) and in whether clouds are pasted; every arm is trained with the same steps and with
several seeds, and scored fp32 and INT8 on the same validation patches a person labelled. An
ingredient is worth something only where the difference exceeds the spread of the seeds.

``python -m payload.training.ablation --scenes DIR --folder DIR`` runs what is missing and skips
what is done, so that it can be stopped at any time; the report says what was not run and why.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from payload.model import CloudModel
from payload.scenes import read_scenes
from payload.training.augmentation import MODERATE
from payload.training.datasets import LABEL_KINDS
from payload.training.distillation import StudentRecipe, train_student
from payload.training.evaluation import ALL, Evaluation, evaluate, select_scenes
from payload.training.publication import gather, publish
from payload.training.soft_labels import NNUNET, SOFT_LABELS
from payload.training.teacher import PSEUDO_LABELS, training_folder
from payload.training.weak_labels import LABEL_VERSION
from payload.whole_file import finished_or_nothing

LABELS_ONLY = ("human", "s2cloudless", "scl")
TAUGHT = (*LABELS_ONLY, "teacher")
NO_PASTING = replace(MODERATE, paste_probability=0.0)
SEEDS = 3
STEPS = 1500

LABELS = StudentRecipe(label_kinds=LABELS_ONLY, teacher_share=0.0)
PEERS = replace(LABELS, label_kinds=(*LABELS_ONLY, "pseudo"))
TEACHER = StudentRecipe(label_kinds=TAUGHT)
TEACHER_AND_PEERS = StudentRecipe(label_kinds=LABEL_KINDS)

ARMS: dict[str, StudentRecipe] = {
    "labels": LABELS,
    "labels, no pasting": replace(LABELS, augmentation=NO_PASTING),
    "labels + peers": PEERS,
    "labels + teacher": TEACHER,
    "labels + peers + teacher": TEACHER_AND_PEERS,
    "labels + peers + teacher, no pasting": replace(TEACHER_AND_PEERS, augmentation=NO_PASTING),
}
"""What is compared; size, steps and seed are filled in."""

COLLECTIONS = (ALL, "l8biome", "oncloudn", "ukis")
RESULTS, REPORT = "ablation.json", "ablation.md"


@dataclass(frozen=True)
class Run:
    """One training to do, and its key among the results."""

    arm: str
    recipe: StudentRecipe

    @property
    def key(self) -> str:
        """What makes two runs the same: arm, size, steps, seed, and a digest of the recipe.

        The digest covers every field of the recipe and the rules of the labels: a run of another
        recipe in the same folder is none of these. It does not cover the code that learns.
        """
        rules = hashlib.sha256(f"{self.recipe!r} {LABEL_VERSION}".encode()).hexdigest()[:8]
        recipe = self.recipe
        return f"{self.arm} | {recipe.size} | {recipe.steps} | {recipe.seed} | {rules}"


Results = dict[str, dict[str, float]]


class AblationError(ValueError):
    """What an ablation begins with cannot be used; the message says why and what to do."""


def runs(size: str, steps: int, seeds: int, arms: Sequence[str] = tuple(ARMS)) -> Iterator[Run]:
    """All runs, seed by seed, so that an interrupted ablation has every arm of the seeds done."""
    for seed in range(seeds):
        for arm in arms:
            yield Run(arm, replace(ARMS[arm], size=size, steps=steps, seed=seed))


def teacher_is_there(teacher: str) -> bool:
    """Whether a teacher's soft labels are at hand."""
    return any((SOFT_LABELS / teacher).glob("*.npz"))


def run_one(run: Run, scenes_root: Path, folder: Path) -> dict[str, float]:
    """Train, export, quantise and score one student on the human-labelled val patches.

    Returns
    -------
    dict
        ``<precision> <collection> <figure>`` to value; figures jaccard, false_cloud_fraction.
    """
    training_set = gather(scenes_root, run.recipe, training_folder() / PSEUDO_LABELS)
    trained = train_student(training_set, run.recipe)
    cards = publish(trained, training_set, folder, "ablation-student")
    scenes = [s for s in select_scenes(read_scenes(scenes_root), "val") if s.label == "human"]
    values: dict[str, float] = {}
    for card in cards:
        values.update(_figures(card.precision, evaluate(CloudModel(card), scenes)))
    return values


def _figures(precision: str, result: Evaluation) -> dict[str, float]:
    present = {group.collection for group in result.groups if group.surface == ALL}
    return {
        f"{precision} {collection} {figure}": round(
            result.group("human", collection).figures[figure].value, 4
        )
        for collection in COLLECTIONS
        if collection in present
        for figure in ("jaccard", "false_cloud_fraction")
    }


def read_results(path: Path) -> Results:
    """Results so far; none when there is no file yet.

    Raises
    ------
    AblationError
        The file is damaged.
    """
    if not path.is_file():
        return {}
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except ValueError as error:
        raise AblationError(
            f"{path}: is damaged ({error}); restore it, or remove it: all is run again"
        ) from error


def report(planned: Sequence[Run], results: Results) -> str:
    """The table in Markdown: mean and range over seeds per arm, and what was not run."""
    lines = [
        "# Ablation of the student",
        "",
        "Same student, same steps, val patches labelled by a person, pooled over patches; mean",
        "over seeds with [least, greatest]. With so few patches a difference under 0.03 means",
        "nothing, and neither does one smaller than the range of the seeds.",
        "",
        "| arm | size | steps | seeds | Jaccard, fp32 | Jaccard, INT8 | On Cloud N, fp32 "
        "| false cloud, fp32 |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for arm, size, steps in dict.fromkeys(
        (run.arm, run.recipe.size, run.recipe.steps) for run in planned
    ):
        done = [
            results[run.key]
            for run in planned
            if (run.arm, run.recipe.size, run.recipe.steps) == (arm, size, steps)
            and run.key in results
        ]
        cells = [
            _mean_and_range(done, column)
            for column in (
                "fp32 all jaccard",
                "int8 all jaccard",
                "fp32 oncloudn jaccard",
                "fp32 all false_cloud_fraction",
            )
        ]
        lines.append(f"| {arm} | {size} | {steps} | {len(done)} | {' | '.join(cells)} |")
    missing = [run.key for run in planned if run.key not in results]
    if missing:
        lines += ["", "Not run (arm | size | steps | seed | digest of the recipe):", ""]
        lines += [f"- {key}" for key in missing]
    return "\n".join(lines) + "\n"


def _mean_and_range(done: Sequence[dict[str, float]], column: str) -> str:
    values = [values[column] for values in done if column in values]
    if not values:
        return "not run"
    return f"{statistics.mean(values):.3f} [{min(values):.3f}, {max(values):.3f}]"


def main(arguments: Sequence[str] | None = None) -> None:
    """Run what is missing and write results and report after every run."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scenes", type=Path, required=True, help="folder of scene collections")
    parser.add_argument("--folder", type=Path, required=True, help="where results are written")
    parser.add_argument("--size", default="120k")
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--seeds", type=int, default=SEEDS)
    parser.add_argument("--arm", action="append", choices=list(ARMS), help="only these; repeat")
    parser.add_argument("--report-only", action="store_true", help="train nothing")
    given = parser.parse_args(arguments)
    try:
        _run_missing(given)
    except ValueError as error:
        if not type(error).__module__.startswith("payload."):
            raise
        parser.error(str(error))


def _run_missing(given: argparse.Namespace) -> None:
    given.folder.mkdir(parents=True, exist_ok=True)
    results = read_results(given.folder / RESULTS)
    planned = list(runs(given.size, given.steps, given.seeds))
    for run in [] if given.report_only else planned:
        wanted = run.key not in results and (not given.arm or run.arm in given.arm)
        needs_teacher = run.recipe.is_taught and run.recipe.teacher == NNUNET
        if not wanted or (needs_teacher and not teacher_is_there(run.recipe.teacher)):
            continue
        results[run.key] = run_one(run, given.scenes, given.folder)
        with finished_or_nothing(given.folder / RESULTS) as file:
            file.write((json.dumps(results, indent=1) + "\n").encode())
        print(run.key, results[run.key], flush=True)
    text = report(planned, results)
    (given.folder / REPORT).write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
