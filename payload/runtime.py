"""One frame in, mask and cost out: the payload computer's work, under its budget.

A frame is cut into 512 px tiles; a tile that reaches over the frame's edge is filled by
reflection, and what it says there is cut off again. Each tile is named by the hash of its
content, and a tile already seen is answered from a cache: identical pixels are inferred once.
The cache is a shortcut of the host. The device is charged for every tile, as it would be in
flight.

What the work costs:

time
    `declared`: the device profile's formula, deterministic. `measured`: wall-clock time times
    `time_scale`; a tile from the cache costs what it cost when it was inferred.
energy
    active power times busy time. A power limit below active power is kept by duty cycling: work
    and pauses at idle power alternate so that the mean meets the limit; the frame takes longer,
    the work itself costs the same, the pauses add idle energy. At or below idle power nothing
    can run and the frame is refused.
memory
    the card's peak (measured in a fresh process) plus the frame itself, compared with the limit
    and with the device's memory. Over either the outcome is `out_of_memory`, after the time of
    the first tile. A caged process or a board measures and really dies instead.
"""

from __future__ import annotations

import json
import math
import os
import platform
import subprocess
import sys
import time
import weakref
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from payload.card import ModelCard, ModelError
from payload.card_library import load_card
from payload.device import DeviceProfile
from payload.frame import (
    BANDS,
    NO_DATA,
    TILE_PX,
    Capabilities,
    Frame,
    FrameResult,
    Provenance,
    Status,
    block_cover,
    content_sha256,
    frame_cover,
    valid_pixels,
)
from payload.model import CloudModel, pad_to_multiple

Timing = Literal["declared", "measured"]

OPERATING_POINT = 0.5
"""Probability at and above which a pixel is cloud; models are calibrated for it."""

CACHE_TILES = 1024
"""Tiles remembered, 32 KiB each: one bit per pixel."""

BYTES_PER_MIB = 2**20


class PayloadError(ValueError):
    """The payload cannot be set up as asked."""


@dataclass(frozen=True)
class _SeenTile:
    """What the model said of a tile, one bit per pixel, and how long it took, seconds."""

    cloud_bits: NDArray[np.uint8]
    wall_s: float


@dataclass(frozen=True)
class _SeenFrame:
    """What the model said of a frame's pixels, for as long as somebody holds them."""

    pixels: weakref.ref[NDArray[np.float32]]
    mask: NDArray[np.uint8]
    tile_sha256: tuple[str, ...]


