"""Reading a YAML file field by field, so that a mistake is answered with its place and a way out.

A board carries no validation library, so cards and device profiles are read with this: each field
is asked for by name and kind, what is left over is an unknown field, and every complaint names
the file, the field, the value, the reason and the nearest valid name.
"""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import yaml

Value = TypeVar("Value")


def nearest(name: str, valid: Iterable[str]) -> str:
    """A hint to end a message with: the nearest valid name, then all of them.

    Examples
    --------
    >>> nearest("myriad", ["host", "myriad2"])
    "did you mean 'myriad2'? Valid: host, myriad2"
    """
    names = sorted(valid)
    close = difflib.get_close_matches(name, names, n=1)
    hint = f"did you mean {close[0]!r}? " if close else ""
    return f"{hint}Valid: {', '.join(names) or 'none'}"


class _EachFieldOnce(yaml.SafeLoader):
    """Refuses a field that is given twice, of which PyYAML would quietly take the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            name = str(key.value)
            if name in seen:
                raise yaml.constructor.ConstructorError(
                    problem=f"the field {name!r} is given twice; remove one",
                    problem_mark=key.start_mark,
                )
            seen.add(name)
        return super().construct_mapping(node, deep)


def read_mapping(path: Path, error: type[ValueError]) -> dict[str, Any]:
    """The mapping a YAML file holds.

    Raises
    ------
    error
        The file cannot be read, is not YAML, or holds something else than a mapping.
    """
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), _EachFieldOnce)
    except OSError as problem:
        raise error(f"{path}: cannot be read ({problem.strerror})") from problem
    except UnicodeDecodeError as problem:
        raise error(f"{path}: is not text in UTF-8, so it cannot be a YAML file") from problem
    except yaml.YAMLError as problem:
        raise error(f"{path}: is not valid YAML: {problem}") from problem
    except ValueError as problem:  # PyYAML lets through what it cannot build, such as 2024-13-45
        raise error(
            f"{path}: a value cannot be read ({problem}); correct it, or put a text in quotes"
        ) from problem
    if not isinstance(content, dict):
        raise error(f"{path}: holds a {type(content).__name__}, expected a mapping of fields")
    return content


class Fields:
    """The fields of one mapping, taken out one by one.

    Parameters
    ----------
    mapping : mapping
        What the YAML file holds at this place.
    where : str
        File and path of the mapping, to begin every message with.
    error : type
        What to raise.
    """

    def __init__(self, mapping: object, where: str, error: type[ValueError]) -> None:
        self.where = where
        self.error = error
        if not isinstance(mapping, Mapping):
            raise error(f"{where}: is {mapping!r}, expected a mapping of fields")
        self._left: dict[str, Any] = {str(key): value for key, value in mapping.items()}
        self._known: list[str] = []

    def text(self, name: str, default: str | None = None) -> str:
        """A text; required without `default`."""
        return self._take(name, default, "a text", lambda v: v if isinstance(v, str) else None)

    def sha256(self, name: str) -> str:
        """A SHA-256 in hexadecimal, given in small letters whatever the file has; required."""
        what = "a SHA-256: 64 hexadecimal digits, as `sha256sum FILE` prints them"
        return self._take(name, None, what, _sha256)

    def choice(self, name: str, valid: tuple[str, ...], default: str | None = None) -> str:
        """One of some words."""
        value = self.text(name, default)
        if value not in valid:
            raise self.error(f"{self.where}: {name} is {value!r}; {nearest(value, valid)}")
        return value

    def number(self, name: str, default: float | None = None, *, above: float = -math.inf) -> float:
        """A finite number greater than `above`; required without `default`."""
        what = "a number" if above == -math.inf else f"a number above {above:g}"
        return self._take(name, default, what, lambda v: _number(v, above))

    def at_least(self, name: str, minimum: float, default: float | None = None) -> float:
        """A finite number of at least `minimum`; required without `default`."""
        below = math.nextafter(minimum, -math.inf)
        return self._take(name, default, f"a number >= {minimum:g}", lambda v: _number(v, below))

    def optional_number(self, name: str, *, above: float = -math.inf) -> float | None:
        """A finite number greater than `above`, or None where the field is absent or null."""
        if self._left.get(name) is None:
            self.skip(name)
            return None
        return self.number(name, above=above)

    def count(self, name: str, default: int | None = None, *, minimum: int = 0) -> int:
        """A whole number of at least `minimum`; required without `default`."""
        return self._take(
            name,
            default,
            f"a whole number >= {minimum}",
            lambda v: v if type(v) is int and v >= minimum else None,
        )

    def numbers(self, name: str, default: tuple[float, ...] | None = None) -> tuple[float, ...]:
        """A list of finite numbers."""
        return self._take(name, default, "a list of numbers", _numbers)

    def counts(self, name: str, default: tuple[int, ...] | None = None) -> tuple[int, ...]:
        """A list of whole numbers >= 0."""
        return self._take(name, default, "a list of whole numbers >= 0", _counts)

    def texts(self, name: str, default: tuple[str, ...] | None = None) -> tuple[str, ...]:
        """A list of texts."""
        return self._take(name, default, "a list of texts", _texts)

    def group(self, name: str) -> Fields | None:
        """A nested mapping, or None where the field is absent."""
        value = self.skip(name)
        return None if value is None else Fields(value, f"{self.where}: {name}", self.error)

    def groups(self, name: str) -> list[Fields]:
        """A list of nested mappings; empty where the field is absent."""
        value = self.skip(name)
        if value is None:
            return []
        if not isinstance(value, list):
            raise self.error(f"{self.where}: {name} is {value!r}, expected a list of mappings")
        return [
            Fields(item, f"{self.where}: {name}[{index}]", self.error)
            for index, item in enumerate(value)
        ]

    def skip(self, name: str) -> Any:
        """Take a field out as it is; None where it is absent."""
        self._known.append(name)
        return self._left.pop(name, None)

    def finish(self) -> None:
        """Complain about every field nobody asked for."""
        for name in self._left:
            raise self.error(f"{self.where}: unknown field {name!r}; {nearest(name, self._known)}")

    def _take(
        self,
        name: str,
        default: Value | None,
        what: str,
        convert: Callable[[Any], Value | None],
    ) -> Value:
        present = name in self._left
        raw = self.skip(name)
        if not present:
            if default is None:
                raise self.error(f"{self.where}: the field {name!r} is missing, expected {what}")
            return default
        value = convert(raw)
        if value is None:
            raise self.error(f"{self.where}: {name} is {raw!r}, expected {what}")
        return value


def _sha256(value: object) -> str | None:
    if not isinstance(value, str) or not re.fullmatch("[0-9a-fA-F]{64}", value):
        return None
    return value.lower()


def _number(value: object, above: float) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        number = float(value)
    except OverflowError:  # of a whole number larger than any float
        return None
    return number if math.isfinite(number) and number > above else None


def _numbers(value: object) -> tuple[float, ...] | None:
    if not isinstance(value, list):
        return None
    numbers = [_number(item, -math.inf) for item in value]
    return None if None in numbers else tuple(n for n in numbers if n is not None)


def _counts(value: object) -> tuple[int, ...] | None:
    if not isinstance(value, list) or not all(type(v) is int and v >= 0 for v in value):
        return None
    return tuple(value)


def _texts(value: object) -> tuple[str, ...] | None:
    if not isinstance(value, list) or not all(isinstance(v, str) for v in value):
        return None
    return tuple(value)
