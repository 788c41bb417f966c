"""A short run of `tests/evidence/held_out_places.py`: what is hidden, and how it is scored."""

from __future__ import annotations

import runpy
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs the extra `train`")

from payload.training.datasets import load_training_set  # noqa: E402

SCRIPT = Path(__file__).parents[2] / "evidence" / "held_out_places.py"
MakeCollection = Callable[..., Path]


def test_parts_are_apart_and_leave_something_to_learn_from(
    make_collection: MakeCollection, tmp_path: Path
) -> None:
    held_out = runpy.run_path(str(SCRIPT))["held_out"]
    make_collection(tmp_path / "l8biome", [(f"biome_{i}", "human", "train") for i in range(6)])
    make_collection(
        tmp_path / "oncloudn",
        [("drawn", "human", "train"), *((f"chip_{i}", "none", "unlabelled") for i in range(4))],
        edge_px=96,
    )
    make_collection(tmp_path / "alone", [("only", "none", "unlabelled")])
    parts = [held_out(tmp_path, part) for part in range(3)]
    assert [len(part) for part in parts] == [3, 3, 3], "two of six patches, one of four chips"
    assert len(frozenset.union(*parts)) == 9, "no image is held out twice"


def test_a_student_that_is_right_scores_one(
    make_collection: MakeCollection, tmp_path: Path
) -> None:
    scores = runpy.run_path(str(SCRIPT))["scores"]
    make_collection(tmp_path / "l8biome", [("first", "human", "train")])
    samples = load_training_set(tmp_path).samples
    truth = samples[0].target[None, None] > 0

    def student(sign: float) -> SimpleNamespace:
        logit = np.where(truth, 9.0, -9.0).astype(np.float32) * sign
        return SimpleNamespace(logit=lambda _: torch.from_numpy(logit))

    right = scores(student(1.0), samples)["l8biome, people"]
    wrong = scores(student(-1.0), samples)["l8biome, people"]
    assert right.intersection == right.union == truth.sum()
    assert wrong.intersection == 0
    assert right.cross_entropy < wrong.cross_entropy / 1000
    assert right.pixels == truth.size