class Payload:
    """A cloud model on a device, within limits.

    Parameters
    ----------
    card : ModelCard
        The model.
    device : DeviceProfile
        The computer whose time, power and memory are charged.
    memory_limit_mib : float, optional
        Memory cap; the device's memory where there is none, or where that is less.
    power_limit_w : float, optional
        Limit of mean power while a frame is processed.
    timing : {"declared", "measured"}
        Whether time comes from the device profile or from the clock.
    threads : int
        Threads of the inference session.
    time_scale : float
        Device seconds per second of this machine, for measured timing: 1 where this machine is
        the device.
    cache_tiles : int
        Tiles remembered; 0 for none.

    Attributes
    ----------
    frames_processed, model_calls : int
        Frames answered with a mask, and tiles really inferred, since the payload was set up.

    Raises
    ------
    ModelError
        The model cannot be opened, or its card lacks a figure that a limit needs.
    DeviceError
        The profile gives no speed for the model's precision.
    PayloadError
        A limit or setting makes no sense.
    """

    def __init__(
        self,
        card: ModelCard,
        device: DeviceProfile,
        *,
        memory_limit_mib: float | None = None,
        power_limit_w: float | None = None,
        timing: Timing = "declared",
        threads: int = 1,
        time_scale: float = 1.0,
        cache_tiles: int = CACHE_TILES,
    ) -> None:
        _require_positive("memory_limit_mib", memory_limit_mib)
        _require_positive("power_limit_w", power_limit_w)
        _require_positive("time_scale", time_scale)
        if timing not in ("declared", "measured"):
            raise PayloadError(f"timing is {timing!r}; valid: declared, measured")
        if memory_limit_mib is not None and card.peak_memory_mib is None:
            raise ModelError(
                f"model {card.name!r}: memory_limit_mib is {memory_limit_mib:g}, but the card "
                f"has no peak_memory_mib to hold against it; measure it with: "
                f"nephoscope models profile {card.name} --record"
            )
        self.card = card
        self.device = device
        self.timing = timing
        self.time_scale = time_scale
        self.memory_limit_mib = min(memory_limit_mib or device.memory_mib, device.memory_mib)
        self.power_limit_w = power_limit_w
        self.frames_processed = 0
        self.model_calls = 0
        self._tile_s = device.tile_s(card, TILE_PX)
        self._model = CloudModel(card, threads=threads)
        self._cache_tiles = cache_tiles
        self._seen: OrderedDict[str, _SeenTile] = OrderedDict()
        self._detected: dict[int, _SeenFrame] = {}

    def process(self, frame: Frame) -> FrameResult:
        """Detect cloud in a frame.

        Returns
        -------
        FrameResult
            With `status` ``ok`` and a mask, or ``out_of_memory`` or ``refused`` and a sentence.
        """
        start_s = time.perf_counter()
        need_mib = self.memory_need_mib(frame)
        duty = self.device.duty_fraction(self.power_limit_w)
        if duty == 0.0:
            return self._without_mask(frame, "refused", need_mib, self._refusal())
        if need_mib > self.memory_limit_mib:
            detail = (
                f"the frame needs {need_mib:.0f} MiB, the limit is {self.memory_limit_mib:.0f} MiB"
            )
            return self._without_mask(frame, "out_of_memory", need_mib, detail)
        calls_before = self.model_calls
        mask, hashes, cached_s = self._detect(frame.reflectance)
        host_s = time.perf_counter() - start_s
        busy_s = self._busy_s(len(hashes), host_s + cached_s)
        latency_s, energy_wh = self._charge(busy_s, duty)
        self.frames_processed += 1
        return FrameResult(
            frame_id=frame.frame_id,
            status="ok",
            mask=mask,
            cover=frame_cover(mask),
            block_cover=block_cover(mask),
            tile_sha256=hashes,
            model=self.card.name,
            model_sha256=self.card.sha256,
            device=self.device.name,
            latency_s=latency_s,
            energy_wh=energy_wh,
            provenance=self._latency_provenance(),
            energy_provenance="modelled",
            peak_memory_mib=need_mib,
            memory_provenance="modelled",
            model_calls=self.model_calls - calls_before,
            host_latency_s=host_s,
        )

    def memory_need_mib(self, frame: Frame) -> float:
        """Memory this frame takes, MiB: the card's peak, the frame's pixels and its mask.

        A card without a peak counts as 0 (allowed only where no limit was set).
        """
        height, width = frame.reflectance.shape[1:]
        buffers = frame.reflectance.nbytes + height * width
        return float((self.card.peak_memory_mib or 0.0) + buffers / BYTES_PER_MIB)

    def capabilities(self, link: str) -> Capabilities:
        """What this payload says of itself over a link of that kind."""
        return Capabilities(
            model=self.card.name,
            model_sha256=self.card.sha256,
            device=self.device.name,
            link=link,
            active_power_w=self.device.active_power_w,
            idle_power_w=self.device.idle_power_w,
            peak_memory_mib=self.card.peak_memory_mib or 0.0,
            versions=versions(),
        )

    def forget(self) -> None:
        """Empty the cache of seen tiles, as a restart does."""
        self._seen.clear()
        self._detected.clear()

    def _detect(
        self, reflectance: NDArray[np.float32]
    ) -> tuple[NDArray[np.uint8], tuple[str, ...], float]:
        """As `_detect_tiles`, done once for pixels that nobody can change.

        Where the clock decides (measured timing) every frame is worked through.
        """
        unchanging = reflectance.flags.owndata and not reflectance.flags.writeable
        if self._cache_tiles == 0 or self.timing == "measured" or not unchanging:
            return self._detect_tiles(reflectance)
        known = self._detected.get(id(reflectance))
        if known is None or known.pixels() is not reflectance:
            mask, hashes, _ = self._detect_tiles(reflectance)
            mask.setflags(write=False)
            gone = partial(self._forget_frame, id(reflectance))
            known = _SeenFrame(weakref.ref(reflectance, gone), mask, hashes)
            self._detected[id(reflectance)] = known
        return known.mask, known.tile_sha256, 0.0

    def _forget_frame(self, key: int, pixels: weakref.ref[NDArray[np.float32]]) -> None:
        """Pixels were freed; their place in memory may soon hold others."""
        if key in self._detected and self._detected[key].pixels is pixels:
            del self._detected[key]

    def _detect_tiles(
        self, reflectance: NDArray[np.float32]
    ) -> tuple[NDArray[np.uint8], tuple[str, ...], float]:
        """Mask of the frame, hash of each tile, and wall time saved by the cache, seconds."""
        mask = np.zeros(reflectance.shape[1:], dtype=np.uint8)
        hashes: list[str] = []
        cached_s = 0.0
        for rows, cols, tile in cut_tiles(reflectance):
            name = content_sha256(tile)
            seen = self._seen.get(name)
            if seen is None:
                seen = self._infer(tile)
                self._remember(name, seen)
            else:
                self._seen.move_to_end(name)
                cached_s += seen.wall_s
            cloud = np.unpackbits(seen.cloud_bits).reshape(tile.shape[1:])
            mask[rows, cols] = cloud[: rows.stop - rows.start, : cols.stop - cols.start]
            hashes.append(name)
        mask[~valid_pixels(reflectance)] = NO_DATA
        return mask, tuple(hashes), cached_s

    def _infer(self, tile: NDArray[np.float32]) -> _SeenTile:
        start_s = time.perf_counter()
        probability = self._model.probability(tile[None])[0]
        self.model_calls += 1
        cloud_bits = np.packbits(probability >= OPERATING_POINT)
        return _SeenTile(cloud_bits, time.perf_counter() - start_s)

    def _remember(self, name: str, seen: _SeenTile) -> None:
        self._seen[name] = seen
        while len(self._seen) > self._cache_tiles:
            self._seen.popitem(last=False)

    def _busy_s(self, tiles: int, wall_s: float) -> float:
        if self.timing == "measured":
            return wall_s * self.time_scale
        return self.device.overhead_s_per_frame + tiles * self._tile_s

    def _latency_provenance(self) -> Provenance:
        if self.timing == "measured":
            return "measured" if self.time_scale == 1.0 else "modelled"
        return self.device.latency_provenance(self.card)

    def _charge(self, busy_s: float, duty: float) -> tuple[float, float]:
        """Latency (s) and energy (Wh) of so much work at a duty cycle."""
        latency_s = busy_s / duty
        pause_wh = self.device.idle_power_w * (latency_s - busy_s) / 3600.0
        return latency_s, self.device.energy_wh(busy_s) + pause_wh

    def _refusal(self) -> str:
        return (
            f"power_limit_w is {self.power_limit_w:g}, not above the {self.device.idle_power_w:g} "
            f"W that device {self.device.name!r} draws when idle; no work fits"
        )

    def _without_mask(
        self, frame: Frame, status: Status, need_mib: float, detail: str
    ) -> FrameResult:
        latency_s = self.device.lost_frame_s(self.card, self.power_limit_w)
        return FrameResult.without_mask(
            frame.frame_id,
            status,
            detail,
            model=self.card.name,
            model_sha256=self.card.sha256,
            device=self.device.name,
            latency_s=latency_s,
            energy_wh=self.device.energy_wh(latency_s, self.power_limit_w),
            peak_memory_mib=need_mib,
        )


