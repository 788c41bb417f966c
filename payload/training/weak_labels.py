"""What other detectors think of the images nobody has labelled, and how far they agree.

Up to four opinions are heard per pixel: ukis-csmask's two 4-band models (for top-of-atmosphere
and for surface reflectance), s2cloudless where its probability or its ten bands are at hand, and
the mask a product came with. The target is their weighted mean. The confidence falls with their
spread and with indecision, because each errs in its own way: s2cloudless marks cirrus that four
bands cannot show; ukis-csmask marks snow, the top-of-atmosphere model more than the other; a
scene classification at 120 m is wrong at edges. Where all of them say the same, it mostly is so.

People draw generously: On Cloud N's outlines run beyond the bright cloud, over its thin edge. Each
opinion is therefore grown by `OUTLINE_M` before it is heard, as s2cloudless's makers grow theirs
by default; at cells coarser than that, by nothing.

Making these labels needs the extra ``peers``; training from a cache of them does not.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, maximum_filter

from payload.frame import NO_DATA
from payload.scene_images import SceneError, read_image
from payload.scenes import REFLECTANCE_SCALE, labelled_cloud
from payload.training.datasets import TrainingImage, is_true, training_images
from payload.training.soft_labels import (
    SoftLabel,
    quantise,
    read_soft_labels,
    write_soft_labels,
)

FloatArray = NDArray[np.float32]

UKIS_LEVELS: tuple[str, ...] = ("l1c", "l2a")
UKIS_TILE_PX = 256
"""Fixed edge of the input of the ukis-csmask graphs."""
UKIS_STRIDE_PX = 192
UKIS_CLOUD_CHANNEL = 1
"""Classes of ukis-csmask: 0 background, 1 cloud, 2 cloud shadow."""

S2CLOUDLESS_SIGMA_PX = 2.0
"""s2cloudless looks at single pixels; its makers average over a disk of 4 px before deciding."""

SENTINEL2_BAND_COUNT = 13
"""s2cloudless looks at ten of them."""

OPINION_WEIGHT: Mapping[str, float] = {
    "ukis_l1c": 1.0,
    "ukis_l2a": 1.0,
    "s2cloudless": 1.0,
    "scl": 0.5,
    "clear_date": 1.0,
}
"""Say of each opinion in the mean; an interpolated class map has less."""

LEAST_CONFIDENCE = 0.3
"""Even where opinions differ their mean is the best guess; as a soft target it claims no more."""

OUTLINE_M = 20.0
"""How far outlines are grown at most: by whole pixels. On the one On Cloud N chip of the split
``train``, the mean of both ukis-csmask models cut at one half has a Jaccard of 0.71 as it is, 0.78
grown by 2 pixels of 10 m, 0.85 by 6; on the 19 Landsat patches of that split, 0.945 as it is and
0.936 grown by a pixel of 30 m. Students that learnt a pixel of 30 m drew too far there."""

LABEL_VERSION = 5
"""Raised when the rules above or those of the views change (`payload.training.views`), so that no
cache of older labels is used."""

SAVE_EVERY = 40


class WeakLabelError(ValueError):
    """Pseudo labels cannot be made; the message says what is missing."""


def grown(probability: FloatArray, gsd_m: float) -> FloatArray:
    """An opinion with its outlines further out, by the whole pixels that `OUTLINE_M` holds.

    Every pixel takes the highest probability that near.
    """
    radius_px = int(OUTLINE_M / gsd_m)
    if radius_px < 1:
        return probability
    y, x = np.ogrid[-radius_px : radius_px + 1, -radius_px : radius_px + 1]
    disk = x * x + y * y <= radius_px * radius_px
    return np.asarray(maximum_filter(probability, footprint=disk), dtype=np.float32)


@dataclass(frozen=True)
class Opinion:
    """What one detector says: its name and cloud probability, shape (H, W)."""

    detector: str
    probability: FloatArray


class UkisDetector:
    """The two 4-band ukis-csmask models, as probabilities.

    Raises
    ------
    WeakLabelError
        The package ukis-csmask is not installed.
    """

    def __init__(self) -> None:
        spec = importlib.util.find_spec("ukis_csmask")
        if spec is None or spec.origin is None:
            raise WeakLabelError(
                "pseudo labels: the package ukis-csmask is not installed; install the extra "
                "`peers`, or train with --label-kind human"
            )
        folder = Path(spec.origin).parent
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1  # images are judged side by side instead
        self._models = {}
        for level in UKIS_LEVELS:
            graph = folder / f"model_4b_{level}.onnx"
            card = json.loads(graph.with_suffix(".json").read_text(encoding="utf-8"))
            mean, std = np.array(card["data"]["dataset_statistics"]["img"], dtype=np.float32)
            session = onnxruntime.InferenceSession(
                str(graph), options, providers=["CPUExecutionProvider"]
            )
            self._models[level] = (session, mean[:, None, None], std[:, None, None])

    def opinions(self, reflectance: FloatArray) -> list[Opinion]:
        """Cloud probability by each model for reflectance of shape (4, H, W)."""
        return [
            Opinion(f"ukis_{level}", tiled(reflectance, self._detector(level)))
            for level in UKIS_LEVELS
        ]

    def _detector(self, level: str) -> Callable[[FloatArray], FloatArray]:
        session, mean, std = self._models[level]
        name = session.get_inputs()[0].name

        def detect(tile: FloatArray) -> FloatArray:
            logits = session.run(None, {name: ((tile - mean) / std)[None]})[0][0]
            odds = np.exp(logits - logits.max(axis=0))
            return np.asarray(odds[UKIS_CLOUD_CHANNEL] / odds.sum(axis=0), dtype=np.float32)

        return detect


def tiled(
    reflectance: FloatArray,
    detect: Callable[[FloatArray], FloatArray],
    tile_px: int = UKIS_TILE_PX,
    stride_px: int = UKIS_STRIDE_PX,
) -> FloatArray:
    """Run a detector of fixed tile size over an image, blending where tiles overlap.

    Parameters
    ----------
    reflectance : ndarray of float32, shape (4, H, W)
    detect : callable
        (4, tile_px, tile_px) -> (tile_px, tile_px).

    Returns
    -------
    ndarray of float32, shape (H, W)
    """
    height, width = reflectance.shape[1:]
    padding = [(0, max(0, tile_px - n)) for n in (height, width)]
    padded = np.pad(reflectance, [(0, 0), *padding], mode="symmetric")
    ramp = np.minimum(np.arange(1, tile_px + 1), np.arange(tile_px, 0, -1)).astype(np.float32)
    blend = np.minimum.outer(ramp, ramp)
    total, weight = (np.zeros(padded.shape[1:], dtype=np.float32) for _ in range(2))
    for top in _starts(padded.shape[1], tile_px, stride_px):
        for left in _starts(padded.shape[2], tile_px, stride_px):
            here = (slice(top, top + tile_px), slice(left, left + tile_px))
            total[here] += blend * detect(padded[:, *here])
            weight[here] += blend
    return (total / weight)[:height, :width]


def _starts(length_px: int, tile_px: int, stride_px: int) -> list[int]:
    last = length_px - tile_px
    return sorted({*range(0, last + 1, stride_px), last})


def s2cloudless_opinion(image: TrainingImage) -> Opinion | None:
    """What s2cloudless says: from the probability beside a scene, or from its bands; or None.

    The raw probability per pixel is smoothed by `S2CLOUDLESS_SIGMA_PX`.

    Raises
    ------
    payload.scenes.SceneError
        The probability cannot be read, or has another size than the scene.
    """
    if image.is_clear_date:
        return None
    beside = _s2cloudless_beside(image)
    if beside.is_file():
        probability = _probability_in(beside, (image.scene.height_px, image.scene.width_px))
    elif image.scene.label == "s2cloudless":
        bands = read_image(image.path).values
        if len(bands) != SENTINEL2_BAND_COUNT:
            return None
        probability = _run_s2cloudless(bands)
    else:
        return None
    return Opinion("s2cloudless", gaussian_filter(probability, S2CLOUDLESS_SIGMA_PX))


def _probability_in(path: Path, shape: tuple[int, int]) -> FloatArray:
    """The probability x 100 of a file, as a fraction."""
    percent = read_image(path).values[0]
    if percent.shape != shape:
        raise SceneError(
            f"{path}: is {percent.shape} px, its scene is {shape}; restore the file or remove it"
        )
    return percent.astype(np.float32) / 100


def _run_s2cloudless(digital_number: NDArray[np.generic]) -> FloatArray:
    if importlib.util.find_spec("s2cloudless") is None:
        raise WeakLabelError(
            "pseudo labels: the package s2cloudless is not installed; install the extra `peers`"
        )
    from s2cloudless import S2PixelCloudDetector

    bands = np.moveaxis(digital_number, 0, -1)[None].astype(np.float32) / REFLECTANCE_SCALE
    return np.asarray(S2PixelCloudDetector(all_bands=True).get_cloud_probability_maps(bands)[0])


def _product_opinion(image: TrainingImage, shape: tuple[int, int]) -> Opinion | None:
    if image.is_clear_date:
        return Opinion("clear_date", np.zeros(shape, dtype=np.float32))
    mask = image.scene.truth() if image.scene.label == "scl" else None
    if mask is None:
        return None
    cloud = labelled_cloud(mask).astype(np.float32)
    # No data in the class map is no opinion on cloud: half way says so.
    return Opinion("scl", np.where(mask == NO_DATA, 0.5, gaussian_filter(cloud, 1.0)))


def agree(opinions: Sequence[Opinion]) -> SoftLabel:
    """Target and confidence from several opinions.

    The target is the weighted mean. Confidence is ``(1 - spread) * |2 target - 1|``, the spread
    being the difference of the highest and the lowest opinion, and never under
    `LEAST_CONFIDENCE`.

    Raises
    ------
    WeakLabelError
        Nobody gave an opinion.
    """
    if not opinions:
        raise WeakLabelError("pseudo labels: no detector gave an opinion; install `peers`")
    stack = np.stack([opinion.probability for opinion in opinions])
    weights = np.array([OPINION_WEIGHT[opinion.detector] for opinion in opinions])
    target = np.tensordot(weights / weights.sum(), stack, axes=1)
    spread = stack.max(axis=0) - stack.min(axis=0)
    confidence = np.maximum((1 - spread) * np.abs(2 * target - 1), LEAST_CONFIDENCE)
    return SoftLabel(quantise(target), quantise(confidence))


def pseudo_label(image: TrainingImage, ukis: UkisDetector) -> SoftLabel:
    """Joint label of an image by all who can judge it."""
    reflectance = image.reflectance()
    opinions = ukis.opinions(reflectance)
    for further in (s2cloudless_opinion(image), _product_opinion(image, reflectance.shape[1:])):
        if further is not None:
            opinions.append(further)
    gsd_m = image.scene.gsd_m
    return agree([Opinion(heard.detector, grown(heard.probability, gsd_m)) for heard in opinions])


def pseudo_labels(
    scenes_root: Path | str,
    cache: Path,
    report: Callable[[str], None] = lambda _: None,
    threads: int = 1,
) -> dict[str, SoftLabel]:
    """Pseudo labels of every trainable image without a person's label, made once and cached.

    Parameters
    ----------
    scenes_root : path
        As `payload.training.datasets.load_training_set`.
    cache : Path
        An ``.npz`` file; images already in it are not judged again, unless a probability or a
        class map beside them, or the size of their cells, has changed.
    report : callable
        Is told of progress, one line at a time.
    threads : int
        Images judged at the same time.

    Returns
    -------
    dict of SHA-256 to SoftLabel
    """
    labels = read_soft_labels(cache) if cache.is_file() else {}
    wanted = {_key(image): image for image in training_images(scenes_root) if not is_true(image)}
    missing = {key: image for key, image in wanted.items() if key not in labels}
    if missing:
        ukis = UkisDetector()
        with ThreadPoolExecutor(threads) as judges:
            made = judges.map(lambda image: pseudo_label(image, ukis), missing.values())
            for done, (key, label) in enumerate(zip(missing, made, strict=True), 1):
                labels[key] = label
                if done % SAVE_EVERY == 0 or done == len(missing):
                    write_soft_labels(cache, labels)
                    report(f"pseudo labels: {done} of {len(missing)} images")
    return {image.sha256: labels[key] for key, image in wanted.items()}


def _key(image: TrainingImage) -> str:
    """Of a label in the cache: SHA-256 over all a label is made from, files and size of a cell."""
    further = [] if image.is_clear_date else [_s2cloudless_beside(image)]
    if image.scene.label == "scl" and not image.is_clear_date and image.scene.mask_path:
        further.append(image.scene.mask_path)
    contents = [path.read_bytes() for path in further if path.is_file()]
    hashes = [image.sha256, *(hashlib.sha256(content).hexdigest() for content in contents)]
    return hashlib.sha256(f"{image.scene.gsd_m:g} m {hashes}".encode()).hexdigest()


def _s2cloudless_beside(image: TrainingImage) -> Path:
    return image.path.with_name(f"{image.scene.name}.s2cloudless.tif")
