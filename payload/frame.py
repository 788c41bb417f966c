"""A frame and what the payload says about it: the two values that cross the payload link.

A :class:`Frame` is one capture as the payload receives it: reflectance and nothing else. Truth
never crosses the link. A :class:`FrameResult` is all that comes back: a mask, cloud cover per
block, and what the work cost in time and energy with the provenance of each figure. Every body
the payload can have (in-process, caged subprocess, TCP or serial board, replay) exchanges
exactly these two values, so the simulator cannot tell the bodies apart.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import Literal, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

BANDS: tuple[str, ...] = ("blue", "green", "red", "nir")
"""Order of the bands of a frame and of every model's input (Sentinel-2 B02 B03 B04 B08)."""

TILE_PX = 512
"""Edge of a tile, the unit of inference."""

BLOCK_PX = 256
"""Edge of a block, the unit of pruning."""

NO_DATA = 255
"""Mask value of a pixel that holds no data."""

COVER_STEP = 0.01
"""Cover is quantised to this step before anything is decided on it (see `quantise_cover`)."""

Provenance = Literal["measured", "modelled", "declared"]
Status = Literal["ok", "out_of_memory", "crashed", "timeout", "refused", "link_lost"]


@dataclass(frozen=True)
class Frame:
    """One capture as the payload sees it.

    Attributes
    ----------
    frame_id : str
        Identifier chosen by the sender, echoed in the result.
    reflectance : ndarray of float32, shape (4, H, W)
        Top-of-atmosphere or surface reflectance, 0..1 and above, in the order of `BANDS`.
        A pixel whose four bands are all 0, or of which one is not finite, holds no data.
    occasion : str
        What was imaged when, in words that every mission over the same scenario shares: it decides
        what befalls the frame. Empty where nobody says; never sent to a payload.
    """

    frame_id: str
    reflectance: NDArray[np.float32]
    occasion: str = ""

    def __post_init__(self) -> None:
        shape = self.reflectance.shape
        if len(shape) != 3 or shape[0] != len(BANDS) or min(shape[1:]) < 1:
            raise ValueError(
                f"frame {self.frame_id!r}: reflectance has shape {shape}, "
                f"expected ({len(BANDS)}, height, width)"
            )

    @property
    def valid(self) -> NDArray[np.bool_]:
        """Pixels that hold data, shape (H, W); see `valid_pixels`."""
        return valid_pixels(self.reflectance)


@dataclass(frozen=True)
class FrameResult:
    """What the payload says about one frame.

    Attributes
    ----------
    frame_id : str
        As in the frame.
    status : str
        ``ok``, or why there is no mask.
    mask : ndarray of uint8, shape (H, W), or None
        1 cloud, 0 clear, 255 no data. None unless `status` is ``ok``.
    cover : float
        Cloud fraction of the valid pixels, quantised to `COVER_STEP`. NaN without a mask.
    block_cover : ndarray of float64, shape (ceil(H/256), ceil(W/256)), or None
        Cloud fraction per block, quantised likewise; 1.0 for a block without valid pixels.
    tile_sha256 : tuple of str
        Content hash of each tile given to the model, row-major.
    model, model_sha256 : str
        Name of the model and hash of its ONNX file.
    device : str
        Name of the device profile the cost figures are for.
    latency_s, energy_wh : float
        Time from start to finish of this frame on the device, and energy used meanwhile.
    provenance : {"measured", "modelled", "declared"}
        Where `latency_s` comes from.
    energy_provenance : {"measured", "modelled", "declared"}
        Where `energy_wh` comes from.
    peak_memory_mib : float
        Largest memory the payload needed for the frame, MiB.
    memory_provenance : {"measured", "modelled", "declared"}
        Where `peak_memory_mib` comes from.
    model_calls : int
        Inferences really run for this frame (tiles already seen are answered from a cache).
    host_latency_s : float
        Wall-clock time on the host; goes to host events, never into a decision.
    detail : str
        One sentence when `status` is not ``ok``.
    """

    frame_id: str
    status: Status
    mask: NDArray[np.uint8] | None
    cover: float
    block_cover: NDArray[np.float64] | None
    tile_sha256: tuple[str, ...]
    model: str
    model_sha256: str
    device: str
    latency_s: float
    energy_wh: float
    provenance: Provenance
    energy_provenance: Provenance
    peak_memory_mib: float
    memory_provenance: Provenance
    model_calls: int = 0
    host_latency_s: float = 0.0
    detail: str = ""

    @classmethod
    def without_mask(
        cls,
        frame_id: str,
        status: Status,
        detail: str,
        *,
        model: str,
        model_sha256: str,
        device: str,
        latency_s: float,
        energy_wh: float,
        provenance: Provenance = "modelled",
        peak_memory_mib: float = 0.0,
        memory_provenance: Provenance = "modelled",
        host_latency_s: float = 0.0,
    ) -> FrameResult:
        """Result of a frame that came to nothing: what it cost all the same, and why."""
        return cls(
            frame_id=frame_id,
            status=status,
            mask=None,
            cover=float("nan"),
            block_cover=None,
            tile_sha256=(),
            model=model,
            model_sha256=model_sha256,
            device=device,
            latency_s=latency_s,
            energy_wh=energy_wh,
            provenance=provenance,
            energy_provenance="modelled",
            peak_memory_mib=peak_memory_mib,
            memory_provenance=memory_provenance,
            host_latency_s=host_latency_s,
            detail=detail,
        )


