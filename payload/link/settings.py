"""What is asked of a payload, the same for every body it can have."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


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
    """

    model: str
    device: str
    timing: Literal["declared", "measured"] = "declared"
    memory_limit_mib: float | None = None
    power_limit_w: float | None = None
    threads: int = 1