def cut_tiles(
    reflectance: NDArray[np.float32],
) -> Iterator[tuple[slice, slice, NDArray[np.float32]]]:
    """Cut (4, H, W) into whole tiles, row by row; the last ones are filled by reflection.

    Yields
    ------
    rows, cols : slice
        Where the tile lies in the frame.
    tile : ndarray of float32, shape (4, 512, 512)
    """
    _, height, width = reflectance.shape
    for row in range(0, height, TILE_PX):
        for col in range(0, width, TILE_PX):
            rows = slice(row, min(row + TILE_PX, height))
            cols = slice(col, min(col + TILE_PX, width))
            yield rows, cols, pad_to_multiple(reflectance[:, rows, cols], TILE_PX)


def versions() -> dict[str, str]:
    """Versions of what a result depends on."""
    return {
        "numpy": np.__version__,
        "onnxruntime": ort.__version__,
        "python": platform.python_version(),
    }


def measure_peak_memory(card_path: str | Path, *, threads: int = 1) -> float:
    """Peak resident memory of a fresh process that sets up a payload and detects one tile, MiB.

    Everything the process needs is in it: Python, NumPy, ONNX Runtime, the model, one tile.

    Parameters
    ----------
    card_path : str or Path
        Name or path of a card; what it says of memory is not used.

    Raises
    ------
    ModelError
        The process failed; its message is passed on.
    """
    package_parent = str(Path(__file__).resolve().parents[1])
    search = os.pathsep.join(filter(None, (package_parent, os.environ.get("PYTHONPATH"))))
    done = subprocess.run(
        [sys.executable, "-m", "payload.runtime", str(card_path), str(threads)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": search},
    )
    if done.returncode != 0:
        message = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
        raise ModelError(f"model {card_path}: measuring its memory failed: {message[-1]}")
    return float(json.loads(done.stdout)["peak_memory_mib"])


def own_peak_memory_mib() -> float:
    """Peak resident memory of this process so far, MiB.

    On Linux the high-water mark of the address space is read; `getrusage` would include what the
    parent held when it forked.
    """
    status = Path("/proc/self/status")
    if status.is_file():
        for line in status.read_text(encoding="ascii", errors="replace").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 1024
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / BYTES_PER_MIB if sys.platform == "darwin" else peak / 1024


def _require_positive(name: str, value: float | None) -> None:
    if value is not None and not 0 < value < math.inf:
        raise PayloadError(f"{name} is {value!r}, expected a finite number above 0")


def _report_peak(card_path: str, threads: int) -> None:
    """Body of the fresh process of `measure_peak_memory`."""
    model = CloudModel(load_card(card_path), threads=threads)
    ramp = np.linspace(0.05, 0.95, len(BANDS) * TILE_PX**2, dtype=np.float32)
    model.probability(ramp.reshape(1, len(BANDS), TILE_PX, TILE_PX))
    print(json.dumps({"peak_memory_mib": own_peak_memory_mib()}))


if __name__ == "__main__":
    _report_peak(sys.argv[1], int(sys.argv[2]))
