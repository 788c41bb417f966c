"""The frame a scene becomes: native pixels, clouds laid over them, and the truth of both.

A frame is filled with the scene's own cells: where a scene is smaller it is mosaicked by mirroring
at its edges, where it is larger its middle is taken. The same scene gives the same frame to the
bit, and a frame's identity is its content hash.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeVar

import numpy as np
from numpy.typing import NDArray

from payload.frame import NO_DATA, content_sha256
from payload.scenes import Scene, SceneError, labelled_cloud
from simulator.environment.clouds import draw_clouds, lay_over

Pixel = TypeVar("Pixel", bound=np.generic)

_FrameKey = tuple[Path, float | None, tuple[int, int]]
"""Image of the scene (its name may be another's too), cover laid over it, rows and columns."""

CACHE_BYTES: Final = 320 * 2**20
"""Memory that finished frames may take: some eighteen of 1024 x 1024."""


@dataclass(frozen=True, eq=False)
class CapturedPixels:
    """One frame with its truth.

    Attributes
    ----------
    reflectance : ndarray of float32, shape (4, H, W)
        Blue, green, red, near infrared.
    truth : ndarray of uint8, shape (H, W)
        0 clear, 1 cloud, 2 thin cloud, 3 shadow, 255 no data.
    scene, scene_sha256 : str
        ``collection/name`` and hash of the image file the pixels come from.
    scene_kind : str
        ``real`` or ``composite``.
    scene_gsd_m : float
        The scene's own cell size; the frame uses its cells as they are.
    surface : str
    cover : float
        Cloud (thick or thin) over labelled pixels.
    clear_px, cloud_px : int
    frame_sha256, truth_sha256 : str
        Content hashes.
    """

    reflectance: NDArray[np.float32]
    truth: NDArray[np.uint8]
    scene: str
    scene_sha256: str
    scene_kind: str
    scene_gsd_m: float
    surface: str
    cover: float
    clear_px: int
    cloud_px: int
    frame_sha256: str
    truth_sha256: str


class Frames:
    """Builds frames, and keeps those it built last."""

    def __init__(self) -> None:
        self._kept: OrderedDict[_FrameKey, CapturedPixels] = OrderedDict()
        self._hashes: dict[_FrameKey, tuple[str, str]] = {}

    def as_it_is(self, scene: Scene, frame_px: tuple[int, int]) -> CapturedPixels:
        """The frame of a scene with the clouds it has.

        Parameters
        ----------
        scene : Scene
        frame_px : (int, int)
            Rows and columns.

        Raises
        ------
        SceneError
            The scene has no mask, or its files cannot be read.
        """
        key = (scene.path, None, frame_px)
        return self._cached(
            key, lambda: self._described(scene, key, scene.reflectance(), _truth_of(scene))
        )

    def under_clouds(self, scene: Scene, cover: float, frame_px: tuple[int, int]) -> CapturedPixels:
        """The frame of a clear scene under drawn clouds of a cover, 0..1.

        Parameters
        ----------
        scene : Scene
        cover : float
        frame_px : (int, int)
            Rows and columns.

        Raises
        ------
        SceneError
            The scene has no mask, or its files cannot be read.
        """
        key = (scene.path, cover, frame_px)
        return self._cached(key, lambda: self._clouded(scene, cover, key))

    def _cached(self, key: _FrameKey, make: Callable[[], CapturedPixels]) -> CapturedPixels:
        """The frame of a key, made again when it has left the cache."""
        if key in self._kept:
            self._kept.move_to_end(key)
            return self._kept[key]
        frame = self._kept[key] = make()
        while len(self._kept) > max(1, CACHE_BYTES // _frame_bytes(frame)):
            self._kept.popitem(last=False)
        return frame

    def _clouded(self, scene: Scene, cover: float, key: _FrameKey) -> CapturedPixels:
        frame_px, sky = key[-1], f"{scene.full_name}|{cover}"
        ground = fill_frame(scene.reflectance(), frame_px)
        clouds = draw_clouds(frame_px, cover, sky, gsd_m=scene.gsd_m)
        reflectance, truth = lay_over(ground, clouds)
        # Nothing is known of the ground there, so nothing is of what lies over it.
        unknown = fill_frame(_truth_of(scene)[None], frame_px)[0] == NO_DATA
        truth[unknown] = NO_DATA
        reflectance[:, unknown] = ground[:, unknown]
        return self._described(scene, key, reflectance, truth)

    def _described(
        self,
        scene: Scene,
        key: _FrameKey,
        reflectance: NDArray[np.float32],
        truth: NDArray[np.uint8],
    ) -> CapturedPixels:
        _, cover_laid_over, frame_px = key
        reflectance = fill_frame(reflectance, frame_px)
        truth = fill_frame(truth[None], frame_px)[0]
        reflectance.setflags(write=False)  # what is seen again need not be looked at again
        if key not in self._hashes:  # remembered for good: a frame of a key is always the same
            self._hashes[key] = (content_sha256(reflectance), content_sha256(truth))
        cloud_px, labelled_px = _cloud_and_labelled_px(truth)
        return CapturedPixels(
            reflectance=reflectance,
            truth=truth,
            scene=scene.full_name,
            scene_sha256=scene.sha256,
            scene_kind=scene.kind if cover_laid_over is None else "composite",
            scene_gsd_m=scene.gsd_m,
            surface=scene.surface,
            cover=cover_of(truth),
            clear_px=labelled_px - cloud_px,
            cloud_px=cloud_px,
            frame_sha256=self._hashes[key][0],
            truth_sha256=self._hashes[key][1],
        )


def cover_of(truth: NDArray[np.uint8]) -> float:
    """Cloud, thick or thin, over labelled pixels, 0..1; 1 where nothing is labelled."""
    cloud_px, labelled_px = _cloud_and_labelled_px(truth)
    return cloud_px / labelled_px if labelled_px else 1.0


def fill_frame(image: NDArray[Pixel], frame_px: tuple[int, int]) -> NDArray[Pixel]:
    """Native pixels in a frame: the middle of a larger image, mirror images of a smaller one.

    Parameters
    ----------
    image : ndarray, shape (bands, h, w)
    frame_px : (int, int)
        Rows and columns.

    Returns
    -------
    ndarray, shape (bands, rows, columns), contiguous
    """
    _, height, width = image.shape
    rows, columns = frame_px
    top, left = max((height - rows) // 2, 0), max((width - columns) // 2, 0)
    middle = image[:, top : top + rows, left : left + columns]
    missing = ((0, 0), (0, max(rows - height, 0)), (0, max(columns - width, 0)))
    return np.ascontiguousarray(np.pad(middle, missing, mode="symmetric"))


def _frame_bytes(frame: CapturedPixels) -> int:
    return frame.reflectance.nbytes + frame.truth.nbytes


def _truth_of(scene: Scene) -> NDArray[np.uint8]:
    truth = scene.truth()
    if truth is None:
        raise SceneError(f"{scene.full_name}: has no mask; only labelled scenes are imaged")
    return truth


def _cloud_and_labelled_px(truth: NDArray[np.uint8]) -> tuple[int, int]:
    """Pixels of thick or thin cloud, and pixels with a label."""
    return int(labelled_cloud(truth).sum()), int((truth != NO_DATA).sum())