@dataclass(frozen=True)
class Capabilities:
    """What a payload says of itself in the handshake (`PayloadLink.describe`)."""

    model: str
    model_sha256: str
    device: str
    link: str
    active_power_w: float
    idle_power_w: float
    peak_memory_mib: float
    versions: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Health:
    """Housekeeping of a payload; differs between runs, so it belongs to host events."""

    alive: bool
    rss_mib: float
    frames_processed: int
    restarts: int = 0
    detail: str = ""


@runtime_checkable
class PayloadLink(Protocol):
    """The one interface between the simulator and a payload of any body."""

    def describe(self) -> Capabilities:
        """Say who you are; also the handshake."""

    def process(self, frame: Frame) -> FrameResult:
        """Detect cloud in `frame`. Never raises for what can go wrong on board: see `status`."""

    def health(self) -> Health:
        """Housekeeping."""

    def reset(self) -> None:
        """Restart the payload (watchdog); the cache of seen tiles may be lost."""

    def close(self) -> None:
        """Release processes, sockets and sessions."""


def content_sha256(array: NDArray[np.generic]) -> str:
    """SHA-256 of an array's type, shape and bytes, in hexadecimal."""
    digest = hashlib.sha256(f"{array.dtype.str}{array.shape}".encode())
    digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


def valid_pixels(reflectance: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Pixels (H, W) that hold data: finite in every band and not 0 in all of them.

    Where every value is a positive number the least and the largest say so without a further look
    at the pixels; a NaN is neither above 0 nor below infinity.
    """
    if reflectance.min(initial=np.inf) > 0 and reflectance.max(initial=-np.inf) < np.inf:
        return np.ones(reflectance.shape[1:], dtype=np.bool_)
    return np.asarray(np.isfinite(reflectance).all(axis=0) & (reflectance != 0).any(axis=0))


def quantise_cover(cover: float) -> float:
    """Round a cloud fraction to `COVER_STEP`.

    ONNX Runtime promises no bit equality between processors; deciding on quantised cover keeps
    decisions the same where probabilities differ in the last bits.
    """
    return round(round(cover / COVER_STEP) * COVER_STEP, 2)


def block_cover(mask: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Cloud fraction of the valid pixels in each block of a mask, quantised.

    Parameters
    ----------
    mask : ndarray of uint8, shape (H, W)
        0 clear, 255 no data, anything else cloud.

    Returns
    -------
    ndarray of float64, shape (ceil(H/256), ceil(W/256))
        A block without valid pixels counts as 1.0: there is nothing in it worth a downlink.
    """
    rows, cols = (-(-n // BLOCK_PX) for n in mask.shape)
    cover = np.ones((rows, cols), dtype=np.float64)
    for row in range(rows):
        for col in range(cols):
            block = mask[
                row * BLOCK_PX : (row + 1) * BLOCK_PX, col * BLOCK_PX : (col + 1) * BLOCK_PX
            ]
            valid = block != NO_DATA
            if valid.any():
                cover[row, col] = quantise_cover(float((block[valid] != 0).mean()))
    return cover


def frame_cover(mask: NDArray[np.uint8]) -> float:
    """Cloud fraction of the valid pixels of a mask, quantised; 1.0 when none is valid."""
    valid = mask != NO_DATA
    return quantise_cover(float((mask[valid] != 0).mean())) if valid.any() else 1.0
