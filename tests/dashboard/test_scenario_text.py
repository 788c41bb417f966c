"""Scenario text: lines of problems, hostile YAML, paths made absolute, fields changed in place."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from dashboard.form import FieldPath, fields_of
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


WRITTEN = {
    "single quotes": "description: 'it''s a test'  # why\n",
    "double quotes": 'description: "say \\"hi\\" now"  # why\n',
    "plain, two lines": "description: some text\n  continued here  # why\n",
    "folded block": "description: >\n  some text\n  continued here\n# why\n",
    "literal block": "description: |\n  some text\n\n# why\n",
    "no value": "description: # why\n",
    "tag": "description: !!str 3 # why\n",
    "long": f"description: {'many words ' * 30} # why\n",
}


@pytest.mark.parametrize("written", WRITTEN.values(), ids=WRITTEN)
@pytest.mark.parametrize("value", ["new", "a, b: c # d", 'it\'s "so"\nin two lines', "w " * 90])
def test_value_is_replaced_as_a_whole_however_it_is_written(written: str, value: str) -> None:
    text = f"name: a\n{written}seed: 3\n"
    changed = with_values(text, {("description",): value})
    assert yaml.safe_load(changed) == {"name": "a", "description": value, "seed": 3}
    assert "# why" in changed


@pytest.mark.parametrize(
    ("text", "field"),
    [
        ("a: {model: x, device: y}\nb: [1, 2]\n", ("a", "model")),
        ("a: {model: &m x}\nb: *m\n", ("a", "model")),
        ("a: {model: &m x}\nb: *m\n", ("b",)),
        ("a: [x, y]\nb: 1\n", ("a", 1)),
        ("a:\n- x\n-\n- z\nb: 1\n", ("a", 1)),
        ("a: &m {model: x}\nb:\n  <<: *m\n", ("b", "model")),
    ],
)
@pytest.mark.parametrize(
    "value", ["p, q", 4, True, None, [1, 2], "", "no", "1e3", "*m", "2024-01-01"]
)
def test_neighbours_of_a_value_stay_as_they_are(text: str, field: FieldPath, value: object) -> None:
    changed = yaml.safe_load(with_values(text, {field: value}))
    assert changed == _with(yaml.safe_load(text), field, value)
    assert type(_value_at(changed, field)) is type(value)


def _value_at(values: Any, field: FieldPath) -> Any:
    for part in field:
        values = values[part]
    return values


VALUES = st.text() | st.integers() | st.floats(allow_nan=False) | st.booleans()


@settings(max_examples=150, deadline=None)
@given(
    values=st.fixed_dictionaries({"a": VALUES, "b": st.lists(VALUES, min_size=1), "c": VALUES}),
    style=st.sampled_from(["'", '"', "|", ">"]),
    flow=st.booleans(),
    changes=st.dictionaries(st.sampled_from([("a",), ("b", 0), ("c",)]), VALUES, min_size=1),
)
def test_any_value_however_written_is_replaced_by_any_other(
    values: dict[str, Any], style: str, flow: bool, changes: dict[FieldPath, Any]
) -> None:
    text = yaml.safe_dump(values, default_style=style, default_flow_style=flow, width=30)
    expected = yaml.safe_load(text)
    for field, value in changes.items():
        expected = _with(expected, field, value)
    assert yaml.safe_load(with_values(text, changes)) == expected


@settings(max_examples=20, deadline=None)
@given(data=st.data(), value=VALUES)
def test_every_field_of_the_form_can_be_changed(data: st.DataObject, value: object) -> None:
    text = bundled_scenarios()["first_light"].read_text(encoding="utf-8")
    sections = fields_of(json_schema(), yaml.safe_load(text)).values()
    path = data.draw(st.sampled_from([field.path for fields in sections for field in fields]))
    changed = yaml.safe_load(with_values(text, {path: value}))
    assert changed == _with(yaml.safe_load(text), path, value)


def _with(values: Any, field: FieldPath, value: object) -> Any:
    if not field:
        return value
    head, *rest = field
    if isinstance(values, list):
        return [_with(v, tuple(rest), value) if i == head else v for i, v in enumerate(values)]
    below = values or {}
    return {**below, head: _with(below.get(head), tuple(rest), value)}


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
