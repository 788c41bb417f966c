"""The payload process as its sessions share it: the payload, its boot number, its last result.

One `Board` lives as long as the process; connections (`payload.link.session`) come and go.
"""

from __future__ import annotations

import secrets
import time
from dataclasses import dataclass
from typing import Protocol

from payload.frame import Capabilities, Frame, FrameResult, Health
from payload.link.transfer import OutgoingMessage


class ServedPayload(Protocol):
    """What a board serves: a payload that can also be made to fail."""

    def describe(self) -> Capabilities:
        """Say who you are."""

    def process(self, frame: Frame) -> FrameResult:
        """Detect cloud in `frame`."""

    def health(self) -> Health:
        """Housekeeping."""

    def reset(self) -> None:
        """Forget what was seen."""

    def inject(self, fault: int, amount: float, seed: int) -> None:
        """Arrange a fault for the next frame; raises ValueError for an unknown one."""


@dataclass(frozen=True)
class Limits:
    """Bounds on what a peer may ask.

    Attributes
    ----------
    max_message_bytes : int
        Largest frame message; the default holds 4 bands of 2896 x 2896 px as float32.
    functions_per_s, functions_burst : float
        Rate of TC[8,1].
    bad_frames_per_s, bad_frames_burst : float
        Rate of damaged, refused or malformed frames beyond which a peer is disconnected. Line
        noise stays below it; a flood does not.
    """

    max_message_bytes: int = 128 << 20
    functions_per_s: float = 200.0
    functions_burst: float = 400.0
    bad_frames_per_s: float = 500.0
    bad_frames_burst: float = 5000.0


@dataclass
class Answered:
    """The last request and its result, ready to be sent again."""

    request: int
    message: OutgoingMessage


class Board:
    """The payload process: the payload, its boot number, its last result.

    Parameters
    ----------
    payload : ServedPayload
    part_bytes : int
        Data per part of results.
    compact : bool
        Deflate results.
    allow_faults : bool
        Whether a peer may inject faults.
    timing : str
        Where the payload's time comes from, ``declared`` or ``measured``; told in the handshake.
    power_limit_w : float or None
        Under which the payload pauses; None where nothing limits it. Told likewise.

    Attributes
    ----------
    answered : Answered or None
        The last frame's request with its result.
    injected : int or None
        The last request by which a fault was arranged.
    reset_by : int or None
        The last request by which the payload was reset.
    """

    def __init__(
        self,
        payload: ServedPayload,
        *,
        part_bytes: int,
        compact: bool = False,
        allow_faults: bool = False,
        timing: str = "declared",
        power_limit_w: float | None = None,
        limits: Limits | None = None,
    ) -> None:
        self.payload = payload
        self.part_bytes = part_bytes
        self.compact = compact
        self.allow_faults = allow_faults
        self.timing = timing
        self.power_limit_w = power_limit_w
        self.limits = limits or Limits()
        self.boot = secrets.randbits(63)
        self.started_s = time.monotonic()
        self.answered: Answered | None = None
        self.injected: int | None = None
        self.reset_by: int | None = None
