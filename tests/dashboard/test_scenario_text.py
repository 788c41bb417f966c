"""Scenario text: lines of problems, hostile YAML, paths made absolute, fields changed in place."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from dashboard.form import fields_of
from dashboard.scenario_text import bundled_folder, check_text, to_fly, with_values
from simulator.scenario import ScenarioError, bundled_scenarios, load_scenario
from simulator.scenario.explain import json_schema

BOMB = "a: &a [x]\n" + "\n".join(
    f"{c}: &{c} [{', '.join([f'*{chr(ord(c) - 1)}'] * 9)}]" for c in "bcdefghij"
)


@pytest.fixture
def text() -> str:
    return bundled_scenarios()["first_light"].read_text(encoding="utf-8")


def test_bundled_text_is_a_scenario(text: str) -> None:
    assert check_text(text, bundled_folder()).name == "first_light"


def test_problem_names_the_line_of_the_text(text: str) -> None:
    broken = text.replace("duration_h: 168", "duration_h: -1")
    with pytest.raises(ScenarioError) as caught:
        check_text(broken, bundled_folder())
    (problem,) = caught.value.problems
    assert broken.splitlines()[problem.line - 1] == "duration_h: -1"


@pytest.mark.parametrize(
    ("hostile", "reason"),
    [
        (BOMB, "aliases"),
        ("x: !!python/object/apply:os.system ['true']", "python/object"),
        ("{" * 5000, "nested|no YAML"),
        ("a" * 500_000, "too many"),
    ],
    ids=["alias bomb", "python object", "deep nesting", "too long"],
)
def test_hostile_text_is_refused_in_a_sentence(hostile: str, reason: str) -> None:
    with pytest.raises(ScenarioError, match=reason):
        check_text(hostile, bundled_folder())


def test_flown_text_finds_its_files_from_anywhere(text: str, tmp_path: Path) -> None:
    path = tmp_path / "moved.yaml"
    path.write_text(to_fly(text, bundled_folder()), encoding="utf-8")
    moved = load_scenario(path)
    assert moved.resolve(moved.targets).is_file()
    assert all(folder.is_dir() for folder in moved.scene_folders())


def test_changed_field_keeps_comments_and_the_rest(text: str) -> None:
    changed = with_values(text, {("seed",): 11, ("satellites", 0, "power", "battery_wh"): 55})
    before, after = yaml.safe_load(text), yaml.safe_load(changed)
    assert (after["seed"], after["satellites"][0]["power"]["battery_wh"]) == (11, 55)
    after["seed"] = before["seed"]
    after["satellites"][0]["power"]["battery_wh"] = 40
    assert after == before
    assert changed.count("#") == text.count("#")


def test_field_within_a_line_is_changed_in_place(text: str) -> None:
    changed = with_values(
        text, {("satellites", 0, "orbit", "sun_synchronous", "altitude_km"): 700.0}
    )
    orbit = yaml.safe_load(changed)["satellites"][0]["orbit"]["sun_synchronous"]
    assert orbit == {"altitude_km": 700.0, "ltan_h": 10.5}


def test_field_that_the_text_lacks_is_added(text: str) -> None:
    assert yaml.safe_load(with_values(text, {("scenes", "strategy"): "composite"}))["scenes"][
        "strategy"
    ] == ("composite")


def test_form_shows_values_of_the_text_with_meaning_and_range(text: str) -> None:
    fields = {
        f.path: f
        for group in fields_of(json_schema(), yaml.safe_load(text)).values()
        for f in group
    }
    policy = fields["autonomy", "policy"]
    assert policy.value == "reschedule"
    assert "oracle" in policy.choices
    battery = fields["satellites", 0, "power", "battery_wh"]
    assert battery.value == 40
    assert battery.least is not None
