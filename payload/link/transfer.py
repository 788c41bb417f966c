"""Large messages in parts (PUS service 13), and which of them are still missing.

Each part names its transaction, its number and the size of the whole message, so that any part
that arrives first opens the transfer and any that is lost can be asked for by number.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from payload.link.packets import (
    MAX_RANGES,
    PART_HEADER_BYTES,
    Kind,
    LargeDataSubtype,
    Missing,
    Part,
)
from payload.link.wire import MAX_BULK_DATA_BYTES, WireError

MAX_PARTS = 65535
MAX_PART_BYTES = MAX_BULK_DATA_BYTES - PART_HEADER_BYTES
MIN_PART_BYTES = 16


@dataclass(frozen=True, slots=True)
class OutgoingPart:
    """One part of a message on its way: its subtype, its head, and views of its data."""

    subtype: int
    head: bytes
    data: list[memoryview]

    @property
    def size(self) -> int:
        """Octets of head and data."""
        return len(self.head) + sum(map(len, self.data))


class OutgoingMessage:
    """A message cut into parts without copying it.

    Parameters
    ----------
    transaction : int
        0..65535.
    kind : Kind
    pieces : sequence of bytes-like
        The message is their concatenation.
    part_bytes : int
        Data per part; raised where the message would need more than 65535 parts.

    Raises
    ------
    ValueError
        If the message does not fit into 65535 of the largest parts.
    """

    def __init__(
        self,
        transaction: int,
        kind: Kind,
        pieces: Sequence[bytes | memoryview],
        part_bytes: int,
        uplink: bool,
    ) -> None:
        self._pieces = [memoryview(piece) for piece in pieces if len(piece)]
        size = sum(len(piece) for piece in self._pieces)
        part_bytes = max(part_bytes, MIN_PART_BYTES, -(-size // MAX_PARTS))
        if part_bytes > MAX_PART_BYTES:
            raise ValueError(f"message of {size} bytes does not fit into {MAX_PARTS} parts")
        self._head = Part(transaction, 1, size, part_bytes, kind)
        self._uplink = uplink
        self.transaction = transaction
        self.parts = self._head.parts

    def part(self, number: int) -> OutgoingPart:
        """Part `number`, 1..`parts`."""
        head = Part(
            self.transaction,
            number,
            self._head.message_bytes,
            self._head.part_bytes,
            self._head.kind,
        )
        start = (number - 1) * head.part_bytes
        end = min(start + head.part_bytes, head.message_bytes)
        return OutgoingPart(self._subtype(number), head.pack(), self._slice(start, end))

    def _subtype(self, number: int) -> int:
        kinds = LargeDataSubtype
        names = (
            (kinds.UP_FIRST, kinds.UP_NEXT, kinds.UP_LAST)
            if self._uplink
            else (kinds.DOWN_FIRST, kinds.DOWN_NEXT, kinds.DOWN_LAST)
        )
        if number == self.parts:
            return names[2]
        return names[0] if number == 1 else names[1]

    def _slice(self, start: int, end: int) -> list[memoryview]:
        pieces: list[memoryview] = []
        offset = 0
        for piece in self._pieces:
            low, high = max(start - offset, 0), min(end - offset, len(piece))
            if low < high:
                pieces.append(piece[low:high])
            offset += len(piece)
        return pieces


class IncomingMessage:
    """A message being put together. Memory is bounded by `max_bytes` when it is opened.

    Parameters
    ----------
    first : Part
        Head of whichever part arrived first.
    max_bytes : int
    spare : bytearray or None
        Memory of an earlier message that nobody uses any more; taken again if it fits, because
        fresh pages cost more than the data that goes into them.

    Raises
    ------
    WireError
        If the first part to arrive announces a message larger than `max_bytes`.
    """

    def __init__(self, first: Part, max_bytes: int, spare: bytearray | None = None) -> None:
        if first.message_bytes > max_bytes:
            raise WireError(
                f"a message of {first.message_bytes} bytes is announced, {max_bytes} are allowed"
            )
        if first.parts > MAX_PARTS or first.part_bytes < min(MIN_PART_BYTES, first.message_bytes):
            raise WireError(f"a message in {first.parts} parts of {first.part_bytes} bytes")
        self.transaction = first.transaction
        self.kind = first.kind
        self._head = first
        fits = spare is not None and len(spare) == first.message_bytes
        self._data = spare if spare is not None and fits else bytearray(first.message_bytes)
        # Through a view, because a bytearray copies what it is given before it takes it.
        self._view = memoryview(self._data)
        self._arrived = bytearray(first.parts + 1)
        self._left = first.parts

    @property
    def complete(self) -> bool:
        """Whether every part has arrived."""
        return self._left == 0

    @property
    def data(self) -> bytearray:
        """The message, whole only when `complete`."""
        return self._data

    def belongs(self, part: Part) -> bool:
        """Whether a part is of this message: same transaction, size, cut and kind."""
        return (
            part.transaction == self.transaction
            and part.message_bytes == self._head.message_bytes
            and part.part_bytes == self._head.part_bytes
            and part.kind == self._head.kind
        )

    def add(self, part: Part, body: bytes | memoryview) -> None:
        """Put one part in its place; a part that comes twice changes nothing."""
        if self._arrived[part.number]:
            return
        start = (part.number - 1) * part.part_bytes
        self._view[start : start + len(body)] = body
        self._arrived[part.number] = 1
        self._left -= 1

    def missing(self) -> Missing:
        """Ranges of the parts that have not arrived, at most `MAX_RANGES` of them."""
        ranges: list[tuple[int, int]] = []
        number = self._arrived.find(0, 1)
        while number > 0 and len(ranges) < MAX_RANGES:
            after = self._arrived.find(1, number)
            last = (after if after > 0 else len(self._arrived)) - 1
            ranges.append((number, last))
            number = self._arrived.find(0, last + 1) if after > 0 else -1
        return Missing(self.transaction, True, tuple(ranges))
