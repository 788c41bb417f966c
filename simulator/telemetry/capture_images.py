"""The pictures of a run: what was seen, what was true and what the payload made of it.

Images are named by the hash of their content, so captures that show the same scene share files.
Truth and mask are kept pixel for pixel as palette PNGs whose indices are the classes, because
metrics and audit count pixels from them; the true-colour picture is for people and is small.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from simulator.telemetry.manifest import RunFolderError

QUICKLOOK_EDGE_PX = 384
"""Longest edge of the true-colour picture."""

_BLUE, _GREEN, _RED = 0, 1, 2
_DISPLAY_REFLECTANCE = 0.6
_DISPLAY_GAMMA = 1 / 1.6

_COLOURS = {
    0: (58, 105, 62),
    1: (255, 255, 255),
    2: (178, 203, 222),
    3: (92, 77, 120),
    255: (0, 0, 0),
}
"""Palette of class images: clear, cloud, thin cloud, shadow, no data."""


def image_name(kind: str, sha256: str) -> str:
    """File name of an image below ``captures/``; `kind` is ``rgb``, ``truth`` or ``mask``.

    Raises
    ------
    RunFolderError
        If `sha256` is not a hexadecimal hash, so that no name can lead out of the folder.
    """
    if not re.fullmatch(r"[0-9a-f]{12,64}", sha256):
        raise RunFolderError(
            f"{kind} image: {sha256!r} is not a SHA-256 in hexadecimal, so it names no image of a "
            "run. Take the hash from the run's capture or inference events."
        )
    return f"{kind}-{sha256[:12]}.{'jpg' if kind == 'rgb' else 'png'}"


def quicklook(reflectance: NDArray[np.float32]) -> NDArray[np.uint8]:
    """True-colour picture of a frame.

    Parameters
    ----------
    reflectance : ndarray of float32, shape (4, H, W)
        Blue, green, red, near infrared.

    Returns
    -------
    ndarray of uint8, shape (h, w, 3)
        Thinned so that its longest edge is at most `QUICKLOOK_EDGE_PX`; reflectance 0.6 is white.
    """
    step = -(-max(reflectance.shape[1:]) // QUICKLOOK_EDGE_PX)
    visible = reflectance[[_RED, _GREEN, _BLUE], ::step, ::step]
    stretched = np.clip(visible / _DISPLAY_REFLECTANCE, 0, 1) ** _DISPLAY_GAMMA
    return np.ascontiguousarray(np.moveaxis(np.rint(stretched * 255), 0, -1).astype(np.uint8))


def write_rgb(path: Path, rgb: NDArray[np.uint8]) -> None:
    """Write a true-colour picture as JPEG."""
    _replace(path, Image.fromarray(rgb), quality=85)


def write_classes(path: Path, classes: NDArray[np.uint8]) -> None:
    """Write a class image of shape (H, W) as palette PNG; palette indices are the classes."""
    height, width = classes.shape
    image = Image.frombytes("P", (width, height), np.ascontiguousarray(classes).tobytes())
    image.putpalette([level for i in range(256) for level in _COLOURS.get(i, (255, 0, 255))])
    _replace(path, image, compress_level=3)


def read_classes(path: Path) -> NDArray[np.uint8]:
    """Read a class image, shape (H, W).

    Raises
    ------
    RunFolderError
        If the file is missing or damaged.
    """
    try:
        with Image.open(path) as image:
            return np.asarray(image, dtype=np.uint8).copy()
    except OSError as error:
        raise RunFolderError(
            f"{path} cannot be read as an image ({error}). Restore the file from a copy or run "
            "the scenario again."
        ) from None


def _replace(path: Path, image: Image.Image, **options: int) -> None:
    draft = path.with_suffix(".tmp")
    image.save(draft, format="JPEG" if path.suffix == ".jpg" else "PNG", **options)
    draft.replace(path)
