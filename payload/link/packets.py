"""Application data of every packet: the tables of the interface control document in code.

All integers are big-endian, as PUS has them. `SCHEMA_SHA256` is the hash of the layouts below;
both ends exchange it in the handshake, so that two versions of this file refuse each other
instead of misreading each other.
"""

from __future__ import annotations

import enum
import hashlib
import struct
from dataclasses import dataclass
from typing import Any

from payload.link.wire import WireError

PROTOCOL_VERSION = 1
NONCE_BYTES = 16
HASH_BYTES = 32
ANY_MODEL = bytes(HASH_BYTES)
"""Expected model hash of a peer that takes whatever model is loaded."""

MAX_RANGES = 256
"""Most ranges of missing parts one report names; the rest is asked for in the next round."""


class Function(enum.IntEnum):
    """Functions of TC[8,1]."""

    CONNECT = 1
    PROCESS = 2
    RESET = 3
    INJECT = 4


class FunctionSubtype(enum.IntEnum):
    """Message subtypes of service 8; from 128 on they are the mission's own."""

    PERFORM = 1
    ANSWER = 129


class HousekeepingSubtype(enum.IntEnum):
    """Message subtypes of service 3."""

    REPORT = 25
    REQUEST = 27


class LargeDataSubtype(enum.IntEnum):
    """Message subtypes of service 13; from 128 on they are the mission's own.

    PUS-C sends large messages without acknowledgement. Asking what arrived, and repeating what
    did not, are therefore mission-specific subtypes.
    """

    DOWN_FIRST = 1
    DOWN_NEXT = 2
    DOWN_LAST = 3
    UP_FIRST = 9
    UP_NEXT = 10
    UP_LAST = 11
    UP_ABORTED = 16
    ASK_RECEIVED = 129
    RECEIVED = 130
    REPEAT_DOWN = 131


class Failure(enum.IntEnum):
    """Failure codes in service 1 reports."""

    VERSION = 1
    MODEL = 2
    NOT_CONNECTED = 3
    UNKNOWN = 4
    MALFORMED = 5
    INCOMPLETE = 6
    TOO_LARGE = 7
    FORBIDDEN = 8


class Kind(enum.IntEnum):
    """What a large message holds."""

    FRAME = 1
    RESULT = 2


HOUSEKEEPING_STRUCTURE = 1

LAYOUTS: dict[str, tuple[str, str]] = {
    "perform": (">BI", "function, request"),
    "connect": (f">H{HASH_BYTES}s{HASH_BYTES}s{NONCE_BYTES}s", "protocol, schema, model, nonce"),
    "process": (">HI", "transaction, timeout_ms"),
    "inject": (">BdQ", "fault, amount, seed"),
    "answer": (">BI", "function, request, then canonical JSON"),
    "part": (">HHIHB", "transaction, part, message_bytes, part_bytes, kind, then data"),
    "transaction": (">H", "transaction"),
    "ranges": (">HHB", "transaction, count, known, then count x (first, last)"),
    "range": (">HH", "first, last"),
    "structure": (">B", "structure"),
    "housekeeping": (
        ">BIQdIIIIIII",
        "structure, pid, boot, rss_mib, frames, restarts, packets_in, packets_lost, "
        "packets_refused, parts_repeated, uptime_ms",
    ),
}
"""Layout of each piece of application data: `struct` format and names of its fields."""

_GROUPS = (Function, FunctionSubtype, HousekeepingSubtype, LargeDataSubtype, Failure, Kind)

SCHEMA_SHA256: str = hashlib.sha256(
    "\n".join(
        [f"protocol {PROTOCOL_VERSION}"]
        + [f"{name}: {form}: {fields}" for name, (form, fields) in LAYOUTS.items()]
        + [
            f"{member.__class__.__name__}.{member.name}={member.value}"
            for group in _GROUPS
            for member in group
        ]
    ).encode()
).hexdigest()
"""Hash of this interface's layouts and codes."""

_STRUCTS = {name: struct.Struct(form) for name, (form, _) in LAYOUTS.items()}
PART_HEADER_BYTES = _STRUCTS["part"].size


@dataclass(frozen=True, slots=True)
class Connect:
    """Arguments of the connect function: who asks, and whom it expects."""

    protocol: int
    schema_sha256: str
    model_sha256: str
    nonce: bytes

    def pack(self) -> bytes:
        """Application data after the function's head."""
        return _STRUCTS["connect"].pack(
            self.protocol,
            bytes.fromhex(self.schema_sha256),
            bytes.fromhex(self.model_sha256) if self.model_sha256 else ANY_MODEL,
            self.nonce,
        )

    @classmethod
    def unpack(cls, data: bytes) -> Connect:
        """Read the arguments; an all-zero model hash becomes the empty string."""
        protocol, schema, model, nonce = _unpack("connect", data)
        return cls(protocol, schema.hex(), "" if model == ANY_MODEL else model.hex(), nonce)


