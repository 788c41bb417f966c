"""Scenario text as it is edited on a page: where its paths start, what is wrong, how it is flown.

A text has no place on disk until it is flown. Its relative paths start at the folder of the
scenario it was taken from; before it is written among the jobs they are made absolute. Text that
would blow up when its aliases are expanded is refused before anything expands it.
"""

from __future__ import annotations

import math
import re
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

MOST_ALIASES = 50
DEEPEST = 30
MOST_CHARACTERS = 400_000
TEXT_NAME = "scenario text"

# Ends a line, or an item where the value stands between brackets: quoted, neither does.
_SPLITS_PLAIN_TEXT = re.compile(r"[\n\r\x85\u2028\u2029,\[\]{}]")


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
        When a file found there, or the scenario itself, is not the one that the run used: that
        would be another mission.
    """
    values = scenario_of(run)
    if not values:
        reason = f"scenario.yaml of {run.run_id} cannot be read, or is not the one that was flown"
        remedy = "restore it from a copy, or run the scenario file itself again"
        raise ScenarioError([Problem(reason=reason, remedy=remedy, file=TEXT_NAME)])
    text = _dump(values)
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

    A value on one line is replaced where it stands, so that comments and order survive. Where that
    would say anything else than the values with this one replaced (the value is an alias, say),
    and for a field that the text does not have yet, the document is written anew, without comments.
    """
    for field, value in changes.items():
        wanted = _replaced(yaml.safe_load(text), field, value)
        edited = _edited_in_place(text, field, value)
        text = edited if edited is not None and _says(edited, wanted) else _dump(wanted)
    return text


def _edited_in_place(text: str, field: FieldPath, value: Any) -> str | None:
    node = _node_at(yaml.compose(text, Loader=yaml.SafeLoader), field)
    in_lines = isinstance(node, yaml.CollectionNode) and not node.flow_style
    if node is None or in_lines:
        return None
    start, end = node.start_mark.index, node.end_mark.index
    end = start + len(text[start:end].rstrip())  # a block of text ends where the next line begins
    space = " " if text[:start].endswith(":") else ""  # of a key without a value
    return text[:start] + space + _in_one_line(value) + text[end:]


def _node_at(node: yaml.Node | None, field: FieldPath) -> yaml.Node | None:
    """Where a field stands in a document; None when it does not, or not under its own key."""
    for part in field:
        if isinstance(node, yaml.SequenceNode) and isinstance(part, int):
            node = node.value[part] if part < len(node.value) else None
        elif isinstance(node, yaml.MappingNode):
            node = {key.value: below for key, below in node.value}.get(part)
        else:
            return None
    return node


def _says(text: str, values: Any) -> bool:
    """Whether a text means exactly these values, their types and order included."""
    try:
        return _dump(yaml.safe_load(text)) == _dump(values)
    except (yaml.YAMLError, ValueError):
        return False


def _in_one_line(value: Any) -> str:
    quotes = '"' if isinstance(value, str) and _SPLITS_PLAIN_TEXT.search(value) else None
    text = yaml.safe_dump(value, default_flow_style=True, default_style=quotes, width=math.inf)
    return str(text).strip().removesuffix("\n...").strip()


def _replaced(values: Any, field: FieldPath, value: Any) -> Any:
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
