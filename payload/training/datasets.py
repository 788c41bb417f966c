"""From scene collections to what a network may be trained on.

A training image is a scene of the splits ``train`` or ``unlabelled``; a scene of any other split
never gets in, whatever is asked for. Each pixel carries a cloud probability (the target) and a
weight (how far the target is trusted). What a person drew is trusted fully; what a detector said
is trusted as far as the detectors agree (`payload.training.weak_labels`); without their joint
opinion a detector's own mask is trusted little and not at all along its edges.

The collections differ in size a hundredfold and in worth the other way round, so each is drawn
from with a fixed share, spread evenly over places: a place seen thirty times counts like others.
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import binary_dilation, binary_erosion

from payload.frame import NO_DATA
from payload.scenes import REFLECTANCE_SCALE, Scene, labelled_cloud, read_scenes
from payload.surfaces import UNKNOWN_SURFACE, spectral_surface
from payload.training.soft_labels import FULL_SCALE, SoftLabel

TRAINING_SPLITS: tuple[str, ...] = ("train", "unlabelled")
"""Splits a network may see. ``val`` is for the final look only."""

LABEL_KINDS: tuple[str, ...] = ("human", "s2cloudless", "scl", "pseudo", "teacher")
"""Who may have made the target: a person (and whoever else knew, `TRUE_LABELS`), a detector's mask,
several detectors together, or the teacher, who is asked last."""

TRUE_LABELS: frozenset[str] = frozenset({"human", "clear_by_eye", "exact"})
"""Masks that are learnt as a person's: drawn by one, an image that one found clear, and clouds laid
where they are known to be. No detector is asked about these images."""

MASK_CONFIDENCE: Mapping[str, float] = {"human": 1.0, "s2cloudless": 0.5, "scl": 0.3}
"""Weight of a pixel of a mask, by who made it (see the caveats of the scene collections)."""

EDGE_PX = 2
"""Half width of the strip along a machine-made mask's edges that is not trusted."""

COLLECTION_SHARE: Mapping[str, float] = {
    "l8biome": 0.26,
    "oncloudn": 0.18,
    "sen12mscr": 0.30,
    "sen12mscr_weak": 0.11,
    "sen12mscr_ts": 0.05,
    "s2_l2a_tiles": 0.04,
    "whole_scenes": 0.05,
    "l1c_tile": 0.01,
}
"""Share of the patches drawn from each collection; renormalised over those present."""

SURFACE_SHARE: Mapping[str, float] = {"desert": 2.0, "barren": 1.5, "snow_ice": 0.5}
"""How much more often than others a person's patch of a surface is drawn that is often taken for
cloud; among the pseudo labels those grounds are plentiful, and are drawn as all others. Snow is
drawn less often instead: smooth snow and a smooth cloud deck look alike in four bands, and what a
network learns of the one smooth snowfield at hand makes it miss decks elsewhere, while a snowfield
it has not seen stays cloud to it (held-out places, `payload/training/STUDENTS.md`)."""

DEFAULT_SHARE = 0.10
"""Share of a collection not named in `COLLECTION_SHARE`."""


class TrainingDataError(ValueError):
    """There is nothing to train on; the message says what was looked for and where."""


@dataclass(frozen=True)
class TrainingImage:
    """One image that may be trained on: a scene, or the clear date of the same place.

    Attributes
    ----------
    scene : Scene
    path : Path
        The image file; differs from ``scene.path`` for the clear date.
    sha256 : str
        Of the image file.
    """

    scene: Scene
    path: Path
    sha256: str

    @property
    def is_clear_date(self) -> bool:
        """True for the ``.clear.tif`` beside a scene."""
        return self.path != self.scene.path

    def reflectance(self) -> NDArray[np.float32]:
        """Reflectance, shape (4, H, W)."""
        clear = self.scene.clear_reflectance() if self.is_clear_date else None
        return self.scene.reflectance() if clear is None else clear


@dataclass(frozen=True)
class Sample:
    """One training image in memory.

    Attributes
    ----------
    name, collection, surface, split : str
        As in `payload.scenes.Scene`.
    label_kind : str
        One of `LABEL_KINDS`.
    gsd_m : float
    sha256 : str
        Of the image file.
    digital_number : ndarray of uint16, shape (4, H, W)
        Reflectance x 10000, bands blue, green, red, nir.
    target, weight : ndarray of uint8, shape (H, W)
        Cloud probability and trust, 255 standing for 1. Without data the weight is 0.
    teacher : ndarray of uint8, shape (H, W), or None
        The teacher's probability, where it has looked at the image.
    sampling_weight : float
        Probability of drawing this image; sums to 1 over the set.
    """

    name: str
    collection: str
    surface: str
    split: str
    label_kind: str
    gsd_m: float
    sha256: str
    digital_number: NDArray[np.uint16]
    target: NDArray[np.uint8]
    weight: NDArray[np.uint8]
    teacher: NDArray[np.uint8] | None
    sampling_weight: float


