"""What is wrong with a scenario: where it stands, why, and the way out.

A scenario is checked as a whole: a `ScenarioError` carries every `Problem` found at once.
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic_core import PydanticCustomError

FieldPath = tuple[str | int, ...]


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong.

    Attributes
    ----------
    reason : str
        What is wrong, as a clause.
    remedy : str
        What to do about it, in the imperative.
    file : str
        File it stands in, or the option that gave the value.
    line, column : int or None
        Position in `file`, counted from 1; None when the file has no lines.
    field_path : str
        As ``satellites[0].power.battery_wh``; empty for the file as a whole.
    value : str
        The value as written, shortened; empty when there is none.
    allowed : str
        Range or list of what is allowed; empty when it cannot be said shortly.
    """

    reason: str
    remedy: str
    file: str = ""
    line: int | None = None
    column: int | None = None
    field_path: str = ""
    value: str = ""
    allowed: str = ""

    @property
    def place(self) -> str:
        """``file:line:column`` as editors and terminals know it."""
        return ":".join(str(part) for part in (self.file, self.line, self.column) if part)

    def __str__(self) -> str:
        subject = ": ".join(part for part in (self.field_path, self.value) if part)
        lines = [self.place, f"  {subject}" if subject else "", f"  reason:  {self.reason}"]
        lines += [f"  allowed: {self.allowed}"] if self.allowed else []
        lines += [f"  remedy:  {self.remedy}"]
        return "\n".join(line for line in lines if line)


class ScenarioError(ValueError):
    """A scenario that cannot be flown, with everything that is wrong with it."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))

    def __reduce__(self) -> tuple[type[ScenarioError], tuple[tuple[Problem, ...]]]:
        """Pickle with the problems, so that a worker process can raise it."""
        return type(self), (self.problems,)


class UndefinedVariableError(ValueError):
    """A path names an environment variable that is not set."""

    def __init__(self, variable: str, path: str) -> None:
        self.variable, self.path = variable, path
        super().__init__(f"{path!r} needs the environment variable {variable}, which is not set.")

    def __reduce__(self) -> tuple[type[UndefinedVariableError], tuple[str, str]]:
        """Pickle with both arguments."""
        return type(self), (self.variable, self.path)


def rejected(
    reason: str,
    *,
    remedy: str,
    field: str | FieldPath = (),
    allowed: str = "",
    choices: Sequence[str] = (),
) -> PydanticCustomError:
    """Make the exception by which a model's validator refuses a value.

    Parameters
    ----------
    field : str or tuple
        The guilty field below the model, when the validator saw the whole model.
    choices : sequence of str
        Valid names; the message suggests the nearest.
    """
    path: FieldPath = (field,) if isinstance(field, str) else field
    context = {
        "reason": reason,
        "remedy": remedy,
        "field": path,
        "allowed": allowed or ", ".join(choices),
        "choices": tuple(choices),
    }
    return PydanticCustomError("rejected", "{reason}; {remedy}", context)


def nearest(word: str, choices: Sequence[str], *, cutoff: float = 0.6) -> str | None:
    """Return the choice most like `word`, or None when none reaches `cutoff` (0..1)."""
    found = difflib.get_close_matches(word, choices, n=1, cutoff=cutoff)
    return found[0] if found else None


def dotted(path: FieldPath) -> str:
    """Write a field path as ``satellites[0].power.battery_wh``."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


def shown_path(path: Path) -> str:
    """Write a path relative to the working folder where that is shorter."""
    try:
        return str(path.relative_to(Path.cwd()))
    except ValueError:
        return str(path)
