"""From what pydantic refuses to problems a person can act on.

Ranges, choices and the names of fields are read from the JSON Schema of `Scenario`, so that a
message, the editor's completion and the check itself cannot disagree.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from simulator.scenario.models import SCHEMA_VERSION, Scenario
from simulator.scenario.problems import FieldPath, Problem, nearest
from simulator.scenario.source import Source, value_at
from simulator.scenario.units import in_unit_of, number_in_text, unit_hint

MAX_PROBLEMS = 12
"""More than this do not fit one screen; mending the first ones often mends the rest."""

Schema = dict[str, Any]


@cache
def json_schema() -> Schema:
    """JSON Schema of the scenario file."""
    return Scenario.model_json_schema(by_alias=True)


def explain(source: Source, error: ValidationError) -> list[Problem]:
    """Turn pydantic's errors into problems, in the order of the file, one per field."""
    by_path: dict[FieldPath, list[ErrorDetails]] = {}
    for detail in error.errors(include_url=False):
        by_path.setdefault(_field_path(source.values, detail), []).append(detail)
    by_path = _without_echoes(source.values, by_path)
    problems = [_problem(source, path, details) for path, details in by_path.items()]
    return sorted(problems, key=lambda problem: problem.line or 0)[:MAX_PROBLEMS]


def _without_echoes(
    values: Any, by_path: dict[FieldPath, list[ErrorDetails]]
) -> dict[FieldPath, list[ErrorDetails]]:
    """Drop what only follows from another error.

    A list whose items are refused is called too short, and a misspelt field is called unknown
    under one name and missing under the other.
    """
    misspelt = {
        (*path[:-1], meant)
        for path, details in by_path.items()
        if details[0]["type"] == "extra_forbidden" and (meant := _meant(values, path))
    }
    return {
        path: details
        for path, details in by_path.items()
        if not (details[0]["type"] == "missing" and path in misspelt)
        and not (details[0]["type"] == "too_short" and value_at(values, path))
    }


def _field_path(values: Any, detail: ErrorDetails) -> FieldPath:
    """Drop what pydantic adds to a location (branches of unions), append what a validator said."""
    path: FieldPath = ()
    for index, part in enumerate(detail["loc"]):
        try:
            value_at(values, (*path, part))
        except LookupError:
            last = index == len(detail["loc"]) - 1
            missing = detail["type"] == "missing" and isinstance(part, str)
            if not (last and missing):
                continue
        path = (*path, part)
    return path + tuple(detail.get("ctx", {}).get("field", ()))


def _problem(source: Source, path: FieldPath, details: list[ErrorDetails]) -> Problem:
    """Explain one field; a field refused by each branch of a union has several details."""
    detail = details[0]
    kind = detail["type"]
    if kind == "rejected":
        return _rejected(source, path, detail)
    if kind == "extra_forbidden":
        return _unknown_field(source, path)
    if kind == "missing" and path and path[-1] == detail["loc"][-1]:
        return _missing_field(source, path)
    if kind.startswith("union_tag"):
        return _unknown_kind(source, path, detail)
    return _bad_value(source, path, details)


def _rejected(source: Source, path: FieldPath, detail: ErrorDetails) -> Problem:
    context = detail["ctx"]
    remedy = context["remedy"]
    try:
        near = nearest(str(value_at(source.values, path)), context["choices"])
    except LookupError:
        near = None
    if near:
        remedy = f"did you mean {near}?"
    return source.problem(path, context["reason"], remedy, allowed=context["allowed"])


def _known_beside(values: Any, path: FieldPath) -> list[str]:
    return [key for schema in _schemas_at(values, path[:-1]) for key in _fields(schema)]


def _meant(values: Any, path: FieldPath) -> str | None:
    """Name of the field that an unknown one at `path` most likely stands for."""
    name, known = str(path[-1]), _known_beside(values, path)
    converted = in_unit_of(name, value_at(values, path), known)
    return converted[0] if converted else nearest(name, known)


def _unknown_field(source: Source, path: FieldPath) -> Problem:
    name, known = str(path[-1]), _known_beside(source.values, path)
    converted = in_unit_of(name, value_at(source.values, path), known)
    near = nearest(name, known)
    reason = "no field of this name is known here"
    if converted:
        reason += ", but one with another unit is"
        remedy = f"write {converted[0]}: {converted[1]}"
    else:
        remedy = f"did you mean {near}?" if near else "remove it or rename it"
    return source.problem(path, reason, remedy, allowed=", ".join(known), at_key=True)


