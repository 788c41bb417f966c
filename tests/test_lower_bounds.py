"""Every package asked for names its oldest version, as the script that installs those has it."""

from __future__ import annotations

import runpy
import tomllib
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[1]
oldest = runpy.run_path(str(ROOT / "tests" / "evidence" / "lower_bounds.py"))["oldest"]


def test_a_bound_is_read_as_its_series() -> None:
    asked = ["a>=1.2", "b>=1.2.3,<2", "c>=3; python_version < '3'", "d>=4; python_version > '3'"]
    assert oldest(asked) == ["a==1.2.*", "b==1.2.3", "d==4.*"]


def test_every_requirement_names_its_oldest_version() -> None:
    for file in (ROOT / "pyproject.toml", ROOT / "payload" / "pyproject.toml"):
        project = tomllib.loads(file.read_text(encoding="utf-8"))["project"]
        extras = project.get("optional-dependencies", {}).values()
        for requirement in (*project["dependencies"], *(r for extra in extras for r in extra)):
            operators = {bound.operator for bound in Requirement(requirement).specifier}
            assert ">=" in operators, requirement


def test_the_board_asks_for_no_other_versions_than_the_simulator() -> None:
    bounds = []
    for file in (ROOT / "pyproject.toml", ROOT / "payload" / "pyproject.toml"):
        project = tomllib.loads(file.read_text(encoding="utf-8"))["project"]
        asked = map(Requirement, project["dependencies"])
        bounds.append({r.name: str(r.specifier) for r in asked})
    simulator, board = bounds
    assert board.items() <= simulator.items()
