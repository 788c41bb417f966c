"""Faults in the box: what goes wrong on board, when, and how it is made to happen.

Two things are kept apart. *When* is a pure function of the scenario's seed: every draw is keyed
by (seed, purpose, satellite, occasion) through a hash, the occasion of a frame being what was
imaged when, so that two runs, two policies and two bodies of the payload suffer the same faults.
*How* is real where the body is real: the flipped bit is in the bytes that are computed with, the
crash kills the process.

Single-event upsets are a Poisson process: a rate per bit and day, times the bits exposed, times
the time, times a factor inside the South Atlantic Anomaly.
"""

from __future__ import annotations

import enum
import hashlib
import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from payload.frame import Frame

SECONDS_PER_DAY = 86400.0

SAA_LATITUDE_DEG = (-50.0, 0.0)
SAA_LONGITUDE_DEG = (-90.0, 40.0)
"""A box around the South Atlantic Anomaly at low altitude. Coarse by intent: what matters here is
that upsets come in bunches, once or twice an hour, over one region. From memory, unverified."""


class BoxFault(enum.IntEnum):
    """Faults that can be injected into a box; the amount's meaning stands behind each."""

    HANG = 1  # seconds
    CRASH = 2  # no amount
    SLOW_DOWN = 3  # factor on time, above 1
    FLIP_WEIGHTS = 4  # bits
    FLIP_INPUT = 5  # bits


class FaultPlanError(ValueError):
    """A fault plan that makes no sense."""


@dataclass(frozen=True)
class FrameFaults:
    """What befalls one frame.

    Attributes
    ----------
    weight_bits, input_bits : int
        Bits flipped in the model's weights since the last frame, and in this frame's pixels.
    hang, crash, link_loss : bool
        The payload hangs until its watchdog; dies; the line is cut in mid-frame.
    slow_down : float
        Factor on latency, 1 for none.
    seed : int
        Chooses which bits are flipped.
    """

    weight_bits: int = 0
    input_bits: int = 0
    hang: bool = False
    crash: bool = False
    link_loss: bool = False
    slow_down: float = 1.0
    seed: int = 0

    @property
    def any(self) -> bool:
        """Whether anything befalls the frame."""
        return self != FrameFaults(seed=self.seed)


@dataclass(frozen=True)
class FaultPlan:
    """How often what goes wrong.

    Attributes
    ----------
    seed : int
    upsets_per_bit_day : float
        Upset rate of the memory that holds weights and frames, outside the anomaly.
    saa_factor : float
        The rate inside the South Atlantic Anomaly is this many times higher.
    hang_per_frame, crash_per_frame, link_loss_per_frame, slow_down_per_frame : float
        Probability per frame.
    slow_down_factor : float
        Factor on latency when slowed down.
    reboot_s : float
        Time the payload is away after a crash or a hang.
    hang_s : float
        Time until the watchdog notices a hang.
    """

    seed: int = 0
    upsets_per_bit_day: float = 0.0
    saa_factor: float = 1.0
    hang_per_frame: float = 0.0
    crash_per_frame: float = 0.0
    link_loss_per_frame: float = 0.0
    slow_down_per_frame: float = 0.0
    slow_down_factor: float = 3.0
    reboot_s: float = 30.0
    hang_s: float = 60.0

    def __post_init__(self) -> None:
        for name in (
            "hang_per_frame",
            "crash_per_frame",
            "link_loss_per_frame",
            "slow_down_per_frame",
        ):
            value = getattr(self, name)
            if not 0 <= value <= 1:
                raise FaultPlanError(f"faults.{name} is {value!r}, expected a probability 0..1")
        for name in ("upsets_per_bit_day", "reboot_s", "hang_s"):
            value = getattr(self, name)
            if not (value >= 0 and math.isfinite(value)):
                raise FaultPlanError(f"faults.{name} is {value!r}, expected 0 or more")
        for name in ("saa_factor", "slow_down_factor"):
            value = getattr(self, name)
            if not (value >= 1 and math.isfinite(value)):
                raise FaultPlanError(f"faults.{name} is {value!r}, expected 1 or more")

    def for_frame(
        self, satellite: str, occasion: str, *, exposure: Exposure, weight_bytes: int
    ) -> FrameFaults:
        """What befalls one frame: a pure function of the plan and the arguments.

        Parameters
        ----------
        satellite, occasion : str
            Key of the draws: one capture has the same in every mission that takes it.
        exposure : Exposure
            How long, and where, weights and frame lay in memory.
        weight_bytes : int
            Size of the model.
        """
        key = (self.seed, satellite, occasion)
        rate = self.upsets_per_bit_day / SECONDS_PER_DAY
        weighted_s = exposure.quiet_s + self.saa_factor * exposure.anomaly_s
        frame_s = exposure.frame_s * (self.saa_factor if exposure.frame_in_anomaly else 1.0)
        return FrameFaults(
            weight_bits=_poisson(rate * weight_bytes * 8 * weighted_s, "weights", *key),
            input_bits=_poisson(rate * exposure.frame_bytes * 8 * frame_s, "input", *key),
            hang=keyed_uniform("hang", *key) < self.hang_per_frame,
            crash=keyed_uniform("crash", *key) < self.crash_per_frame,
            link_loss=keyed_uniform("link_loss", *key) < self.link_loss_per_frame,
            slow_down=(
                self.slow_down_factor
                if keyed_uniform("slow_down", *key) < self.slow_down_per_frame
                else 1.0
            ),
            seed=keyed_seed("bits", *key),
        )


