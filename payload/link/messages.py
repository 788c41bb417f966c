"""The two large messages, byte for byte: a frame on its way up, its result on its way down.

What the payload sees must be bit-identical to what an in-process payload sees, so a frame is
either sent as float32, or, on a slow line, as 16-bit counts where dividing the counts by 10000
gives back exactly the same float32. Nothing is ever rounded to fit. A result is canonical JSON
for its scalars (Python writes a float so that reading it gives the same bits) followed by the
arrays. Reading either is bounded by what the message says of itself and never runs code.
"""

from __future__ import annotations

import dataclasses
import enum
import json
import math
import struct
import sys
import zlib
from typing import Any, cast, get_args

import numpy as np
from numpy.typing import NDArray

from payload.frame import BANDS, Frame, FrameResult, Provenance, Status
from payload.link.wire import WireError

COUNTS_PER_UNIT = np.float32(10000)
"""Counts per unit of reflectance of the 16-bit coding, as Sentinel-2 products have it."""

MAX_EDGE_PX = 16384
MAX_FRAME_ID_BYTES = 256
MAX_TEXT_BYTES = 4 << 20
"""Longest JSON part of a result: room for the hashes of 60 thousand tiles."""

MAX_BODY_BYTES = 512 << 20
"""Most memory the arrays of one message may take, however small they were deflated."""

_FRAME_HEAD = struct.Struct(">BHHH")
_RESULT_HEAD = struct.Struct(">BIHHHH")


class Coding(enum.IntFlag):
    """How the arrays of a message are written."""

    PLAIN = 0
    COUNTS = 1
    DEFLATED = 2


def encode_frame(frame: Frame, compact: bool) -> list[bytes | memoryview]:
    """A frame as message pieces.

    Parameters
    ----------
    frame : Frame
    compact : bool
        Spend time to save octets: 16-bit counts where they are exact, and deflate.
    """
    identifier = frame.frame_id.encode()
    if len(identifier) > MAX_FRAME_ID_BYTES:
        raise ValueError(
            f"frame_id: {len(identifier)} bytes, the link carries at most {MAX_FRAME_ID_BYTES}; "
            "shorten the identifier"
        )
    _, height, width = frame.reflectance.shape
    if max(height, width) > MAX_EDGE_PX:
        raise ValueError(
            f"frame {frame.frame_id!r}: {height} x {width} px, the link carries at most "
            f"{MAX_EDGE_PX} px a side; use a smaller frame"
        )
    pixels = np.ascontiguousarray(frame.reflectance, dtype="<f4")
    coding = Coding.PLAIN
    body: bytes | memoryview = pixels.data.cast("B")
    if compact:
        counts = _exact_counts(pixels)
        if counts is not None:
            coding |= Coding.COUNTS
            body = counts.data.cast("B")
        coding |= Coding.DEFLATED
        body = zlib.compress(body, level=1)
    return [_FRAME_HEAD.pack(coding, height, width, len(identifier)) + identifier, body]


def decode_frame(data: bytes | bytearray, max_bytes: int = MAX_BODY_BYTES) -> Frame:
    """A frame from its message.

    Raises
    ------
    WireError
        If the message contradicts itself, or its pixels take more than `max_bytes`.
    """
    coding, height, width, id_bytes = _head(_FRAME_HEAD, data)
    if not 0 < height <= MAX_EDGE_PX or not 0 < width <= MAX_EDGE_PX:
        raise WireError(f"frame of {height} x {width} px")
    start = _FRAME_HEAD.size + id_bytes
    identifier = _text(memoryview(data)[_FRAME_HEAD.size : start])
    size = len(BANDS) * height * width
    if size * np.dtype(np.float32).itemsize > max_bytes:
        raise WireError(f"frame of {height} x {width} px, {max_bytes} bytes are allowed")
    dtype = "<u2" if coding & Coding.COUNTS else "<f4"
    body = _inflate(memoryview(data)[start:], coding, size * np.dtype(dtype).itemsize)
    pixels = np.frombuffer(body, dtype=dtype).reshape(len(BANDS), height, width)
    if coding & Coding.COUNTS:
        pixels = pixels.astype(np.float32) / COUNTS_PER_UNIT
    return Frame(identifier, pixels.astype(np.float32, copy=False))


def _exact_counts(pixels: NDArray[np.float32]) -> NDArray[np.uint16] | None:
    with np.errstate(over="ignore"):  # What overflows is no count, and is found out below.
        scaled = pixels * COUNTS_PER_UNIT
    if not (np.isfinite(scaled).all() and scaled.min() >= 0 and scaled.max() <= 65535):
        return None
    counts: NDArray[np.uint16] = np.rint(scaled).astype("<u2")
    back = counts.astype(np.float32) / COUNTS_PER_UNIT
    # Compared as bits: -0.0 equals 0.0 but is another input.
    same = np.array_equal(back.view(np.uint32), pixels.view(np.uint32))
    return counts if same else None


def result_record(result: FrameResult) -> dict[str, Any]:
    """The scalars of a result as a JSON-ready mapping; arrays are left out."""
    record = {
        field.name: getattr(result, field.name)
        for field in dataclasses.fields(result)
        if field.name not in ("mask", "block_cover")
    }
    record["tile_sha256"] = list(result.tile_sha256)
    return record


