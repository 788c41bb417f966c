"""`nephoscope train`: what it does unasked is the recipe of the committed models."""

from __future__ import annotations

import inspect

import pytest

pytest.importorskip("torch", reason="training needs the extra `train`")

from payload.training.distillation import StudentRecipe
from simulator.commands.train import student


def test_student_learns_by_the_default_recipe_unless_told_otherwise() -> None:
    defaults = {p.name: p.default for p in inspect.signature(student).parameters.values()}
    recipe = StudentRecipe()
    assert defaults["params"] == recipe.size
    for field in ("steps", "teacher", "teacher_share", "seed"):
        assert defaults[field] == getattr(recipe, field), field