@dataclass(frozen=True)
class Exposure:
    """How long what lay in memory.

    Attributes
    ----------
    quiet_s, anomaly_s : float
        Time since the last frame that the weights spent outside and inside the anomaly.
    frame_s : float
        Time the frame waited in memory before it was processed.
    frame_in_anomaly : bool
        Whether it did so inside the anomaly.
    frame_bytes : int
        Size of the frame in memory.
    """

    quiet_s: float
    anomaly_s: float = 0.0
    frame_s: float = 0.0
    frame_in_anomaly: bool = False
    frame_bytes: int = 0


def in_south_atlantic_anomaly(latitude_deg: float, longitude_deg: float) -> bool:
    """Whether a sub-satellite point lies in the anomaly's box."""
    longitude_deg = (longitude_deg + 180.0) % 360.0 - 180.0
    return (
        SAA_LATITUDE_DEG[0] <= latitude_deg <= SAA_LATITUDE_DEG[1]
        and SAA_LONGITUDE_DEG[0] <= longitude_deg <= SAA_LONGITUDE_DEG[1]
    )


def keyed_seed(purpose: str, *key: object) -> int:
    """64 random bits that depend on nothing but the key."""
    text = "\x1f".join(str(part) for part in (purpose, *key))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")


def keyed_uniform(purpose: str, *key: object) -> float:
    """A uniform draw in [0, 1) that depends on nothing but the key."""
    return (keyed_seed(purpose, *key) >> 11) / float(1 << 53)


def _poisson(mean: float, purpose: str, *key: object) -> int:
    if mean <= 0:
        return 0
    return int(np.random.Generator(np.random.PCG64(keyed_seed(purpose, *key))).poisson(mean))


def _bit_positions(total_bits: int, bits: int, seed: int) -> NDArray[np.int64]:
    generator = np.random.Generator(np.random.PCG64(seed))
    return generator.integers(0, total_bits, size=bits, dtype=np.int64)


def flip_frame_bits(frame: Frame, bits: int, seed: int) -> Frame:
    """The frame with so many bits of its float32 reflectance flipped."""
    pixels = np.array(frame.reflectance, dtype=np.float32, order="C")
    octets = pixels.reshape(-1).view(np.uint8)
    for position in _bit_positions(octets.size * 8, bits, seed):
        octets[position // 8] ^= np.uint8(1 << int(position % 8))
    return Frame(frame.frame_id, pixels)


def flip_weight_bits(model: bytes, bits: int, seed: int) -> bytes:
    """An ONNX model with so many weight bits flipped.

    Raises
    ------
    FaultPlanError
        If the file holds no weights.
    """
    ranges = list(weight_ranges(model))
    total_bytes = sum(end - start for start, end in ranges)
    if not total_bytes:
        raise FaultPlanError("the model file holds no weights to flip bits in")
    flipped = bytearray(model)
    for position in _bit_positions(total_bytes * 8, bits, seed):
        offset = int(position) // 8
        for start, end in ranges:
            if offset < end - start:
                flipped[start + offset] ^= 1 << (int(position) % 8)
                break
            offset -= end - start
    return bytes(flipped)


_MODEL_GRAPH, _GRAPH_INITIALIZER, _TENSOR_RAW_DATA, _TENSOR_FLOAT_DATA = 7, 5, 9, 4
_TENSOR_EXTERNAL_DATA = 13


def weight_ranges(model: bytes) -> Iterator[tuple[int, int]]:
    """Where the weights lie in an ONNX file: start and end of each initialiser's data.

    An ONNX file is a protocol buffer (onnx.proto: ModelProto.graph = 7, GraphProto.initializer =
    5, TensorProto.raw_data = 9, float_data = 4). A board has no ONNX library, and three nested
    fields need none.
    """
    for tensor in _initializers(model):
        yield from _fields(model, *tensor, {_TENSOR_RAW_DATA, _TENSOR_FLOAT_DATA})


def has_weights_outside(model: bytes) -> bool:
    """Whether an initialiser's data lies in another file (TensorProto.external_data = 13).

    By default ONNX writes small weights into the model and large ones beside it, so that a file
    with weights inside is not yet one with all of them.
    """
    return any(
        any(_fields(model, *tensor, {_TENSOR_EXTERNAL_DATA})) for tensor in _initializers(model)
    )


def _initializers(model: bytes) -> Iterator[tuple[int, int]]:
    """Start and end of each initialiser in an ONNX file."""
    for graph in _fields(model, 0, len(model), {_MODEL_GRAPH}):
        yield from _fields(model, *graph, {_GRAPH_INITIALIZER})


def _fields(data: bytes, start: int, end: int, wanted: set[int]) -> Iterator[tuple[int, int]]:
    """Extents of the length-delimited fields with a wanted number in one message."""
    position = start
    while position < end:
        tag, position = _varint(data, position)
        kind = tag & 7
        if kind == 0:
            _, position = _varint(data, position)
        elif kind in (1, 5):
            position += 8 if kind == 1 else 4
        elif kind == 2:
            length, position = _varint(data, position)
            if tag >> 3 in wanted and length:
                yield position, min(position + length, end)
            position += length
        else:
            raise FaultPlanError(f"not an ONNX file: wire type {kind} at byte {position}")


def _varint(data: bytes, position: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        if position >= len(data) or shift > 63:
            raise FaultPlanError("not an ONNX file: it ends within a number")
        octet = data[position]
        value |= (octet & 0x7F) << shift
        position += 1
        shift += 7
        if not octet & 0x80:
            return value, position
