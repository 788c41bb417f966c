"""`nephoscope train`: what it does unasked is the recipe of the committed models."""

from __future__ import annotations

import inspect
from pathlib import Path

import pytest
from typer.testing import CliRunner

pytest.importorskip("torch", reason="training needs the extra `train`")

from payload.training.distillation import StudentRecipe
from simulator.commands.train import app, student


def test_student_learns_by_the_default_recipe_unless_told_otherwise() -> None:
    defaults = {p.name: p.default for p in inspect.signature(student).parameters.values()}
    recipe = StudentRecipe()
    assert defaults["params"] == recipe.size
    for field in ("steps", "teacher", "teacher_share", "seed"):
        assert defaults[field] == getattr(recipe, field), field


@pytest.mark.parametrize("command", ["teacher", "student"])
@pytest.mark.parametrize("seed", ["-1", "99999999999999999999"])
def test_a_seed_that_no_generator_takes_is_refused_by_name(
    command: str, seed: str, tmp_path: Path
) -> None:
    done = CliRunner().invoke(app, [command, "--seed", seed, "--scenes", str(tmp_path)])
    assert done.exit_code == 2
    assert "'--seed'" in done.output


def test_an_empty_scene_variable_is_not_the_present_folder(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NEPHOSCOPE_SCENES", "")
    done = CliRunner().invoke(app, ["student", "--steps", "1"])
    assert done.exit_code == 2
    assert "NEPHOSCOPE_SCENES is not set" in done.output
