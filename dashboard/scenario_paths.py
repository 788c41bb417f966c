"""Which values of a scenario are paths: made absolute before flight, left out of a comparison.

A path says where a file lay, not what was in it. The content of each is in a run's manifest.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from simulator.scenario import Scenario, UndefinedVariableError

Pattern = tuple[str, ...]
"""Keys from the root of a scenario; ``*`` stands for every item of a list."""

PATHS: tuple[Pattern, ...] = (
    ("targets",),
    ("weather", "series"),
    ("satellites", "*", "orbit", "tle"),
    ("satellites", "*", "orbit", "omm"),
)
COLLECTIONS: tuple[Pattern, ...] = (
    ("scenes", "collections", "*"),
    ("scenes", "collections", "*", "path"),
)
NAMES_OR_PATHS: tuple[Pattern, ...] = (
    ("ground", "screening"),
    ("satellites", "*", "payload", "model"),
    ("satellites", "*", "payload", "device"),
)
LINKS: tuple[Pattern, ...] = (("satellites", "*", "payload", "link"),)


def with_absolute_paths(values: dict[str, Any], scenario: Scenario) -> dict[str, Any]:
    """A copy of scenario values in which every path is absolute.

    An optional collection behind a variable that is not set stays as it was written: it is left
    out of the mission wherever it is flown from.

    Raises
    ------
    UndefinedVariableError
        When a path that the mission needs names an environment variable that is not set.
    """
    missing = scenario.missing_collections()

    def absolute(path: str) -> str:
        try:
            return str(scenario.resolve(path))
        except UndefinedVariableError:
            if path in missing:
                return path
            raise

    values = _changed(values, (*PATHS, *COLLECTIONS), absolute)
    values = _changed(values, NAMES_OR_PATHS, scenario.name_or_path)
    return _changed(values, LINKS, scenario.link_address)


def without_paths(values: dict[str, Any]) -> dict[str, Any]:
    """A copy of scenario values that is the same wherever the files lie, and whatever they hold."""
    values = _changed(values, (*PATHS, *COLLECTIONS, *NAMES_OR_PATHS), lambda _path: "")
    return _changed(values, LINKS, lambda link: "replay:" if link.startswith("replay:") else link)


def _changed(
    values: dict[str, Any], patterns: tuple[Pattern, ...], change: Callable[[str], str]
) -> dict[str, Any]:
    for pattern in patterns:
        values = _changed_at(values, pattern, change)
    return values


def _changed_at(values: Any, pattern: Pattern, change: Callable[[str], str]) -> Any:
    """Apply `change` to the texts at `pattern`; what is no text there, or absent, stays."""
    if not pattern:
        return change(values) if isinstance(values, str) else values
    head, rest = pattern[0], pattern[1:]
    if head == "*" and isinstance(values, list):
        return [_changed_at(item, rest, change) for item in values]
    if isinstance(values, dict) and head in values:
        return {**values, head: _changed_at(values[head], rest, change)}
    return values
