"""Mass memory as a ledger: every byte captured or made is stored, sent or gone for a named cause.

The ledger is a value per satellite. It knows nothing of time: the mission asks, it answers with
the movement that was booked, and the caller writes the event. At any instant::

    captured + derived = stored + sent + compressed away
                         + dropped by policy, by overflow, by faults, or as the ground says

`derived` are previews made on board. What is held is known by item: the name of a capture for its
pixels, the name of the product for a preview.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

from simulator.scenario import StorageQuota

GIB = 1024**3
MIB = 1024**2

Cause = Literal["policy", "overflow", "fault", "released"]


@dataclass(frozen=True)
class Movement:
    """One entry of the ledger: which cumulative figure moved, by how much, on whose account.

    `product` is empty while the bytes are not in the downlink queue.
    """

    capture: str
    product: str
    change: str
    delta_bytes: int


@dataclass
class _Item:
    capture: str
    size_bytes: int
    priority: float
    product: str = ""


@dataclass
class Storage:
    """Stored bytes by item.

    Parameters
    ----------
    capacity_bytes : int
    on_movement : callable
        Told of every booked movement, in order.
    """

    capacity_bytes: int
    on_movement: Callable[[Movement], None]
    captured_bytes: int = 0
    derived_bytes: int = 0
    sent_bytes: int = 0
    compressed_away_bytes: int = 0
    dropped_bytes: dict[Cause, int] = field(
        default_factory=lambda: {"policy": 0, "overflow": 0, "fault": 0, "released": 0}
    )
    stored_bytes: int = 0
    queued_bytes: int = 0
    _items: dict[str, _Item] = field(default_factory=dict)

    @property
    def free_bytes(self) -> int:
        """Room left."""
        return self.capacity_bytes - self.stored_bytes

    def held_bytes(self, item: str) -> int:
        """Bytes of an item still on board."""
        return self._items[item].size_bytes if item in self._items else 0

    def free_within(self, quota: StorageQuota) -> int:
        """Bytes that targets under a quota may still fill together, previews included.

        Below 0 where they hold more than that.
        """
        items = self._items.values()
        held_bytes = sum(item.size_bytes for item in items if quota.holds_for(item.priority))
        return self.share_bytes(quota) - held_bytes

    def share_bytes(self, quota: StorageQuota) -> int:
        """Bytes that targets under a quota may fill together at most."""
        return int(quota.fraction * self.capacity_bytes)

    def admit(
        self, capture: str, size_bytes: int, priority: float = 1.0, *, refused: bool = False
    ) -> bool:
        """Book a new capture; False (and dropped by overflow) where it is `refused` or too big."""
        self.captured_bytes += size_bytes
        self._hold(capture, _Item(capture, size_bytes, priority), "captured")
        if self.stored_bytes <= self.capacity_bytes and not refused:
            return True
        self.drop(capture, size_bytes, "overflow")
        return False

    def derive(self, item: str, capture: str, size_bytes: int, priority: float = 1.0) -> None:
        """Book something made on board from a capture."""
        if size_bytes > self.free_bytes:
            raise ValueError(f"{item}: {size_bytes} bytes do not fit into {self.free_bytes}")
        self.derived_bytes += size_bytes
        self._hold(item, _Item(capture, size_bytes, priority), "derived")

    def compress(self, item: str, saved_bytes: int) -> None:
        """Book bytes that compression takes away without loss."""
        held = self._release(item, saved_bytes)
        self.compressed_away_bytes += saved_bytes
        self._book(held, "compressed", saved_bytes)

    def drop(self, item: str, size_bytes: int, cause: Cause) -> None:
        """Discard part or all of an item's bytes."""
        held = self._release(item, size_bytes)
        self.dropped_bytes[cause] += size_bytes
        self._book(held, f"dropped_{cause}", size_bytes)

    def enqueue(self, item: str, product: str) -> None:
        """What is left of the item is now a product that waits for a pass."""
        if item not in self._items or self._items[item].product:
            raise ValueError(f"{item}: nothing to enqueue")
        self._items[item].product = product
        self.queued_bytes += self._items[item].size_bytes

    def send(self, item: str, size_bytes: int) -> None:
        """Book bytes that reached the ground; they leave the memory."""
        held = self._release(item, size_bytes)
        self.sent_bytes += size_bytes
        self._book(held, "sent", size_bytes)

    def _hold(self, name: str, item: _Item, change: str) -> None:
        self._items[name] = item
        self.stored_bytes += item.size_bytes
        self._book(item, change, item.size_bytes)

    def _release(self, name: str, size_bytes: int) -> _Item:
        item = self._items.get(name, _Item(name, 0, 0.0))
        if not 0 <= size_bytes <= item.size_bytes:
            raise ValueError(f"{name}: cannot release {size_bytes} of {item.size_bytes} bytes")
        self.stored_bytes -= size_bytes
        if item.product:
            self.queued_bytes -= size_bytes
        item.size_bytes -= size_bytes
        if not item.size_bytes:
            self._items.pop(name, None)
        return item

    def _book(self, item: _Item, change: str, delta_bytes: int) -> None:
        if delta_bytes:
            self.on_movement(Movement(item.capture, item.product, change, delta_bytes))
