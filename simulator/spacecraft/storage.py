"""Mass memory as a ledger: every byte captured is stored, sent or dropped for a named cause.

The ledger is a value per satellite. It knows nothing of time: the mission asks, it answers with
the movement that was booked, and the caller writes the event. At any instant::

    captured = stored + sent + dropped by policy + dropped by overflow + dropped by faults
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

GIB = 1024**3
MIB = 1024**2

Cause = Literal["policy", "overflow", "fault"]


@dataclass(frozen=True)
class Movement:
    """One entry of the ledger: which cumulative figure moved, by how much, for which capture."""

    capture: str
    change: str
    delta_bytes: int


@dataclass
class Storage:
    """Stored bytes by capture.

    Parameters
    ----------
    capacity_bytes : int
    on_movement : callable
        Told of every booked movement, in order.
    """

    capacity_bytes: int
    on_movement: Callable[[Movement], None]
    captured_bytes: int = 0
    sent_bytes: int = 0
    dropped_bytes: dict[Cause, int] = field(
        default_factory=lambda: {"policy": 0, "overflow": 0, "fault": 0}
    )
    stored_bytes: int = 0
    queued_bytes: int = 0
    _held: dict[str, int] = field(default_factory=dict)
    _queued: set[str] = field(default_factory=set)

    @property
    def free_bytes(self) -> int:
        """Room left."""
        return self.capacity_bytes - self.stored_bytes

    def held_bytes(self, capture: str) -> int:
        """Bytes of `capture` still on board."""
        return self._held.get(capture, 0)

    def admit(self, capture: str, size_bytes: int) -> bool:
        """Book a new capture; False (and dropped by overflow) where it does not fit."""
        self.captured_bytes += size_bytes
        self.stored_bytes += size_bytes
        self._held[capture] = size_bytes
        self._book(capture, "captured", size_bytes)
        if self.stored_bytes <= self.capacity_bytes:
            return True
        self.drop(capture, size_bytes, "overflow")
        return False

    def drop(self, capture: str, size_bytes: int, cause: Cause) -> None:
        """Discard part or all of a capture's bytes."""
        self._release(capture, size_bytes)
        self.dropped_bytes[cause] += size_bytes
        self._book(capture, f"dropped_{cause}", size_bytes)

    def enqueue(self, capture: str) -> None:
        """What is left of the capture is now a product that waits for a pass."""
        if capture not in self._held or capture in self._queued:
            raise ValueError(f"capture {capture}: nothing to enqueue")
        self._queued.add(capture)
        self.queued_bytes += self._held[capture]

    def send(self, capture: str, size_bytes: int) -> None:
        """Book bytes that reached the ground; they leave the memory."""
        self._release(capture, size_bytes)
        self.sent_bytes += size_bytes
        self._book(capture, "sent", size_bytes)

    def _release(self, capture: str, size_bytes: int) -> None:
        held = self._held.get(capture, 0)
        if not 0 <= size_bytes <= held:
            raise ValueError(f"capture {capture}: cannot release {size_bytes} of {held} bytes")
        self.stored_bytes -= size_bytes
        if capture in self._queued:
            self.queued_bytes -= size_bytes
        if size_bytes == held:
            self._held.pop(capture, None)
            self._queued.discard(capture)
        else:
            self._held[capture] = held - size_bytes

    def _book(self, capture: str, change: str, delta_bytes: int) -> None:
        if delta_bytes:
            self.on_movement(Movement(capture, change, delta_bytes))