@dataclass(frozen=True)
class TrainingSet:
    """Everything a network is trained on, in memory, in the order of the manifest."""

    samples: tuple[Sample, ...]

    @property
    def sampling_weights(self) -> NDArray[np.float64]:
        """Probability of drawing each sample, shape (len(samples),)."""
        return np.array([sample.sampling_weight for sample in self.samples])

    def describe(self) -> dict[str, int]:
        """Number of images per ``collection (label kind)``: what a card says it was trained on.

        Views of an image (`payload.training.views`) are not images of their own.
        """
        kind_of_image: dict[tuple[str, str], str] = {}
        for sample in self.samples:  # an image comes before its views
            kind_of_image.setdefault((sample.collection, sample.sha256), sample.label_kind)
        kinds = Counter(f"{collection} ({kind})" for (collection, _), kind in kind_of_image.items())
        return dict(sorted(kinds.items()))


def training_images(
    scenes_root: Path | str, collections: Collection[str] | None = None
) -> Iterator[TrainingImage]:
    """Every image at `scenes_root` that may be trained on, in the order of the manifest.

    Parameters
    ----------
    scenes_root : path
        A scene collection, or a folder of several.
    collections : collection of str, optional
        Names to restrict to.

    Raises
    ------
    payload.scenes.SceneError
        The collections cannot be read.
    """
    for scene in read_scenes(scenes_root):
        if scene.split not in TRAINING_SPLITS:
            continue
        if collections is not None and scene.collection not in collections:
            continue
        yield TrainingImage(scene, scene.path, scene.sha256)
        clear_date = scene.path.with_name(f"{scene.name}.clear.tif")
        if clear_date.is_file():
            sha256 = hashlib.sha256(clear_date.read_bytes()).hexdigest()
            yield TrainingImage(scene, clear_date, sha256)


def load_training_set(
    scenes_root: Path | str,
    label_kinds: Collection[str] = LABEL_KINDS,
    *,
    pseudo: Mapping[str, SoftLabel] | None = None,
    teacher: Mapping[str, SoftLabel] | None = None,
    collections: Collection[str] | None = None,
) -> TrainingSet:
    """Read everything at `scenes_root` that may be trained on and has a label.

    Parameters
    ----------
    scenes_root : path
        A scene collection, or a folder of several.
    label_kinds : collection of str
        Which of `LABEL_KINDS` to use. ``pseudo`` needs `pseudo`.
    pseudo : mapping of SHA-256 to SoftLabel, optional
        Joint opinion of other detectors; replaces machine-made masks, never a person's.
    teacher : mapping of SHA-256 to SoftLabel, optional
        The teacher's soft labels, for distillation. What nobody else has labelled takes its
        target from them too, trusted as far as the teacher is sure.
    collections : collection of str, optional
        Names to restrict to.

    Raises
    ------
    TrainingDataError
        A label kind is not known, or no image is left.
    payload.scenes.SceneError
        A collection cannot be read.
    """
    unknown = sorted(set(label_kinds) - set(LABEL_KINDS))
    if unknown:
        raise TrainingDataError(
            f"label_kinds: {unknown[0]!r} is not known; use some of {', '.join(LABEL_KINDS)}"
        )
    known_pseudo = (pseudo or {}) if "pseudo" in label_kinds else {}
    labelled = [
        (image, *label)
        for image in training_images(scenes_root, collections)
        if (label := _label(image, label_kinds, known_pseudo, teacher or {})) is not None
    ]
    if not labelled:
        raise TrainingDataError(
            f"{scenes_root}: holds no scene of the splits {' or '.join(TRAINING_SPLITS)} with a "
            f"label of the kinds {', '.join(label_kinds)}; ask for more kinds or give pseudo labels"
        )
    shares = _sampling_weights([image.scene for image, _, _ in labelled])
    return TrainingSet(
        tuple(
            _sample(image, kind, label, (teacher or {}).get(image.sha256), share)
            for (image, kind, label), share in zip(labelled, shares, strict=True)
        )
    )


def is_true(image: TrainingImage) -> bool:
    """Whether the scene's mask is the truth of this image (`TRUE_LABELS`)."""
    return image.scene.label in TRUE_LABELS and not image.is_clear_date


def _label(
    image: TrainingImage,
    label_kinds: Collection[str],
    pseudo: Mapping[str, SoftLabel],
    teacher: Mapping[str, SoftLabel],
) -> tuple[str, SoftLabel] | None:
    scene = image.scene
    if is_true(image):
        return ("human", _label_of_mask(scene)) if "human" in label_kinds else None
    if image.sha256 in pseudo:
        return "pseudo", pseudo[image.sha256]
    if scene.mask_path is not None and scene.label in label_kinds and not image.is_clear_date:
        return scene.label, _label_of_mask(scene)
    if "teacher" in label_kinds and image.sha256 in teacher:
        return "teacher", _trusted_where_sure(teacher[image.sha256])
    return None


