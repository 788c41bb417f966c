"""A student's recipe, judged at places of the training splits that it was not shown.

Run from the repository's root (needs the extras ``train`` and ``peers``)::

    python tests/evidence/held_out_places.py --scenes "$NEPHOSCOPE_SCENES" --part 0 [--size 120k]
        [--steps 3000] [--seed 0]

Val is for the last look only, so a recipe is chosen here. A third of the Landsat-8 patches, a
quarter of the On Cloud N chips without labels and a sixth of the other places are kept away from
the student, another part of them with every ``--part``. The nnU-Net teacher has seen them, so the
peers teach. Prints cross-entropy with what ukis-csmask says of the held-out views and with what
people drew on held-out patches, and pooled Jaccard, the student being calibrated as always. One
part and one seed say little: compare recipes over all three parts.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from payload.scenes import REFLECTANCE_SCALE
from payload.training.datasets import Sample, TrainingSet, place_of, training_images
from payload.training.distillation import StudentRecipe, train_student
from payload.training.publication import gather
from payload.training.soft_labels import FULL_SCALE
from payload.training.students import FAMILY, SMALLEST_EDGE_PX, Student
from payload.training.teacher import PSEUDO_LABELS, training_folder
from payload.training.views import is_view

PARTS = {"l8biome": 3, "oncloudn": 4}
OTHER_PARTS = 6
"""One in so many places of a collection is held out."""


@dataclass
class Score:
    """Sums over the pixels of one group of samples."""

    cross_entropy: float = 0.0
    pixels: int = 0
    intersection: int = 0
    union: int = 0

    def line(self, group: str) -> str:
        """One row of the table."""
        jaccard = self.intersection / max(self.union, 1)
        mean = self.cross_entropy / max(self.pixels, 1)
        return f"{group:28s} {mean:6.3f} {jaccard:6.3f} {self.pixels / 1e6:6.1f} Mpx"


def main(arguments: list[str] | None = None) -> int:
    """Train without the part, print its scores."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scenes", type=Path, required=True, help="folder of scene collections")
    parser.add_argument("--part", type=int, choices=(0, 1, 2), required=True)
    parser.add_argument("--size", choices=FAMILY, default="120k")
    parser.add_argument("--steps", type=int, default=3000)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args(arguments)
    recipe = StudentRecipe(asked.size, asked.steps, seed=asked.seed, teacher="peers")
    samples = gather(asked.scenes, recipe, training_folder() / PSEUDO_LABELS).samples
    hidden = held_out(asked.scenes, asked.part)
    shown = TrainingSet(tuple(s for s in samples if s.sha256 not in hidden))
    began = time.perf_counter()
    trained = train_student(shown, recipe)
    print(f"part {asked.part}, {asked.size}, {asked.steps} steps, seed {asked.seed}: ", end="")
    print(f"{len(hidden)} images held out, {(time.perf_counter() - began) / 60:.1f} min")
    print(f"{'':28s} {'CE':>6s} {'J':>6s}")
    scored = [s for s in samples if s.sha256 in hidden and (is_view(s) or s.label_kind == "human")]
    for group, score in sorted(scores(trained.student, scored).items()):
        print(score.line(group))
    return 0


def held_out(scenes: Path, part: int) -> frozenset[str]:
    """SHA-256 of the images at every n-th place of each collection, beginning with the part."""
    images: defaultdict[str, defaultdict[str, list[str]]]
    images = defaultdict(lambda: defaultdict(list))
    for image in training_images(scenes):
        if image.scene.collection == "oncloudn" and image.scene.label == "human":
            continue  # the only one
        images[image.scene.collection][place_of(image.scene)].append(image.sha256)
    return frozenset(
        sha256
        for collection, places in images.items()
        for index, place in enumerate(sorted(places))
        if len(places) > 1 and index % PARTS.get(collection, OTHER_PARTS) == part
        for sha256 in places[place]
    )


@torch.no_grad()
def scores(student: Student, samples: Iterable[Sample]) -> dict[str, Score]:
    """Score of each group: sensor, and whether people or ukis-csmask say what is true."""
    result: defaultdict[str, Score] = defaultdict(Score)
    for sample in samples:
        sensor = sample.collection if sample.collection in PARTS else "other Sentinel-2"
        score = result[f"{sensor}, {'views' if is_view(sample) else 'people'}"]
        rows, columns = (n - n % SMALLEST_EDGE_PX for n in sample.target.shape)
        window = (slice(rows), slice(columns))
        reflectance = sample.digital_number[:, *window].astype(np.float32) / REFLECTANCE_SCALE
        logit = student.logit(torch.from_numpy(reflectance[None]))[0, 0].numpy()
        target = sample.target[window].astype(np.float32) / FULL_SCALE
        trusted = sample.weight[window] > 0
        called, is_cloud = (logit > 0) & trusted, (target > 0.5) & trusted
        score.cross_entropy += float((np.logaddexp(0, logit) - target * logit)[trusted].sum())
        score.pixels += int(trusted.sum())
        score.intersection += int((called & is_cloud).sum())
        score.union += int((called | is_cloud).sum())
    return dict(result)


if __name__ == "__main__":
    sys.exit(main())
