"""Targets files with mistakes: each is told at its line, with a remedy, on one screen."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from simulator.scenario import Problem

ProblemsOf = Callable[[Path], tuple[Problem, ...]]
OneScreen = Callable[[Path], str]

PROPERTIES_OF_NILE = '"properties": {\n    "name": "nile"\n   }'


@pytest.mark.parametrize(
    ("old", "new", "field", "remedy"),
    [
        ("31.1,\n     30.0", "31.1,\n     300", ".geometry.coordinates", "give WGS84 degrees"),
        ("31.1,\n     30.0", "30.0,\n     131.1", ".geometry.coordinates", "swap the two"),
        ('"name": "nile"', '"name": "alps"', ".properties.name", "its own name"),
        ('"name": "nile"', '"nam": "nile"', ".properties.nam", "did you mean name?"),
        ('"name": "nile"', '"name": "nile", "priority": -1', ".properties.priority", "above 0"),
        ('"name": "nile"', '"name": "nile", "deadline": "soon"', ".properties.deadline", "2024-"),
        (PROPERTIES_OF_NILE, '"properties": "abc"', ".properties", '{"name": "..."}'),
        (PROPERTIES_OF_NILE, '"properties": [1]', ".properties", '{"name": "..."}'),
        (PROPERTIES_OF_NILE, '"properties": []', ".properties", '{"name": "..."}'),
        (
            '"name": "nile"', f'"name": "nile", "priority": 1{"0" * 400}',
            ".properties.priority", "above 0",
        ),
    ],
)  # fmt: skip
def test_a_broken_target_is_told_at_its_line(
    mission: Path,
    old: str,
    new: str,
    field: str,
    remedy: str,
    problems_of: ProblemsOf,
    assert_one_screen: OneScreen,
) -> None:
    path = mission / "targets" / "world_200.geojson"
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), encoding="utf-8")
    (problem,) = problems_of(mission / "scenario.yaml")
    assert problem.file.endswith("world_200.geojson")
    assert problem.field_path == f"features[1]{field}"
    key = field.rpartition(".")[2]
    lines = path.read_text(encoding="utf-8").splitlines()
    assert problem.line is not None
    assert f'"{key}"' in lines[problem.line - 1]
    assert remedy in problem.remedy
    assert_one_screen(mission / "scenario.yaml")


@pytest.mark.parametrize("written", ["1" + "0" * 400, "-1" + "0" * 400, "NaN", "1e999"])
def test_a_coordinate_that_no_float_holds_is_told_at_its_line(
    mission: Path, written: str, problems_of: ProblemsOf, assert_one_screen: OneScreen
) -> None:
    path = mission / "targets" / "world_200.geojson"
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace("31.1", written, 1), encoding="utf-8")
    (problem,) = problems_of(mission / "scenario.yaml")
    assert problem.field_path == "features[1].geometry.coordinates[0]"
    assert problem.line is not None
    assert written in path.read_text(encoding="utf-8").splitlines()[problem.line - 1]
    assert problem.value[:3] == written[:3]
    assert "degrees" in problem.remedy
    assert_one_screen(mission / "scenario.yaml")


@pytest.mark.parametrize("written", ["1" * 5000, "[" * 100_000, "[" * 500 + "1" + "]" * 500])
def test_targets_that_no_program_writes_are_refused(
    mission: Path, written: str, problems_of: ProblemsOf, assert_one_screen: OneScreen
) -> None:
    path = mission / "targets" / "world_200.geojson"
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace("31.1", written, 1), encoding="utf-8")
    (problem,) = problems_of(mission / "scenario.yaml")
    assert problem.file.endswith("world_200.geojson")
    assert problem.remedy
    assert_one_screen(mission / "scenario.yaml")


def test_targets_that_are_no_json_give_the_line(mission: Path, problems_of: ProblemsOf) -> None:
    path = mission / "targets" / "world_200.geojson"
    text = path.read_text(encoding="utf-8").replace('"name": "nile"', '"name" "nile"')
    path.write_text(text, encoding="utf-8")
    (problem,) = problems_of(mission / "scenario.yaml")
    assert problem.line is not None
    assert '"name" "nile"' in text.splitlines()[problem.line - 1]
    assert "no JSON" in problem.reason
