"""What is wrong with a scenario: the problems it is refused with, and how a terminal shows them.

What a test calls is a fixture that gives a function: tests cannot import one another.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from simulator.cli import app
from simulator.scenario import Problem, ScenarioError, load_scenario
from simulator.scenario.checks import check_scenario

SCREEN_LINES = 24


@pytest.fixture
def problems_of() -> Callable[[Path], tuple[Problem, ...]]:
    """Gives the problems that a scenario file is refused with."""

    def problems(path: Path) -> tuple[Problem, ...]:
        with pytest.raises(ScenarioError) as refused:
            check_scenario(load_scenario(path), pixels=True)
        return refused.value.problems

    return problems


@pytest.fixture
def assert_one_screen() -> Callable[[Path], str]:
    """Validates on the command line and gives what it says, which must fit one screen."""

    def validate(path: Path) -> str:
        result = CliRunner().invoke(app, ["validate", str(path)], env={"COLUMNS": "100"})
        assert result.exit_code == 2, result.output
        assert result.stdout == ""
        assert "Traceback" not in result.stderr
        assert len(result.stderr.splitlines()) <= SCREEN_LINES
        return result.stderr

    return validate
