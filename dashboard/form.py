"""A form made from the scenario's JSON Schema: every field with its range and what it means.

Sections follow the scenario; a field shows the value of the text, or the schema's default, and
what it changes is handed back by field path.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import streamlit as st
import yaml

FieldPath = tuple[str | int, ...]
NOT_SET = "not set"
NOT_USED = "not used"
_SIMPLE = ("number", "integer", "string", "boolean")


@dataclass(frozen=True)
class FormField:
    """One field that a form can show.

    Attributes
    ----------
    path : tuple
        From the root of the scenario.
    kind : str
        ``number``, ``integer``, ``string``, ``boolean``, ``choice`` or ``list`` (of simple values).
    value : object
        As in the text, or the default; None where neither says anything.
    """

    path: FieldPath
    kind: str
    value: Any
    meaning: str
    choices: tuple[str, ...] = ()
    least: float | None = None
    most: float | None = None

    @property
    def label(self) -> str:
        """The field's own name."""
        return str(self.path[-1])


def fields_of(schema: dict[str, Any], values: Any) -> dict[str, list[FormField]]:
    """Fields by section, in the order of the schema.

    Parameters
    ----------
    schema : dict
        JSON Schema of a scenario.
    values : object
        What the text says.
    """
    sections: dict[str, list[FormField]] = {}
    _walk(schema, schema, values if isinstance(values, dict) else {}, (), sections)
    return {name: fields for name, fields in sections.items() if fields}


def _walk(
    root: dict[str, Any],
    schema: dict[str, Any],
    values: dict[str, Any],
    path: FieldPath,
    sections: dict[str, list[FormField]],
) -> None:
    for name, raw in schema.get("properties", {}).items():
        below = _resolved(root, raw)
        value = values.get(name)
        here = (*path, name)
        if "properties" in below and (isinstance(value, dict) or "default" in raw):
            _walk(root, below, value if isinstance(value, dict) else {}, here, sections)
        elif isinstance(value, list) and value and isinstance(value[0], dict):
            item = _resolved(root, below.get("items", {}))
            for index, one in enumerate(value):
                if "properties" in item and isinstance(one, dict):
                    _walk(root, item, one, (*here, index), sections)
        elif (field := _field(root, raw, below, value, here)) is not None:
            sections.setdefault(_section(path), []).append(field)


def _section(path: FieldPath) -> str:
    words = [f"{part + 1}" if isinstance(part, int) else str(part) for part in path]
    return " · ".join(words) or "mission"


def _resolved(root: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    """Follow a reference; of alternatives take the first that has fields or a simple type."""
    if "$ref" in schema:
        name = schema["$ref"].rsplit("/", 1)[-1]
        return _resolved(root, {**root.get("$defs", {}).get(name, {})})
    for key in ("anyOf", "oneOf"):
        options = [_resolved(root, option) for option in schema.get(key, [])]
        useful = [o for o in options if "properties" in o or o.get("type") in (*_SIMPLE, "array")]
        if useful:
            # A fixed word beside a number (climatology, or 0.4) is typed where the number is.
            return next((o for o in useful if "const" not in o), useful[0])
    return schema


def _simple_items(root: dict[str, Any], schema: dict[str, Any]) -> bool:
    """Whether the items of an array may be plain values, which can be written between commas."""
    kinds = [schema.get("items", {}), *schema.get("prefixItems", [])]
    options = [_resolved(root, o) for kind in kinds for o in (kind, *kind.get("anyOf", ()))]
    return any(option.get("type") in _SIMPLE for option in options)


def _field(
    root: dict[str, Any], raw: dict[str, Any], schema: dict[str, Any], value: Any, path: FieldPath
) -> FormField | None:
    shown = value if value is not None else raw.get("default")
    if isinstance(shown, datetime):
        shown = shown.isoformat().replace("+00:00", "Z")  # as scenarios write it
    choices = tuple(str(choice) for choice in schema.get("enum", ()))
    kind = "choice" if choices else str(schema.get("type", ""))
    if isinstance(shown, list):
        kind = "list"
        if not _simple_items(root, schema) or any(isinstance(i, dict | list) for i in shown):
            return None
    elif (not choices and kind not in _SIMPLE) or isinstance(shown, dict) or "const" in schema:
        return None
    least = schema.get("minimum", schema.get("exclusiveMinimum"))
    most = schema.get("maximum", schema.get("exclusiveMaximum"))
    meaning = str(raw.get("description") or schema.get("description") or "")
    return FormField(path, kind, shown, meaning, choices, least, most)


def draw(fields: dict[str, list[FormField]], key: str) -> dict[FieldPath, Any]:
    """Draw a form; return the values that were changed, by field path.

    Nothing is judged here beyond the kind of a value: the scenario's own check says what is wrong.
    """
    changes: dict[FieldPath, Any] = {}
    for section, members in fields.items():
        with st.expander(_title(section, members), expanded=section in ("mission", "autonomy")):
            columns = st.columns(3)
            for index, field in enumerate(members):
                with columns[index % 3]:
                    value = _widget(field, f"{key}-{'.'.join(map(str, field.path))}")
                if value is not None and value != field.value:
                    changes[field.path] = value
    return changes


def _title(section: str, members: list[FormField]) -> str:
    """Name of a section; one that is empty says so, since it may be one of several ways."""
    if any(field.value is not None for field in members):
        return section
    names = f"{', '.join(field.label for field in members)}: " if len(members) < 4 else ""
    return f"{section} ({names}{NOT_USED})"


def _widget(field: FormField, key: str) -> Any:
    help_text = "  \n".join(part for part in (field.meaning, _range(field)) if part) or None
    if field.kind == "choice":
        choices = list(field.choices)
        index = choices.index(str(field.value)) if str(field.value) in choices else None
        return st.selectbox(
            field.label, choices, index, key=key, help=help_text, placeholder=NOT_SET
        )
    if field.kind == "boolean":
        return st.checkbox(field.label, bool(field.value), key=key, help=help_text)
    if field.kind in ("number", "integer"):
        whole = field.kind == "integer" or (
            isinstance(field.value, int) and not isinstance(field.value, bool)
        )
        text = _text_input(field, _plain_number(field.value), key, help_text)
        return _number(text, field.value, whole=whole)
    if field.kind == "list":
        written = ", ".join(str(item) for item in field.value)
        text = _text_input(field, written, key, help_text)
        return field.value if text.strip() == written else _listed(text)
    return _text_input(field, "" if field.value is None else str(field.value), key, help_text) or (
        field.value
    )


def _text_input(field: FormField, shown: str, key: str, help_text: str | None) -> str:
    return st.text_input(field.label, shown, key=key, help=help_text, placeholder=NOT_SET)


def _listed(text: str) -> Any:
    """Values between commas, as YAML reads them; what is no list goes into the text as it is."""
    try:
        return yaml.safe_load(f"[{text}]")
    except yaml.YAMLError:
        return text


def _plain_number(value: object) -> str:
    if value is None:
        return ""
    return f"{value:g}" if isinstance(value, float) else str(value)


def _number(text: str, before: Any, *, whole: bool) -> Any:
    """A number as typed; what is none goes into the text, so that its check can say so."""
    if text.strip() == _plain_number(before):
        return before
    try:
        return int(text) if whole and text.strip().lstrip("-").isdecimal() else float(text)
    except ValueError:
        return text


def _range(field: FormField) -> str:
    if field.least is None and field.most is None:
        return ""
    low = "" if field.least is None else f"{field.least:g}"
    high = "" if field.most is None else f"{field.most:g}"
    return f"Allowed: {low} to {high}" if low and high else f"Allowed: from {low}{high}"