@dataclass(frozen=True, slots=True)
class Part:
    """Head of one part of a large message. Parts are numbered from 1."""

    transaction: int
    number: int
    message_bytes: int
    part_bytes: int
    kind: int

    @property
    def parts(self) -> int:
        """How many parts the message has."""
        return -(-self.message_bytes // self.part_bytes)

    def pack(self) -> bytes:
        """The head; the part's data follows it."""
        return _STRUCTS["part"].pack(
            self.transaction, self.number, self.message_bytes, self.part_bytes, self.kind
        )


@dataclass(frozen=True, slots=True)
class Missing:
    """Which parts of a transaction are missing.

    `known` is False when no part of the transaction ever arrived; then `ranges` is empty.
    """

    transaction: int
    known: bool
    ranges: tuple[tuple[int, int], ...]

    def arrived(self, parts: int) -> int:
        """How many of so many parts have arrived for certain.

        A list that is full may have been cut short: it says nothing of the parts behind it.
        """
        if not self.known:
            return 0
        end = self.ranges[-1][1] if len(self.ranges) == MAX_RANGES else parts
        return end - sum(last - first + 1 for first, last in self.ranges)

    def pack(self) -> bytes:
        """Application data of a received or repeat packet."""
        head = _STRUCTS["ranges"].pack(self.transaction, len(self.ranges), self.known)
        return head + b"".join(_STRUCTS["range"].pack(*pair) for pair in self.ranges)

    @classmethod
    def unpack(cls, data: bytes) -> Missing:
        """Read the report.

        Raises
        ------
        WireError
            If the ranges do not fill the data exactly, or one runs backwards.
        """
        head = _STRUCTS["ranges"]
        transaction, count, known = _unpack("ranges", data[: head.size])
        body = data[head.size :]
        if count > MAX_RANGES or len(body) != count * _STRUCTS["range"].size:
            raise WireError(f"{count} ranges do not fit the {len(body)} bytes that follow")
        ranges = tuple(_STRUCTS["range"].iter_unpack(body))
        if any(first < 1 or last < first for first, last in ranges):
            raise WireError("a range of missing parts runs backwards")
        return cls(transaction, bool(known), ranges)


@dataclass(frozen=True, slots=True)
class Housekeeping:
    """TM[3,25], structure 1: the health of the payload computer and of its end of the line."""

    pid: int
    boot: int
    rss_mib: float
    frames: int
    restarts: int
    packets_in: int
    packets_lost: int
    packets_refused: int
    parts_repeated: int
    uptime_ms: int

    def pack(self) -> bytes:
        """Source data of the report."""
        return _STRUCTS["housekeeping"].pack(
            HOUSEKEEPING_STRUCTURE,
            self.pid,
            self.boot,
            self.rss_mib,
            *(
                value & 0xFFFFFFFF
                for value in (
                    self.frames,
                    self.restarts,
                    self.packets_in,
                    self.packets_lost,
                    self.packets_refused,
                    self.parts_repeated,
                    self.uptime_ms,
                )
            ),
        )

    @classmethod
    def unpack(cls, data: bytes) -> Housekeeping:
        """Read the report."""
        structure, *fields = _unpack("housekeeping", data)
        if structure != HOUSEKEEPING_STRUCTURE:
            raise WireError(f"housekeeping structure {structure} is unknown")
        return cls(*fields)


def pack_perform(function: Function, request: int, arguments: bytes = b"") -> bytes:
    """Application data of TC[8,1]."""
    return _STRUCTS["perform"].pack(function, request) + arguments


def unpack_perform(data: bytes) -> tuple[int, int, bytes]:
    """Function, request and arguments of TC[8,1]."""
    size = _STRUCTS["perform"].size
    function, request = _unpack("perform", data[:size])
    return function, request, data[size:]


def pack_answer(function: Function, request: int, text: bytes) -> bytes:
    """Source data of TM[8,129]."""
    return _STRUCTS["answer"].pack(function, request) + text


def unpack_answer(data: bytes) -> tuple[int, int, bytes]:
    """Function, request and JSON text of TM[8,129]."""
    size = _STRUCTS["answer"].size
    function, request = _unpack("answer", data[:size])
    return function, request, data[size:]


def pack_process(transaction: int, timeout_ms: int) -> bytes:
    """Arguments of the process function."""
    return _STRUCTS["process"].pack(transaction, timeout_ms)


def unpack_process(data: bytes) -> tuple[int, int]:
    """Transaction that holds the frame, and the time the sender will wait, ms."""
    transaction, timeout_ms = _unpack("process", data)
    return transaction, timeout_ms


def pack_inject(fault: int, amount: float, seed: int) -> bytes:
    """Arguments of the inject function."""
    return _STRUCTS["inject"].pack(fault, amount, seed)


def unpack_inject(data: bytes) -> tuple[int, float, int]:
    """Kind, amount and seed of a fault to inject."""
    fault, amount, seed = _unpack("inject", data)
    return fault, amount, seed


def unpack_part(data: bytes | memoryview) -> tuple[Part, bytes | memoryview]:
    """Head and data of one part.

    Raises
    ------
    WireError
        If the head contradicts itself or the data's length.
    """
    part = Part(*_unpack("part", data[:PART_HEADER_BYTES]))
    body = data[PART_HEADER_BYTES:]
    if not part.message_bytes or not part.part_bytes:
        raise WireError(f"a message of {part.message_bytes} bytes in parts of {part.part_bytes}")
    if not 1 <= part.number <= part.parts:
        raise WireError(f"part {part.number} does not belong to a message of {part.parts} parts")
    start = (part.number - 1) * part.part_bytes
    if len(body) != min(part.part_bytes, part.message_bytes - start):
        raise WireError(f"part {part.number} carries {len(body)} bytes, not what its head says")
    return part, body


def pack_transaction(transaction: int) -> bytes:
    """Application data that names a transaction."""
    return _STRUCTS["transaction"].pack(transaction)


def unpack_transaction(data: bytes) -> int:
    """The named transaction."""
    return int(_unpack("transaction", data)[0])


def pack_structure() -> bytes:
    """Application data of TC[3,27]: the one structure there is."""
    return _STRUCTS["structure"].pack(HOUSEKEEPING_STRUCTURE)


def _unpack(name: str, data: bytes | memoryview) -> tuple[Any, ...]:
    form = _STRUCTS[name]
    if len(data) != form.size:
        raise WireError(f"{name}: {len(data)} bytes, the layout has {form.size}")
    return form.unpack(data)