def result_from_record(
    record: dict[str, Any],
    mask: NDArray[np.uint8] | None,
    block_cover: NDArray[np.float64] | None,
) -> FrameResult:
    """A result from its scalars and arrays.

    Raises
    ------
    WireError
        If a field is missing, unknown, of the wrong type or a number out of its range.
    """
    names = {field.name for field in dataclasses.fields(FrameResult)} - {"mask", "block_cover"}
    if set(record) != names:
        raise WireError(f"a result needs the fields {sorted(names)}, got {sorted(record)}")
    for name in names - {"tile_sha256"}:
        expected = _scalar_types(name)
        if not isinstance(record[name], expected) or isinstance(record[name], bool):
            raise WireError(f"result field {name} is {record[name]!r}")
        if str not in expected and not _is_plausible(name, record):
            raise WireError(f"result field {name} is out of its range")
    if record["status"] not in get_args(Status):
        raise WireError(f"result field status is {record['status']!r}")
    for name in ("provenance", "energy_provenance", "memory_provenance"):
        if record[name] not in get_args(Provenance):
            raise WireError(f"result field {name} is {record[name]!r}")
    tiles = record["tile_sha256"]
    if not isinstance(tiles, list) or not all(isinstance(tile, str) for tile in tiles):
        raise WireError("result field tile_sha256 is not a list of hashes")
    return FrameResult(
        **{**record, "tile_sha256": tuple(tiles)}, mask=mask, block_cover=block_cover
    )


def _scalar_types(name: str) -> tuple[type, ...]:
    if name == "model_calls":
        return (int,)
    if name == "cover" or name.endswith(("_s", "_wh", "_mib")):
        return (float, int)
    return (str,)


def _is_plausible(name: str, record: dict[str, Any]) -> bool:
    """Whether a number can be one: time, energy and memory are finite and not below 0."""
    if name != "cover":
        return bool(0 <= record[name] <= sys.float_info.max)
    return bool(0 <= record[name] <= 1) or (record["status"] != "ok" and math.isnan(record[name]))


def encode_result(result: FrameResult, compact: bool) -> list[bytes | memoryview]:
    """A result as message pieces."""
    text = json.dumps(result_record(result), sort_keys=True, separators=(",", ":")).encode()
    mask, blocks = result.mask, result.block_cover
    mask_shape = mask.shape if mask is not None else (0, 0)
    block_shape = blocks.shape if blocks is not None else (0, 0)
    body = b"" if mask is None else np.ascontiguousarray(mask, dtype=np.uint8).tobytes()
    if blocks is not None:
        body += np.ascontiguousarray(blocks, dtype="<f8").tobytes()
    coding = Coding.DEFLATED if compact else Coding.PLAIN
    if compact:
        body = zlib.compress(body, level=1)
    return [_RESULT_HEAD.pack(coding, len(text), *mask_shape, *block_shape) + text, body]


def decode_result(data: bytes | bytearray) -> FrameResult:
    """A result from its message.

    Raises
    ------
    WireError
        If the message contradicts itself.
    """
    coding, text_bytes, rows, cols, block_rows, block_cols = _head(_RESULT_HEAD, data)
    if text_bytes > MAX_TEXT_BYTES or max(rows, cols, block_rows, block_cols) > MAX_EDGE_PX:
        raise WireError("a result larger than any frame could have")
    start = _RESULT_HEAD.size + text_bytes
    try:
        record = json.loads(_text(memoryview(data)[_RESULT_HEAD.size : start]))
    except (ValueError, RecursionError) as error:  # a ValueError of a number with 5000 digits, too
        raise WireError(f"result text is not JSON: {error}") from error
    if not isinstance(record, dict):
        raise WireError("result text is not a JSON object")
    mask_bytes = rows * cols
    block_bytes = block_rows * block_cols * 8
    if mask_bytes + block_bytes > MAX_BODY_BYTES:
        raise WireError(f"result of {rows} x {cols} px, {block_rows} x {block_cols} blocks")
    body = _inflate(memoryview(data)[start:], coding, mask_bytes + block_bytes)
    mask = np.frombuffer(body, np.uint8, mask_bytes).reshape(rows, cols) if mask_bytes else None
    blocks = None
    if block_bytes:
        blocks = np.frombuffer(body, "<f8", block_rows * block_cols, mask_bytes)
        blocks = blocks.astype(np.float64).reshape(block_rows, block_cols)
    result = result_from_record(record, mask, blocks)
    if (result.status == "ok") != (mask is not None):
        raise WireError("a result has a mask if, and only if, its status is ok")
    return result


def _head(layout: struct.Struct, data: bytes | bytearray) -> tuple[int, ...]:
    if len(data) < layout.size:
        raise WireError(f"a message of {len(data)} bytes is shorter than its head")
    return cast(tuple[int, ...], layout.unpack_from(data))


def _text(data: memoryview) -> str:
    try:
        return bytes(data).decode()
    except UnicodeDecodeError as error:
        raise WireError(f"text is not UTF-8: {error}") from error


def _inflate(data: memoryview, coding: int, expected_bytes: int) -> bytes | memoryview:
    """The body, `expected_bytes` long; a deflated body is never inflated beyond that."""
    if coding > int(Coding.COUNTS | Coding.DEFLATED):
        raise WireError(f"coding {coding} is unknown")
    body: bytes | memoryview = data
    if coding & Coding.DEFLATED:
        inflater = zlib.decompressobj()
        try:
            body = inflater.decompress(data, expected_bytes + 1)
        except zlib.error as error:
            raise WireError(f"deflated body is damaged: {error}") from error
    if len(body) != expected_bytes:
        raise WireError(f"body has {len(body)} bytes where {expected_bytes} are announced")
    return body
