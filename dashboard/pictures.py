"""Pictures of a capture: what the camera saw, what was detected, what was true, where they differ.

Class images are kept pixel for pixel in the run folder; a page shows them thinned to the size of
the true-colour picture. Colours are those of `dashboard.colours`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from dashboard.colours import CLEAR, CLOUDY, DROPPED, MISSED_CLOUD, rgb
from simulator.telemetry.manifest import RunFolderError
from simulator.telemetry.run_folder import RunFolder

EDGE_PX = 384
NO_DATA = 255
CLOUD_CLASSES = (1, 2)

FALSE_CLOUD_COLOUR = DROPPED
MISSED_CLOUD_COLOUR = MISSED_CLOUD


@dataclass(frozen=True)
class CapturePictures:
    """Pictures of one capture, all of the same shape (h, w) or (h, w, 3); None where missing."""

    rgb: NDArray[np.uint8]
    truth: NDArray[np.uint8]
    mask: NDArray[np.uint8] | None


def load_pictures(
    run: RunFolder, frame_sha256: str, truth_sha256: str, mask_sha256: str
) -> CapturePictures:
    """Read the pictures of a capture.

    Raises
    ------
    RunFolderError
        If one is missing, damaged, or a link out of the run folder.
    """
    seen = load_rgb(run, frame_sha256)
    truth = _thinned(run.truth(truth_sha256), seen.shape[:2])
    mask = _thinned(run.mask(mask_sha256), seen.shape[:2]) if mask_sha256 else None
    return CapturePictures(seen, truth, mask)


def load_rgb(run: RunFolder, frame_sha256: str) -> NDArray[np.uint8]:
    """The true-colour picture, shape (h, w, 3)."""
    path = run.rgb_path(frame_sha256)
    try:
        with Image.open(path, formats=["JPEG"]) as image:
            image.thumbnail((EDGE_PX, EDGE_PX))
            return np.asarray(image.convert("RGB"), dtype=np.uint8)
    except (OSError, Image.DecompressionBombError) as error:
        raise RunFolderError(
            f"{path} cannot be read as an image ({error}). Restore the file from a copy or run "
            "the scenario again."
        ) from None


def _thinned(classes: NDArray[np.uint8], shape: tuple[int, ...]) -> NDArray[np.uint8]:
    rows, columns = (
        (np.arange(size) * full / size).astype(int)
        for size, full in zip(shape, classes.shape, strict=True)
    )
    return np.ascontiguousarray(classes[np.ix_(rows, columns)])


def overlay(pictures: CapturePictures, opacity: float) -> NDArray[np.uint8]:
    """The true-colour picture with what was detected as cloud tinted, outline at full strength.

    Parameters
    ----------
    opacity : float
        0 shows the picture, 1 the mask alone.
    """
    shown = pictures.rgb.astype(np.float32)
    if pictures.mask is None:
        return pictures.rgb
    cloud = pictures.mask == 1
    shown[cloud] = (1 - opacity) * shown[cloud] + opacity * np.array(rgb(DROPPED), np.float32)
    shown[_outline(cloud)] = rgb(DROPPED)
    return shown.astype(np.uint8)


def _outline(region: NDArray[np.bool_]) -> NDArray[np.bool_]:
    edge = np.zeros_like(region)
    edge[1:] |= region[1:] != region[:-1]
    edge[:, 1:] |= region[:, 1:] != region[:, :-1]
    return edge


def truth_picture(pictures: CapturePictures) -> NDArray[np.uint8]:
    """Truth: clear green, cloud white, thin cloud light grey, shadow dark, no data black."""
    colours = np.zeros((256, 3), np.uint8)
    colours[0], colours[1] = rgb(CLEAR), (255, 255, 255)
    colours[2], colours[3] = (190, 196, 206), (0, 84, 62)
    return colours[pictures.truth]


def error_picture(pictures: CapturePictures) -> NDArray[np.uint8] | None:
    """Where the mask is wrong: clear called cloud vermillion, missed cloud purple; else dim."""
    if pictures.mask is None:
        return None
    cloud = np.isin(pictures.truth, CLOUD_CLASSES)
    known = (pictures.truth != NO_DATA) & (pictures.mask != NO_DATA)
    called = pictures.mask == 1
    shown = np.where(cloud[..., None], rgb(CLOUDY), (38, 44, 54)).astype(np.uint8)
    shown[known & called & ~cloud] = rgb(FALSE_CLOUD_COLOUR)
    shown[known & ~called & cloud] = rgb(MISSED_CLOUD_COLOUR)
    shown[~known] = 0
    return shown
