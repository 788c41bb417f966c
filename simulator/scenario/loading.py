"""From a scenario file to a `Scenario`, or to a list of everything that is wrong with it."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import replace
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from simulator.scenario.explain import explain
from simulator.scenario.models import Scenario
from simulator.scenario.problems import FieldPath, Problem, ScenarioError, nearest
from simulator.scenario.source import Source, read_source

FIELDS_OF_FILES = ("targets", "collections", "series", "tle", "omm", "model", "device", "screening")
"""Where a scenario names files and folders, by paths that start at the scenario file."""


def bundled_scenarios() -> dict[str, Path]:
    """Scenarios that ship with the project: name to file."""
    folder = Path(str(files("scenarios")))
    return {path.stem: path for path in sorted(folder.glob("*.yaml"))}


def scenario_path(name_or_path: str | Path) -> Path:
    """Return the file of a scenario given by path or by the name of a bundled one.

    Raises
    ------
    ScenarioError
        When a bare name is neither a file nor a bundled scenario.
    """
    path = Path(name_or_path)
    if path.exists() or path.suffix in (".yaml", ".yml") or len(path.parts) > 1:
        return path
    bundled = bundled_scenarios()
    name = str(name_or_path)
    if name in bundled:
        return bundled[name]
    near = nearest(name, list(bundled))
    raise ScenarioError(
        [
            Problem(
                file=name,
                reason=f"it is neither a bundled scenario nor a file; looked at {path.resolve()}",
                allowed="bundled: " + ", ".join(bundled),
                remedy=f"did you mean {near}?" if near else "name a bundled scenario or a file",
            )
        ]
    )


def load_scenario(
    name_or_path: str | Path, overrides: Mapping[str, object] | None = None
) -> Scenario:
    """Read a scenario.

    Parameters
    ----------
    name_or_path : str or Path
        A YAML file, or the name of a bundled scenario such as ``first_light``.
    overrides : mapping, optional
        Values that replace those of the file, by dotted field path. ``*`` stands for every item
        of a list: ``{"seed": 3, "satellites.*.payload.model": "threshold"}``.

    Raises
    ------
    ScenarioError
        With every problem found, each with its place, reason and remedy.
    """
    return parse(read_scenario_source(name_or_path, overrides))


def read_scenario_source(
    name_or_path: str | Path, overrides: Mapping[str, object] | None = None
) -> Source:
    """Read the file of a scenario and apply `overrides`, without checking any field."""
    source = read_source(scenario_path(name_or_path))
    return with_overrides(source, overrides or {})


def parse(source: Source) -> Scenario:
    """Turn a source into a scenario; raises `ScenarioError` when it cannot be one."""
    try:
        scenario = Scenario.model_validate(source.values)
    except ValidationError as error:
        raise ScenarioError(explain(source, error)) from None
    return scenario.read_from(replace(source, path=source.path.resolve()))


def resolved_yaml(scenario: Scenario) -> str:
    """Write a scenario with every default filled in and catalogue names replaced.

    Paths stay as they were written, so the text (and its hash) is the same on every machine.
    """
    values = scenario.model_dump(mode="json", by_alias=True, exclude_none=True)
    text: str = yaml.safe_dump(values, sort_keys=False, allow_unicode=True, width=100)
    return text


def placed_text(path: Path) -> str:
    """The text of a scenario file, comments and all, with the files it names by whole paths.

    What is printed so flies from any folder; variables and names of what ships stay.

    Raises
    ------
    ScenarioError
        When the file cannot be read as YAML.
    """
    source = read_source(path)
    lines = path.read_text(encoding="utf-8-sig").splitlines(keepends=True)
    named = [(mark, mark.text) for field, mark in source.marks.items() if _names_files(field)]
    for mark, text in sorted(named, key=lambda one: (one[0].line, one[0].column), reverse=True):
        if text and (path.parent / text).exists():
            whole = str((path.parent / text).resolve())
            lines[mark.line - 1] = _with_value(lines[mark.line - 1], mark.column - 1, text, whole)
    return "".join(lines)


def _with_value(line: str, place: int, text: str, new: str) -> str:
    """The line with a quoted text in place of the one, quoted or not, that begins at `place`."""
    written = re.compile(rf"(['\"]?){re.escape(text)}\1")
    quoted = json.dumps(new, ensure_ascii=False)
    return line[:place] + written.sub(lambda _: quoted, line[place:], count=1)


def _names_files(field: FieldPath) -> bool:
    return any(part in FIELDS_OF_FILES for part in field)


def with_overrides(source: Source, overrides: Mapping[str, object]) -> Source:
    """Return the source with values replaced by dotted field path (see `load_scenario`)."""
    overridden: dict[FieldPath, str] = {}
    values = source.values
    for name, value in overrides.items():
        values = _replace(values, name.split("."), value, (), name, overridden)
    return Source(source.path, values, source.marks, {**source.overridden, **overridden})


def _replace(
    values: Any,
    parts: list[str],
    new: object,
    path: FieldPath,
    name: str,
    overridden: dict[FieldPath, str],
) -> Any:
    """Return a copy of `values` with `new` at `parts`; nothing is changed in place."""
    if not parts:
        overridden[path] = name
        return new
    head, rest = parts[0], parts[1:]
    if isinstance(values, list):
        chosen = range(len(values)) if head == "*" else [_index(head, values, name)]
        return [
            _replace(item, rest, new, (*path, index), name, overridden) if index in chosen else item
            for index, item in enumerate(values)
        ]
    below = values if isinstance(values, dict) else {}
    return {**below, head: _replace(below.get(head), rest, new, (*path, head), name, overridden)}


def _index(head: str, values: list[Any], name: str) -> int:
    if head.isdecimal() and int(head) < len(values):
        return int(head)
    raise ScenarioError(
        [
            Problem(
                file=f"override {name}",
                field_path=name,
                reason=f"{head!r} is no item of a list of {len(values)}",
                allowed=f"0 to {len(values) - 1}, or * for all",
                remedy="correct the index",
            )
        ]
    )
