"""How many bytes the pixels of a capture really cost.

Blocks are compressed without loss as JPEG 2000 code streams of their own (GDAL's JP2OpenJPEG driver
through rasterio), so that dropping one costs the others nothing: clouds, bright and smooth or torn,
cost what they cost. A frame's digital numbers are its reflectance on the imager's linear scale. A
mask is a bilevel PNG; a thumbnail is a small JPEG for people.
"""

from __future__ import annotations

import io
import warnings

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from rasterio.errors import NotGeoreferencedWarning
from rasterio.io import MemoryFile

from payload.frame import BLOCK_PX

FULL_SCALE_REFLECTANCE = 1.6
"""Reflectance of the largest digital number: above the brightest cloud under a low view."""

_CODED_BYTES: dict[tuple[str, int, int], int] = {}
"""By frame, block and bit depth: pixels of a hash never change, so each block is compressed once in
a process, over all its missions."""

_LOSSLESS = {
    "driver": "JP2OpenJPEG",
    "codec": "J2K",
    "reversible": "YES",
    "quality": "100",
}

THUMBNAIL_QUALITY = 75
_RED_GREEN_BLUE = (2, 1, 0)
_DISPLAY_REFLECTANCE = 0.6


def digital_numbers(reflectance: NDArray[np.float32], bit_depth: int) -> NDArray[np.uint16]:
    """Reflectance as the imager stores it: unsigned integers of `bit_depth` bits, clipped."""
    top = 2**bit_depth - 1
    scaled = np.rint(reflectance * np.float32(top / FULL_SCALE_REFLECTANCE))
    return np.asarray(np.clip(scaled, 0, top), dtype=np.uint16)


def lossless_bytes(numbers: NDArray[np.uint16], bit_depth: int) -> int:
    """Size of one JPEG 2000 code stream that holds all bands without loss.

    Parameters
    ----------
    numbers : ndarray of uint16, shape (bands, h, w)
    bit_depth : int
        Bits of a sample, 1..16.
    """
    return len(code_stream(numbers, bit_depth))


def code_stream(numbers: NDArray[np.uint16], bit_depth: int) -> bytes:
    """The JPEG 2000 code stream itself; `rasterio` reads it back to the same numbers."""
    bands, height, width = numbers.shape
    sample = "uint8" if bit_depth <= 8 else "uint16"
    profile = _LOSSLESS | {"count": bands, "height": height, "width": width, "dtype": sample}
    with MemoryFile(ext=".j2k") as memory:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", NotGeoreferencedWarning)
            with memory.open(**profile, nbits=str(bit_depth)) as image:
                image.write(numbers.astype(sample))
        return bytes(memory.read())


class BlockSizes:
    """Sizes of the blocks of one imager's frames, each worked out once.

    Parameters
    ----------
    bands, bit_depth : int
        Of the imager; what bands it has beyond the four of the frame are taken to cost as much as
        these do.
    """

    def __init__(self, bands: int, bit_depth: int) -> None:
        self._bands, self._bit_depth = bands, bit_depth

    def stored_bytes(
        self, reflectance: NDArray[np.float32], frame_sha256: str, blocks: tuple[int, ...]
    ) -> tuple[int, ...]:
        """Bytes of each named block; one that does not compress is stored as it is.

        Parameters
        ----------
        reflectance : ndarray of float32, shape (4, H, W)
        frame_sha256 : str
            Names these pixels.
        blocks : tuple of int
            Row-major indices.
        """
        columns = -(-reflectance.shape[2] // BLOCK_PX)
        sizes = []
        for block in blocks:
            top, left = (BLOCK_PX * place for place in divmod(block, columns))
            part = reflectance[:, top : top + BLOCK_PX, left : left + BLOCK_PX]
            coded = self._coded_bytes(part, (frame_sha256, block, self._bit_depth))
            whole = -(-coded * self._bands // len(part))
            raw = -(-part[0].size * self._bands * self._bit_depth // 8)
            sizes.append(min(whole, raw))
        return tuple(sizes)

    def _coded_bytes(self, part: NDArray[np.float32], key: tuple[str, int, int]) -> int:
        if key not in _CODED_BYTES:
            numbers = digital_numbers(part, self._bit_depth)
            _CODED_BYTES[key] = lossless_bytes(numbers, self._bit_depth)
        return _CODED_BYTES[key]


def mask_bytes(mask: NDArray[np.uint8]) -> int:
    """Size of a cloud mask as a bilevel PNG; pixels without data count as clear."""
    picture = Image.fromarray(mask == 1)
    return _encoded_bytes(picture, format="PNG", optimize=True)


def thumbnail_bytes(reflectance: NDArray[np.float32], edge_px: int) -> int:
    """Size of a true-colour JPEG of the frame whose longest edge is at most `edge_px`."""
    step = thumbnail_step(reflectance.shape[1:], edge_px)
    visible = reflectance[list(_RED_GREEN_BLUE), ::step, ::step] / _DISPLAY_REFLECTANCE
    picture = np.moveaxis(np.rint(np.clip(visible, 0, 1) * 255), 0, -1).astype(np.uint8)
    return _encoded_bytes(Image.fromarray(picture), format="JPEG", quality=THUMBNAIL_QUALITY)


def thumbnail_step(shape: tuple[int, ...], edge_px: int) -> int:
    """Every how many pixels of a frame a thumbnail shows one."""
    return -(-max(shape) // edge_px)


def _encoded_bytes(picture: Image.Image, **options: str | int | bool) -> int:
    file = io.BytesIO()
    picture.save(file, **options)  # type: ignore[arg-type]
    return file.tell()
