"""Scenario text as it is edited on a page: where its paths start, what is wrong, how it is flown.

A text has no place on disk until it is flown. Its relative paths start at the folder of the
scenario it was taken from; before it is written among the jobs they are made absolute. Text that
would blow up when its aliases are expanded is refused before anything expands it.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml

from dashboard.form import FieldPath
from dashboard.runs_folder import FoundRun, scenario_of
from dashboard.scenario_paths import with_absolute_paths
from simulator.scenario import (
    Problem,
    Scenario,
    ScenarioError,
    UndefinedVariableError,
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
        When the text is no scenario, or a path in it needs a variable that is not set.
    """
    return _placed(text, check_text(text, folder))


def _placed(text: str, scenario: Scenario) -> str:
    try:
        return _dump(with_absolute_paths(yaml.safe_load(text), scenario))
    except UndefinedVariableError as error:
        problem = Problem(
            file=TEXT_NAME,
            value=error.path,
            reason=f"the environment variable {error.variable} is not set",
            remedy=f"set {error.variable} and open the dashboard again, or write the path "
            "without it",
        )
        raise ScenarioError([problem]) from None


def resolved_for_rerun(run: FoundRun) -> str:
    """The scenario of a run, to be flown again with another policy or model.

    Its paths start where they started then: at the folder that the manifest names, or, for a run
    that names none or whose folder is gone, beside the bundled scenarios.

    Raises
    ------
    ScenarioError
        When a file found there is not the one that the run used: that would be another mission.
    """
    text = _dump(scenario_of(run))
    scenario = check_text(text, _folder_of(run))
    placed = _placed(text, scenario)
    _refuse_other_files(run, scenario)
    return placed


def _folder_of(run: FoundRun) -> Path:
    named = run.manifest.scenario_folder if run.manifest else ""
    return Path(named) if named and Path(named).is_dir() else bundled_folder()


def _refuse_other_files(run: FoundRun, scenario: Scenario) -> None:
    from simulator.inputs import input_hashes

    used = run.manifest.inputs if run.manifest else {}
    remedy = "fly the scenario file itself again, and go on from that run"
    try:
        found = input_hashes(scenario)
    except (OSError, ValueError) as error:
        reason = f"a file that {run.run_id} used cannot be read in {scenario.folder}: {error}"
        raise ScenarioError([Problem(reason=reason, remedy=remedy, file=TEXT_NAME)]) from None
    other = [field for field in {**used, **found} if used.get(field) != found.get(field)]
    if other:
        raise ScenarioError([_other_file(field, run, scenario, remedy) for field in other])


def _other_file(field: str, run: FoundRun, scenario: Scenario, remedy: str) -> Problem:
    return Problem(
        field_path=field,
        reason=f"what it names, seen from {scenario.folder}, is not the file that {run.run_id} "
        "used: its content is another",
        remedy=f"put the file back, or {remedy}",
        file=TEXT_NAME,
    )


def bundled_folder() -> Path:
    """The folder of the bundled scenarios."""
    return next(iter(bundled_scenarios().values())).parent


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