def _trusted_where_sure(label: SoftLabel) -> SoftLabel:
    certainty = np.abs(2 * label.probability.astype(np.int16) - FULL_SCALE)
    return SoftLabel(label.probability, certainty.astype(np.uint8))


def _label_of_mask(scene: Scene) -> SoftLabel:
    mask = scene.truth()
    if mask is None:
        raise TrainingDataError(f"{scene.full_name}: has no mask though label is {scene.label!r}")
    return label_of_mask(mask, scene.label)


def label_of_mask(mask: NDArray[np.uint8], made_by: str) -> SoftLabel:
    """Target and trust that follow from a mask.

    Parameters
    ----------
    mask : ndarray of uint8, shape (H, W)
        0 clear, 1 cloud, 2 thin cloud, 3 shadow, 255 no data.
    made_by : str
        One of `TRUE_LABELS`, or a detector; one not in `MASK_CONFIDENCE` is trusted like ``scl``.
    """
    cloud = labelled_cloud(mask)
    trusted = mask != NO_DATA
    if made_by not in TRUE_LABELS:
        trusted &= ~_edge(cloud)
    maker = "human" if made_by in TRUE_LABELS else made_by
    confidence = MASK_CONFIDENCE.get(maker, MASK_CONFIDENCE["scl"])
    return SoftLabel(
        probability=(cloud * FULL_SCALE).astype(np.uint8),
        confidence=(trusted * round(confidence * FULL_SCALE)).astype(np.uint8),
    )


def _edge(cloud: NDArray[np.bool_]) -> NDArray[np.bool_]:
    grown = binary_dilation(cloud, iterations=EDGE_PX)
    shrunk = binary_erosion(cloud, iterations=EDGE_PX, border_value=1)
    return np.asarray(grown & ~shrunk)


def _sample(
    image: TrainingImage,
    label_kind: str,
    label: SoftLabel,
    teacher: SoftLabel | None,
    sampling_weight: float,
) -> Sample:
    digital_number = np.rint(image.reflectance() * REFLECTANCE_SCALE).astype(np.uint16)
    valid = np.any(digital_number != 0, axis=0)
    shapes = [label.probability.shape] + ([teacher.probability.shape] if teacher else [])
    if any(shape != valid.shape for shape in shapes):
        raise TrainingDataError(
            f"{image.scene.full_name}: image is {valid.shape} px, a label {shapes}; make the soft "
            "labels again"
        )
    return Sample(
        name=image.path.stem,
        collection=image.scene.collection,
        surface=_surface(image, label),
        split=image.scene.split,
        label_kind=label_kind,
        gsd_m=image.scene.gsd_m,
        sha256=image.sha256,
        digital_number=digital_number,
        target=label.probability,
        weight=np.where(valid, label.confidence, 0).astype(np.uint8),
        teacher=None if teacher is None else teacher.probability,
        sampling_weight=sampling_weight,
    )


def _surface(image: TrainingImage, label: SoftLabel) -> str:
    if image.scene.surface != UNKNOWN_SURFACE:
        return image.scene.surface
    cloud = (label.probability > FULL_SCALE // 2).astype(np.uint8)
    return spectral_surface(image.reflectance(), cloud)


def _sampling_weights(scenes: list[Scene]) -> list[float]:
    """Collection's share, spread over its places, then over the images of a place.

    A place's part grows with the square root of its images: thirty dates of one place are more
    than one image, and less than thirty places.
    """
    places = [(scene.collection, place_of(scene)) for scene in scenes]
    images_of_place = Counter(places)
    raw = [
        images_of_place[place] ** -0.5
        * (SURFACE_SHARE.get(scene.surface, 1.0) if scene.label in TRUE_LABELS else 1.0)
        for scene, place in zip(scenes, places, strict=True)
    ]
    total_of_collection: defaultdict[str, float] = defaultdict(float)
    for (collection, _), weight in zip(places, raw, strict=True):
        total_of_collection[collection] += weight
    share = {name: COLLECTION_SHARE.get(name, DEFAULT_SHARE) for name in total_of_collection}
    all_shares = sum(share.values())
    return [
        share[collection] / all_shares * weight / total_of_collection[collection]
        for (collection, _), weight in zip(places, raw, strict=True)
    ]


def place_of(scene: Scene) -> str:
    """What two images must share to be neighbours: the place without patch number and position."""
    return scene.place.split(" patch ")[0].split(", lon ")[0] if scene.place else scene.name
