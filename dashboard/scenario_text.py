"""Scenario text as it is edited on a page: where its paths start, what is wrong, how it is flown.

A text has no place on disk until it is flown. Its relative paths start at the folder of the
scenario it was taken from; before it is written among the jobs they are made absolute. Text that
would blow up when its aliases are expanded is refused before anything expands it.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml

from dashboard.form import FieldPath
from dashboard.runs_folder import FoundRun, scenario_of
from simulator.scenario import (
    Problem,
    Scenario,
    ScenarioError,
    bundled_scenarios,
    load_scenario,
)
from simulator.scenario.source import Source, read_source

MOST_ALIASES = 50
DEEPEST = 30
MOST_CHARACTERS = 400_000
TEXT_NAME = "scenario text"


def check_text(text: str, folder: Path, *, everything: bool = False) -> Scenario:
    """Read a scenario from text whose relative paths start at `folder`.

    Parameters
    ----------
    everything : bool
        Also open what it names: targets, orbit, scenes, model, device.

    Raises
    ------
    ScenarioError
        With every problem and its line; ``file`` is `TEXT_NAME`.
    """
    _refuse_bombs(text)
    with tempfile.TemporaryDirectory(prefix="nephoscope-") as place:
        path = Path(place) / "scenario.yaml"
        path.write_text(text, encoding="utf-8")
        try:
            scenario = load_scenario(path)
            scenario = scenario.read_from(replace(scenario.source, path=folder / "scenario.yaml"))
            if everything:
                from simulator.scenario.checks import check_scenario

                check_scenario(scenario)
        except ScenarioError as error:
            raise ScenarioError([_of_text(problem) for problem in error.problems]) from None
    return scenario


def _of_text(problem: Problem) -> Problem:
    return replace(problem, file=TEXT_NAME)


def _refuse_bombs(text: str) -> None:
    reason = ""
    if len(text) > MOST_CHARACTERS:
        reason = f"it has {len(text)} characters, too many for a scenario"
    else:
        try:
            reason = _explosive(text)
        except yaml.YAMLError:
            return  # the reader says where and why
    if reason:
        remedy = "write the values out, or start from a bundled scenario"
        raise ScenarioError([Problem(reason=reason, remedy=remedy, file=TEXT_NAME)])


def _explosive(text: str) -> str:
    """Why a text would cost too much to build; empty when it would not. Reads no further then."""
    aliases = depth = 0
    for event in yaml.parse(text, Loader=yaml.SafeLoader):
        aliases += isinstance(event, yaml.AliasEvent)
        depth += isinstance(event, yaml.CollectionStartEvent)
        depth -= isinstance(event, yaml.CollectionEndEvent)
        if aliases > MOST_ALIASES:
            return f"it has more than {MOST_ALIASES} aliases, too many to expand"
        if depth > DEEPEST:
            return f"it is nested more than {DEEPEST} deep"
    return ""


def to_fly(text: str, folder: Path) -> str:
    """The scenario of a text, as YAML with absolute paths.

    Raises
    ------
    ScenarioError
        When the text is no scenario.
    """
    scenario = check_text(text, folder)
    return _dump(with_absolute_paths(yaml.safe_load(text), scenario))


def resolved_for_rerun(run: FoundRun) -> str:
    """The scenario of a run, to be flown again with another policy or model.

    A run keeps its paths as they were written, relative to a file that it does not name; they are
    looked for beside the bundled scenarios.
    """
    text = _dump(scenario_of(run))
    return to_fly(text, bundled_folder())


def bundled_folder() -> Path:
    """The folder of the bundled scenarios."""
    return next(iter(bundled_scenarios().values())).parent


def with_absolute_paths(values: dict[str, Any], scenario: Scenario) -> dict[str, Any]:
    """A copy of scenario values in which every path is absolute."""

    def absolute(path: str) -> str:
        return str(scenario.resolve(path))

    placed = dict(values)
    placed["targets"] = absolute(values["targets"])
    weather = values.get("weather") or {}
    if weather.get("series"):
        placed["weather"] = {**weather, "series": absolute(weather["series"])}
    scenes = values["scenes"]
    placed["scenes"] = {
        **scenes,
        "collections": [_collection(item, absolute) for item in scenes["collections"]],
    }
    placed["satellites"] = [_satellite(s, scenario, absolute) for s in values["satellites"]]
    return placed


def _collection(item: Any, absolute: Callable[[str], str]) -> Any:
    return absolute(item) if isinstance(item, str) else {**item, "path": absolute(item["path"])}


def _satellite(
    values: dict[str, Any], scenario: Scenario, absolute: Callable[[str], str]
) -> dict[str, Any]:
    orbit, payload = dict(values["orbit"]), dict(values.get("payload") or {})
    for kind in ("tle", "omm"):
        if isinstance(orbit.get(kind), str):
            orbit[kind] = absolute(orbit[kind])
    for part in ("model", "device"):
        if part in payload:
            payload[part] = scenario.name_or_path(payload[part])
    if "link" in payload:
        payload["link"] = scenario.link_address(payload["link"])
    return {**values, "orbit": orbit, "payload": payload}


def with_values(text: str, changes: Mapping[FieldPath, Any]) -> str:
    """The text with values replaced by field path.

    A scalar is replaced where it stands, so that comments and order survive; a field that the
    text does not have yet makes the document be written anew, without comments.
    """
    for field, value in changes.items():
        source = _source(text)
        mark = source.marks.get(field)
        if mark is None or mark.text is None:
            text = _dump(_replaced(source.values, field, value))
            continue
        lines = text.splitlines(keepends=True)
        line = lines[mark.line - 1]
        before, after = line[: mark.column - 1], line[mark.column - 1 :]
        lines[mark.line - 1] = before + _scalar(value) + after[_written_length(after, mark.text) :]
        text = "".join(lines)
    return text


def _source(text: str) -> Source:
    with tempfile.TemporaryDirectory(prefix="nephoscope-") as place:
        path = Path(place) / "scenario.yaml"
        path.write_text(text, encoding="utf-8")
        return read_source(path)


def _written_length(after: str, text: str) -> int:
    if after[:1] in "'\"":
        closing = after.find(after[0], 1)
        return closing + 1 if closing > 0 else len(after.rstrip("\n"))
    return len(text) if after.startswith(text) else len(after.split("#")[0].rstrip())


def _scalar(value: Any) -> str:
    return yaml.safe_dump(value, default_flow_style=True).strip().removesuffix("\n...").strip()


def _replaced(values: Any, field: tuple[str | int, ...], value: Any) -> Any:
    if not field:
        return value
    head, rest = field[0], field[1:]
    if isinstance(values, list):
        return [_replaced(v, rest, value) if i == head else v for i, v in enumerate(values)]
    below = values if isinstance(values, dict) else {}
    return {**below, str(head): _replaced(below.get(head), rest, value)}


def _dump(values: Any) -> str:
    text: str = yaml.safe_dump(values, sort_keys=False, allow_unicode=True, width=100)
    return text
