"""The form follows the schema: lists, fields without a value, and sections it was never told of."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import yaml
from streamlit.testing.v1 import AppTest

from dashboard.form import FormField, fields_of
from simulator.scenario.explain import json_schema

SCHEMA = {
    "properties": {
        "size_px": {"type": "array", "items": {"type": "integer"}},
        "faults": {"type": "array", "items": {"$ref": "#/$defs/Fault"}, "default": []},
        "limit": {"anyOf": [{"type": "number"}, {"type": "null"}], "default": None},
        "glance": {"anyOf": [{"$ref": "#/$defs/Glance"}, {"type": "null"}], "default": None},
    },
    "$defs": {
        "Fault": {"properties": {"kind": {"type": "string"}}},
        "Glance": {"properties": {"lead_s": {"type": "number", "default": 60.0}}},
    },
}


def kinds(sections: dict[str, list[FormField]]) -> dict[tuple[str | int, ...], tuple[str, object]]:
    return {f.path: (f.kind, f.value) for fields in sections.values() for f in fields}


def test_every_kind_of_field_is_shown_once() -> None:
    assert kinds(fields_of(SCHEMA, {"size_px": [512, 512]})) == {
        ("size_px",): ("list", [512, 512]),
        ("limit",): ("number", None),
        ("glance", "lead_s"): ("number", 60.0),
    }


def test_every_value_of_a_scenario_has_a_field(short_scenario: str) -> None:
    values = yaml.safe_load(short_scenario)
    shown = kinds(fields_of(json_schema(), values))
    for section in ("autonomy", "weather"):
        for name, value in values[section].items():
            assert shown[(section, name)][1] == value
    assert shown[("satellites", 0, "imager", "frame_px")] == ("list", [512, 512])


def test_an_empty_section_is_one_of_several_ways_not_something_missing(
    open_page: Callable[..., AppTest], runs: Path
) -> None:
    titles = [expander.label for expander in open_page(runs, "scenario").expander]
    assert "satellites · 1 · orbit · sun_synchronous" in titles
    assert any(title.startswith("satellites · 1 · orbit (") for title in titles)
    assert not any("not set" in title for title in titles)


def test_a_moment_is_shown_as_scenarios_write_it(short_scenario: str) -> None:
    values = yaml.safe_load(short_scenario)
    assert kinds(fields_of(json_schema(), values))[("epoch",)] == ("string", "2024-06-01T00:00:00Z")


def test_list_and_unset_field_are_written_into_the_text(
    open_page: Callable[..., AppTest], runs: Path
) -> None:
    app = open_page(runs, "scenario")
    _input(app, "frame_px").set_value("256, 512")
    _input(app, "max_off_nadir_deg").set_value("21.5")
    next(button for button in app.button if button.label == "Apply").click().run()
    assert not app.exception
    imager = yaml.safe_load(app.session_state["text"])["satellites"][0]["imager"]
    assert imager["frame_px"] == [256, 512]
    assert imager["max_off_nadir_deg"] == 21.5


def _input(app: AppTest, field: str):
    return next(box for box in app.text_input if box.label == field)
