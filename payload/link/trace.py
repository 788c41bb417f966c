"""A trace: everything a live payload was asked and answered, kept so that it can be replayed.

A trace is a folder::

    trace.jsonl        first line: format, capabilities, timing; then one line per frame
    masks/<sha256>.npz one file per distinct mask, compressed

A request is named by the hash of its frame (identifier and pixels); the pixels themselves are not
kept. A reply is kept whole, floats as Python writes them, which reads back to the same bits.
Nothing in a trace is ever executed: JSON, and NumPy files read with pickles refused.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import weakref
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from payload.frame import Capabilities, Frame, FrameResult, Health, PayloadLink, content_sha256
from payload.link.messages import result_from_record, result_record
from payload.link.settings import LinkError
from payload.link.wire import WireError

TRACE_FORMAT = 1
TRACE_FILE = "trace.jsonl"
REMEDY = "copy the trace anew, or record the mission again"


class TraceError(LinkError):
    """A trace cannot be used: missing, damaged, or of another mission."""


@dataclass(frozen=True)
class TraceHeader:
    """What a trace says of itself."""

    capabilities: Capabilities
    timing: str


@dataclass(frozen=True)
class TraceReply:
    """One recorded frame: name of the request, and the reply without its mask."""

    request: str
    record: dict[str, Any]
    mask: str
    block_cover: list[list[float]] | None


class ContentNames:
    """Hashes of arrays, computed once for those that nobody can change, while they live.

    A mission looks at one scene many times; hashing its 16 MB of pixels at every look would cost
    more than the rest of a trace.
    """

    def __init__(self) -> None:
        self._known: dict[int, tuple[weakref.ref[NDArray[Any]], str]] = {}

    def name(self, array: NDArray[Any]) -> str:
        """`payload.frame.content_sha256` of the array."""
        if array.flags.writeable or not array.flags.owndata:
            return content_sha256(np.ascontiguousarray(array))
        reference, name = self._known.get(id(array), (None, ""))
        if reference is None or reference() is not array:
            name = content_sha256(np.ascontiguousarray(array))
            self._known[id(array)] = weakref.ref(array, self._forget), name
        return name

    def request(self, frame: Frame) -> str:
        """Name of the request to process a frame: hash of its identifier and pixels."""
        pixels = self.name(frame.reflectance)
        return hashlib.sha256(f"{frame.frame_id}\x1f{pixels}".encode()).hexdigest()

    def _forget(self, freed: weakref.ref[NDArray[Any]]) -> None:
        """An array was freed; its place in memory may soon hold another."""
        for key, (reference, _) in list(self._known.items()):
            if reference is freed:
                del self._known[key]


class RecordingLink:
    """A live payload whose every reply is also written to a trace.

    Parameters
    ----------
    link : PayloadLink
        The live payload.
    folder : Path
        Where to write; made if missing. A trace that lies there already is overwritten.
    timing : str
        As in the settings; a replay under another timing is refused.
    """

    def __init__(self, link: PayloadLink, folder: Path, timing: str) -> None:
        self.live = link
        self._names = ContentNames()
        self._masks = folder / "masks"
        self._masks.mkdir(parents=True, exist_ok=True)
        self._file = (folder / TRACE_FILE).open("w", encoding="utf-8")
        header = {
            "format": TRACE_FORMAT,
            "capabilities": dataclasses.asdict(link.describe()),
            "timing": timing,
        }
        self._write(header)

    def describe(self) -> Capabilities:
        """What the live payload says of itself."""
        return self.live.describe()

    def process(self, frame: Frame) -> FrameResult:
        """Have the live payload process the frame, and record its reply."""
        result = self.live.process(frame)
        self._write(
            {
                "request": self._names.request(frame),
                "result": result_record(result),
                "mask": self._keep_mask(result.mask),
                "block_cover": None if result.block_cover is None else result.block_cover.tolist(),
            }
        )
        return result

    def health(self) -> Health:
        """Health of the live payload."""
        return self.live.health()

    def reset(self) -> None:
        """Restart the live payload."""
        self.live.reset()

    def close(self) -> None:
        """Close the trace and the live payload."""
        self._file.close()
        self.live.close()

    def _keep_mask(self, mask: NDArray[np.uint8] | None) -> str:
        if mask is None:
            return ""
        name = self._names.name(mask)
        path = self._masks / f"{name}.npz"
        if not path.exists():
            np.savez_compressed(path, mask=mask)
        return name

    def _write(self, record: dict[str, Any]) -> None:
        self._file.write(json.dumps(record, sort_keys=True, separators=(",", ":")) + "\n")
        self._file.flush()


def read_header(folder: Path) -> TraceHeader:
    """The first line of a trace.

    Raises
    ------
    TraceError
        If there is no trace, or it is of another format.
    """
    try:
        with (folder / TRACE_FILE).open("rb") as file:
            record = json.loads(file.readline())
        if record["format"] != TRACE_FORMAT:
            raise TraceError(f"trace {folder}: format {record['format']}, expected {TRACE_FORMAT}")
        return TraceHeader(Capabilities(**record["capabilities"]), str(record["timing"]))
    except OSError as error:
        raise TraceError(
            f"trace {folder}: {error.strerror}; name the trace folder of a run"
        ) from error
    except (ValueError, KeyError, TypeError) as error:
        if isinstance(error, TraceError):
            raise
        raise TraceError(f"{folder / TRACE_FILE}: line 1 is damaged ({error}); {REMEDY}") from error


def read_replies(folder: Path) -> Iterator[TraceReply]:
    """The recorded replies, in order. A last line cut short by an interruption is left out.

    Raises
    ------
    TraceError
        If any other line is damaged.
    """
    # Read as octets: where they are no UTF-8 any more, it is the line's damage, not the file's.
    lines = (folder / TRACE_FILE).read_bytes().split(b"\n")
    for number, line in enumerate(lines[1:-1], start=2):
        try:
            record = json.loads(line)
            yield TraceReply(
                record["request"], record["result"], record["mask"], record["block_cover"]
            )
        except (ValueError, KeyError, TypeError) as error:
            raise TraceError(
                f"{folder / TRACE_FILE}: line {number} is damaged ({error}); {REMEDY}"
            ) from error


def read_result(folder: Path, reply: TraceReply) -> FrameResult:
    """A recorded reply, whole.

    Raises
    ------
    TraceError
        If the reply is damaged, or its mask missing, damaged or not the one recorded.
    """
    mask = _read_mask(folder / "masks" / f"{reply.mask}.npz", reply.mask) if reply.mask else None
    try:
        blocks = reply.block_cover
        block_cover = None if blocks is None else np.asarray(blocks, dtype=np.float64)
        return result_from_record(reply.record, mask, block_cover)
    except (ValueError, TypeError, WireError) as error:
        raise TraceError(
            f"{folder / TRACE_FILE}: the reply to request {reply.request} is damaged ({error}); "
            f"{REMEDY}"
        ) from error


def _read_mask(path: Path, name: str) -> NDArray[np.uint8]:
    try:
        with np.load(path, allow_pickle=False) as arrays:
            mask: NDArray[np.uint8] = arrays["mask"]
    except Exception as error:
        # What a damaged archive makes zipfile, zlib and NumPy raise has no end and no common type.
        raise TraceError(f"{path}: the mask cannot be read ({error}); {REMEDY}") from error
    if content_sha256(mask) != name:
        raise TraceError(f"{path}: the mask was changed since it was recorded; {REMEDY}")
    return mask