def _missing_field(source: Source, path: FieldPath) -> Problem:
    schemas = _schemas_at(source.values, path)
    meaning = next((s["description"] for s in schemas if "description" in s), "")
    remedy = f"add {path[-1]}" + (f" ({meaning.splitlines()[0].rstrip('.')})" if meaning else "")
    return source.problem(path, "this field is required", remedy, allowed=_allowed(schemas))


def _unknown_kind(source: Source, path: FieldPath, detail: ErrorDetails) -> Problem:
    field = str(detail["ctx"]["discriminator"]).strip("'")
    expected = [tag.strip("' ") for tag in detail["ctx"].get("expected_tags", "").split(",")]
    kinds = [kind for kind in expected if kind] or [
        const for schema in _schemas_at(source.values, path) for const in _consts(schema, field)
    ]
    near = nearest(str(detail["ctx"].get("tag", "")), kinds)
    here = (*path, field) if "tag" in detail["ctx"] else path
    reason = f"no such {field} is known" if "tag" in detail["ctx"] else f"its {field} is missing"
    remedy = f"did you mean {near}?" if near else f"give {field} as one of these"
    return source.problem(here, reason, remedy, allowed=", ".join(kinds))


def _bad_value(source: Source, path: FieldPath, details: list[ErrorDetails]) -> Problem:
    schemas = _schemas_at(source.values, path)
    allowed = _allowed(schemas)
    value = value_at(source.values, path) if path else source.values
    mark = source.marks.get(path)
    written = mark.text if mark and mark.text is not None else str(value)
    name = str(path[-1]) if path else ""
    choices = [choice for schema in schemas for choice in _choices(schema)]
    near = nearest(str(value), choices)
    if path == ("schema",):
        reason = "this version of Nephoscope reads other scenario files"
        remedy = f"write schema: {SCHEMA_VERSION} and run `nephoscope validate` again"
    elif value is None or value == "":
        reason, remedy = "it is empty", _remedy_of_empty(source.values, path)
    elif near:
        reason, remedy = "it is not one of the known words", f"did you mean {near}?"
    elif ":" in written and isinstance(value, int):
        reason = f"YAML reads {written} as the base-60 number {value}"
        remedy = "write decimal hours or degrees: 10:30 is 10.5"
    elif isinstance(value, str) and (number := _number_meant(name, value, schemas)) is not None:
        reason = "it is a text, not a number"
        remedy = f"write the number alone: {number} (the unit is in the field's name)"
    else:
        reason = _sentence(details)
        hint = unit_hint(name, value, _range(schemas))
        remedy = hint or (f"give {allowed}" if allowed else "correct the value")
    return source.problem(path, reason, remedy, allowed=allowed)


def _number_meant(name: str, text: str, schemas: list[Schema]) -> str | None:
    """Number that a text stands for where a number is asked for."""
    if not any(schema.get("type") in ("number", "integer") for schema in schemas):
        return None
    return number_in_text(name, text, _range(schemas)[1])


def _remedy_of_empty(values: Any, path: FieldPath) -> str:
    beside = _schemas_at(values, path[:-1])
    if any(path[-1] in schema.get("required", ()) for schema in beside):
        return "write a value"
    return "write a value, or leave it out to get the default"


def _sentence(details: list[ErrorDetails]) -> str:
    """Pydantic's message of the last branch, as a clause of ours."""
    kind, message = details[-1]["type"], details[-1]["msg"]
    clauses = {
        "greater_than": "it is too small",
        "greater_than_equal": "it is too small",
        "less_than": "it is too large",
        "less_than_equal": "it is too large",
        "finite_number": "it is not a finite number",
        "string_pattern_mismatch": "it has not the form that is needed",
        "literal_error": "it is not one of the known words",
        "model_type": "a mapping of fields is needed here",
        "model_attributes_type": "a mapping of fields is needed here",
        "tuple_type": "a list is needed here",
        "missing": "the list is too short",
        "too_short": "the list is too short",
        "too_long": "the list is too long",
        "datetime_from_date_parsing": "it is not a time",
        "datetime_parsing": "it is not a time",
        "float_type": "a number is needed here",
        "float_parsing": "a number is needed here",
        "int_type": "a whole number is needed here",
        "int_parsing": "a whole number is needed here",
        "int_from_float": "a whole number is needed here",
        "string_type": "a text is needed here",
    }
    return clauses.get(kind, message[:1].lower() + message[1:])


