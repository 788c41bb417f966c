"""YAML with places: the values of a document, and the line and column of each.

A field path (keys and indices from the root) leads to a `Mark`, so that whatever is found wrong
with a value later can be shown where it was written.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from simulator.scenario.problems import (
    FieldPath,
    Problem,
    ScenarioError,
    UndefinedVariableError,
    dotted,
    shown_path,
)

MAX_BYTES = 4_000_000
"""A scenario file larger than this is some other file."""


@dataclass(frozen=True)
class Mark:
    """Where a field stands: position of its key, of its value, and a scalar as written."""

    key_line: int
    key_column: int
    line: int
    column: int
    text: str | None


@dataclass(frozen=True)
class Source:
    """One YAML document with the place of every field.

    Attributes
    ----------
    path : Path
        The file.
    values : object
        What the document says, as plain Python values.
    marks : mapping
        Field path to `Mark`; the root is ``()``.
    overridden : mapping
        Field paths whose value came from an override, with that override's name.
    """

    path: Path
    values: Any
    marks: Mapping[FieldPath, Mark] = field(default_factory=dict)
    overridden: Mapping[FieldPath, str] = field(default_factory=dict)

    def problem(
        self, path: FieldPath, reason: str, remedy: str, *, allowed: str = "", at_key: bool = False
    ) -> Problem:
        """Make a `Problem` of the field at `path`, with its place and its value as written."""
        file, line, column = self._place(path, at_key)
        return Problem(
            reason=reason,
            remedy=remedy,
            file=file,
            line=line,
            column=column,
            field_path=dotted(path),
            value=self._written(path),
            allowed=allowed,
        )

    def _place(self, path: FieldPath, at_key: bool) -> tuple[str, int | None, int | None]:
        for length in range(len(path), -1, -1):
            if path[:length] in self.overridden:
                return f"override {self.overridden[path[:length]]}", None, None
        for length in range(len(path), -1, -1):
            mark = self.marks.get(path[:length])
            if mark and (at_key or length < len(path)):
                return shown_path(self.path), mark.key_line, mark.key_column
            if mark:
                return shown_path(self.path), mark.line, mark.column
        return shown_path(self.path), None, None

    def _written(self, path: FieldPath) -> str:
        mark = self.marks.get(path)
        replaced = any(path[:length] in self.overridden for length in range(len(path) + 1))
        if mark and mark.text is not None and not replaced:
            return shortened(mark.text)
        try:
            value = value_at(self.values, path)
        except LookupError:
            return ""
        return shortened(str(value)) if isinstance(value, (str, int, float, bool)) else ""


def undefined_variable(source: Source, path: FieldPath, error: UndefinedVariableError) -> Problem:
    """Make the problem of a path whose environment variable is not set."""
    return source.problem(
        path,
        f"the environment variable {error.variable} is not set",
        f"set {error.variable}, or write the path without it",
    )


def shortened(text: str, limit: int = 60) -> str:
    """Cut a long value so that a message fits one screen."""
    return text if len(text) <= limit else text[: limit - 3] + "..."


def value_at(values: Any, path: FieldPath) -> Any:
    """Return what stands at `path`; raises `LookupError` when nothing does."""
    for part in path:
        fits = isinstance(values, dict) or (isinstance(values, list) and isinstance(part, int))
        if not fits:
            raise LookupError(part)
        values = values[part]
    return values


def read_source(path: Path) -> Source:
    """Read one YAML file.

    Raises
    ------
    ScenarioError
        When the file is missing, unreadable, no YAML, or gives a key twice.
    """
    text = _read_text(path)
    try:
        loader = yaml.SafeLoader(text)
        root = loader.get_single_node()
        if root is None:
            raise _file_error(path, "the file is empty", "start from a bundled scenario")
        marks = _places(path, root)
        return Source(path=path, values=loader.construct_document(root), marks=marks)
    except yaml.MarkedYAMLError as error:
        raise _syntax_error(path, text, error) from None
    except yaml.reader.ReaderError as error:
        raise _file_error(path, error.reason, "save the file as plain UTF-8 text") from None
    except ScenarioError:
        raise
    except ValueError as error:  # PyYAML lets through what it cannot build, such as 2024-13-45
        raise _file_error(path, f"a value cannot be read: {error}", "correct the value") from None


def _places(path: Path, root: yaml.Node) -> dict[FieldPath, Mark]:
    marks: dict[FieldPath, Mark] = {}
    problems: list[Problem] = []
    _walk(path, root, (), root, marks, problems, frozenset())
    if problems:
        raise ScenarioError(problems)
    return marks


def _read_text(path: Path) -> str:
    looked_at = path.resolve()
    if looked_at.is_dir():
        raise _file_error(path, "it is a folder", "name the YAML file in it")
    if not looked_at.exists():
        raise _file_error(
            path, f"no such file; looked at {looked_at}", _remedy_for_missing(looked_at)
        )
    try:
        if looked_at.stat().st_size > MAX_BYTES:
            raise _file_error(
                path,
                f"it has {looked_at.stat().st_size} bytes, too many for a scenario",
                "name the YAML file of the scenario",
            )
        return looked_at.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise _file_error(path, "it is not text in UTF-8", "name a YAML file") from None
    except OSError as error:
        raise _file_error(
            path, f"it cannot be read: {error.strerror}", "check its rights"
        ) from None


def _remedy_for_missing(path: Path) -> str:
    if not path.parent.is_dir():
        return f"check the path: there is no folder {path.parent}"
    beside = sorted(p.name for p in path.parent.iterdir() if p.suffix in (".yaml", ".yml"))
    near = difflib.get_close_matches(path.name, beside, n=1)
    if near:
        return f"did you mean {near[0]}?"
    return "check the path" + (f"; there are {', '.join(beside[:8])}" if beside else "")


def _file_error(path: Path, reason: str, remedy: str) -> ScenarioError:
    return ScenarioError([Problem(reason=reason, remedy=remedy, file=shown_path(path))])


def _syntax_error(path: Path, text: str, error: yaml.MarkedYAMLError) -> ScenarioError:
    mark = error.problem_mark or error.context_mark
    line = mark.line if mark else 0
    lines = text.splitlines()
    written = lines[line] if line < len(lines) else ""
    if "\t" in written[: len(written) - len(written.lstrip())]:
        remedy = "indent with spaces: YAML allows no tabs"
    elif written.count(": ") > 1 and "{" not in written:
        remedy = "put a text that holds ': ' in quotes"
    else:
        remedy = "check brackets, quotes and indentation on this line and the one above"
    reason = "; ".join(part for part in (error.context, error.problem) if part)
    return ScenarioError(
        [
            Problem(
                reason=f"the file is no YAML: {reason}",
                remedy=remedy,
                file=shown_path(path),
                line=line + 1,
                column=mark.column + 1 if mark else None,
                value=shortened(written.strip()),
            )
        ]
    )


def _walk(
    file: Path,
    node: yaml.Node,
    path: FieldPath,
    key: yaml.Node,
    marks: dict[FieldPath, Mark],
    problems: list[Problem],
    above: frozenset[int],
) -> None:
    """Note the place of `node` and of all below it, and every key given twice."""
    marks[path] = Mark(
        key_line=key.start_mark.line + 1,
        key_column=key.start_mark.column + 1,
        line=node.start_mark.line + 1,
        column=node.start_mark.column + 1,
        text=node.value if isinstance(node, yaml.ScalarNode) else None,
    )
    if id(node) in above:
        problems.append(_refused(file, path, marks[path], "it contains itself", "drop the alias"))
        return
    above = above | {id(node)}
    if isinstance(node, yaml.ScalarNode):
        try:  # PyYAML says neither what it cannot build, such as 2024-13-45, nor where
            yaml.constructor.SafeConstructor().construct_object(node)
        except (ValueError, AttributeError, KeyError) as error:
            why = f": {error}" if isinstance(error, ValueError) else ""
            reason = f"it cannot be read as {node.tag.rpartition(':')[2]}{why}"
            problems.append(_refused(file, path, marks[path], reason, "correct the value"))
    if isinstance(node, yaml.SequenceNode):
        for index, item in enumerate(node.value):
            _walk(file, item, (*path, index), item, marks, problems, above)
    if isinstance(node, yaml.MappingNode):
        for name, value in node.value:
            below = (*path, str(name.value))
            first = marks.get(below)
            _walk(file, value, below, name, marks, problems, above)
            if first and name.value != "<<":
                reason = f"the key is given twice, first on line {first.key_line}"
                problems.append(_refused(file, below, marks[below], reason, "remove one of them"))


def _refused(file: Path, path: FieldPath, mark: Mark, reason: str, remedy: str) -> Problem:
    return Problem(
        reason=reason,
        remedy=remedy,
        file=shown_path(file),
        line=mark.key_line,
        column=mark.key_column,
        field_path=dotted(path),
        value=shortened(mark.text or ""),
    )
