"""What is asked of a payload, the same for every body it can have."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal
from urllib.parse import parse_qsl


class LinkError(ValueError):
    """A payload link cannot be opened as asked."""


@dataclass(frozen=True)
class PayloadSettings:
    """Model, device and limits of a payload.

    Attributes
    ----------
    model : str
        Name of a card in `payload/models`, or path of one.
    device : str
        Name of a profile in `payload/devices`, or path of one.
    timing : {"declared", "measured"}
        Whether time comes from the device profile or from the clock.
    memory_limit_mib, power_limit_w : float or None
        Limits, if any.
    threads : int
        Threads of the inference session.
    time_scale : float or None
        Seconds of the device per second of the clock of who answers, when timing is measured. None:
        1 for a board, and where this machine stands in for the device the ratio of their speeds.
    """

    model: str
    device: str
    timing: Literal["declared", "measured"] = "declared"
    memory_limit_mib: float | None = None
    power_limit_w: float | None = None
    threads: int = 1
    time_scale: float | None = None


def link_options(query: str, known: Sequence[str]) -> dict[str, str]:
    """Options of a link by name, from what stands behind its question mark.

    What is not understood is refused and never left out: the cage or the line speed would be
    another than the one asked for.

    Raises
    ------
    LinkError
        If a part is no ``name=value``, or a name is unknown or given twice; why, as the end of a
        sentence.
    """
    try:
        pairs = parse_qsl(query, keep_blank_values=True, strict_parsing=query != "")
    except ValueError:
        raise LinkError(f"{query!r} is no name=value; valid: {', '.join(known)}") from None
    names = [name for name, _ in pairs]
    for name, value in pairs:
        if name not in known:
            raise LinkError(f"{name} is not an option; valid: {', '.join(known)}")
        if names.count(name) > 1:
            raise LinkError(f"{name} is given {names.count(name)} times; give it once")
        if not value:
            raise LinkError(f"{name} has no value; write {name}=... or leave it out")
    return dict(pairs)