def _schemas_at(values: Any, path: FieldPath) -> list[Schema]:
    """Schemas that may hold at `path`, references followed and unions spread."""
    schemas = list(_spread(json_schema(), values))
    for depth, part in enumerate(path, start=1):
        try:
            below = value_at(values, path[:depth])
        except LookupError:
            below = None
        schemas = [
            branch
            for schema in schemas
            for child in _children(schema, part)
            for branch in _spread(child, below)
        ]
    return schemas


def _children(schema: Schema, part: str | int) -> Iterator[Schema]:
    if isinstance(part, str):
        if part in schema.get("properties", {}):
            yield schema["properties"][part]
    elif part < len(schema.get("prefixItems", ())):
        yield schema["prefixItems"][part]
    elif isinstance(schema.get("items"), dict):
        yield schema["items"]


def _spread(schema: Schema, value: Any) -> Iterator[Schema]:
    """Follow a reference and open a union; of a tagged union only the branch `value` names."""
    if "$ref" in schema:
        target = json_schema()["$defs"][schema["$ref"].rsplit("/", 1)[1]]
        extra = {key: item for key, item in schema.items() if key != "$ref"}
        yield from _spread({**target, **extra}, value)
        return
    branches = schema.get("anyOf") or schema.get("oneOf")
    if not branches:
        yield schema
        return
    mapping = schema.get("discriminator", {}).get("mapping", {})
    tag = value.get(schema["discriminator"]["propertyName"]) if mapping and _is_map(value) else None
    outer = {k: v for k, v in schema.items() if k in ("description", "default")}
    for branch in branches:
        if branch.get("type") == "null" or (tag in mapping and branch["$ref"] != mapping[tag]):
            continue
        yield from _spread({**outer, **branch}, value)


def _is_map(value: Any) -> bool:
    return isinstance(value, dict)


def _fields(schema: Schema) -> list[str]:
    return list(schema.get("properties", {}))


def _choices(schema: Schema) -> list[str]:
    constant = [schema["const"]] if "const" in schema else []
    return [choice for choice in [*schema.get("enum", ()), *constant] if isinstance(choice, str)]


def _consts(schema: Schema, field: str) -> list[str]:
    return _choices(schema.get("properties", {}).get(field, {}))


def _range(schemas: list[Schema]) -> tuple[float, float]:
    """Smallest and largest number allowed by any branch."""
    low = [s.get("minimum", s.get("exclusiveMinimum")) for s in schemas]
    high = [s.get("maximum", s.get("exclusiveMaximum")) for s in schemas]
    lows = [float(number) for number in low if number is not None]
    highs = [float(number) for number in high if number is not None]
    return min(lows, default=float("-inf")), max(highs, default=float("inf"))


def _allowed(schemas: list[Schema]) -> str:
    """Say what a field may hold: words, a range, or a list."""
    parts = [text for schema in schemas if (text := _allowed_by(schema))]
    return " or ".join(dict.fromkeys(parts))


def _allowed_by(schema: Schema) -> str:
    if "enum" in schema or "const" in schema:
        return ", ".join(str(item) for item in schema.get("enum", [schema.get("const")]))
    if schema.get("type") in ("number", "integer"):
        return _interval(schema)
    if schema.get("type") == "array":
        return _list_of(schema)
    if schema.get("type") == "object":
        return "fields " + ", ".join(_fields(schema))
    if "pattern" in schema:
        meaning: str = schema.get("description", "")
        return meaning.replace("\n", " ") or f"text of the form {schema['pattern']}"
    return (
        "a time, ISO 8601 in UTC, such as 2024-06-01T00:00:00Z"
        if schema.get("format") == "date-time"
        else ""
    )


def _interval(schema: Schema) -> str:
    noun = "a whole number" if schema["type"] == "integer" else "a number"
    if "multipleOf" in schema:
        noun = f"a multiple of {schema['multipleOf']}"
    bounds = [
        f"{words} {schema[key]:g}"
        for key, words in (
            ("minimum", "at least"),
            ("exclusiveMinimum", "above"),
            ("maximum", "at most"),
            ("exclusiveMaximum", "below"),
        )
        if key in schema
    ]
    return f"{noun} {' and '.join(bounds)}" if bounds else noun


def _list_of(schema: Schema) -> str:
    if "prefixItems" in schema:
        inner = [text for item in schema["prefixItems"] if (text := _allowed_by(item))]
        each = f", each {inner[0]}" if inner else ""
        return f"a list of {len(schema['prefixItems'])}{each}"
    return f"a list of at least {schema['minItems']}" if schema.get("minItems") else "a list"
