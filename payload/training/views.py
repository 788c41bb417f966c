"""What the peers say of an image as another sensor would have seen it.

A label made on the image as it is teaches a network to be blind to everything augmentation does:
to haze it should notice, to the size of a pixel that decides how far an outline is drawn. A *view*
is an image seen anew, at another cell size, with another sensor's gain and path radiance, and
judged anew by the ukis-csmask models: the network learns what they would say there, which is how
a function is taught and not a list of answers (Beyer et al. 2022, "Knowledge distillation: a good
teacher is patient and consistent"). Other detectors are not heard: what s2cloudless knows from
ten bands cannot be learnt from four. A person who labelled the image is, as much as both models
together: snow, on which the models contradict each other, is settled so. Every pixel is trusted:
where opinions differ, their mean says so.

Images a person labelled are seen anew most often: they are few, a network soon knows them by
heart, and one hazy forest labelled cloud then makes every hazy forest cloud. What the peers say of
it under another haze draws the line between the two.

Views are made once, from scenes of the splits ``train`` and ``unlabelled``, and kept in a cache;
making them needs the extra ``peers``. What the nnU-Net teacher says of them is committed with its
other soft labels, at half their resolution, which is that of a student's output.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.lib.npyio import NpzFile
from numpy.typing import NDArray

from payload.scenes import REFLECTANCE_SCALE
from payload.training.augmentation import Augmentation, change_radiometry, saturate
from payload.training.datasets import Sample, TrainingSet
from payload.training.sampling import cut_patch
from payload.training.soft_labels import (
    FULL_SCALE,
    PROBABILITY_STEP,
    SoftLabel,
    open_arrays,
    quantise,
)
from payload.training.weak_labels import LABEL_VERSION, UkisDetector, grown
from payload.whole_file import finished_or_nothing

VIEWS_PER_IMAGE: Mapping[str, int] = {"human": 24, "pseudo": 6}
"""Views of an image, by who labelled it; of other labels none are made."""

VIEW_PX = 256
VIEW_SCALE_RANGE: tuple[float, float] = (0.6, 3.2)
"""Cell size over the image's own: 10 m cells as far as 32 m."""

VIEW_SHARE = 0.6
"""Share of an image's draws that its views get."""

VIEWS = f"views-v{LABEL_VERSION}.npz"
"""Name of the cache; another version of the labels makes other views."""

RADIOMETRY = Augmentation(haze_range=(-0.06, 0.08), saturation_probability=0.25)
"""Wider than in training: here the label follows what is seen."""

TEACHER_PX = 2
"""Edge, in pixels of a view, of the squares over which the teacher's probability is kept."""

PSEUDO = "pseudo"
"""Label kind of a view, whoever labelled the image it was made from."""

FloatArray = NDArray[np.floating]

_SEEN_ANEW = " seen anew"
_IMAGE, _PROBABILITY = "image", "probability"


def view_of(sample: Sample, ukis: UkisDetector, rng: np.random.Generator) -> Sample:
    """One view of a sample, judged by the peers; `VIEW_PX` square, at a random scale."""
    scale = float(np.exp(rng.uniform(*np.log(VIEW_SCALE_RANGE))))
    patch = cut_patch(sample, VIEW_PX, rng, scale)
    valid = np.any(patch[:4] != 0, axis=0)
    seen = change_radiometry(patch[None, :4], rng, RADIOMETRY)
    seen = saturate(seen, rng, RADIOMETRY.saturation_probability)[0]
    digital_number = np.rint(np.clip(seen * REFLECTANCE_SCALE, 1, 65535) * valid).astype(np.uint16)
    gsd_m = sample.gsd_m * scale
    said = np.mean(
        [
            grown(opinion.probability, gsd_m)
            for opinion in ukis.opinions(digital_number.astype(np.float32) / REFLECTANCE_SCALE)
        ],
        axis=0,
    )
    if sample.label_kind == "human":
        drawn, trusted = patch[4], patch[5] > 0
        said = np.where(trusted, (said + drawn) / 2, said)
    return replace(
        sample,
        name=sample.name + _SEEN_ANEW,
        label_kind=PSEUDO,
        gsd_m=gsd_m,
        digital_number=digital_number,
        target=quantise(said),
        weight=_trusted(digital_number),
        teacher=None,
    )


def is_view(sample: Sample) -> bool:
    """Whether a sample is a view of an image, not the image."""
    return sample.name.endswith(_SEEN_ANEW)


def _trusted(digital_number: NDArray[np.uint16]) -> NDArray[np.uint8]:
    """Full trust wherever there is data, shape (H, W)."""
    return np.where(np.any(digital_number != 0, axis=0), FULL_SCALE, 0).astype(np.uint8)


def with_views(
    training_set: TrainingSet,
    cache: Path,
    report: Callable[[str], None] = lambda _: None,
    threads: int = 1,
    teacher: Mapping[str, SoftLabel] | None = None,
) -> TrainingSet:
    """A training set with the views of its images beside them.

    Parameters
    ----------
    training_set : TrainingSet
    cache : Path
        An ``.npz`` file; made when missing, or when it lacks an image of the set.
    report : callable
        Is told of progress, one line at a time.
    threads : int
        That judge views which have to be made.
    teacher : mapping of str to SoftLabel, optional
        What the teacher said of views, by their keys (`opinions_of_views`).
    """
    viewed = _viewed(training_set)
    if not viewed:
        return training_set
    if not _holds(cache, viewed):
        _make_views(viewed, cache, report, threads)
    samples: list[Sample] = []
    with open_arrays(cache) as arrays:
        for sample in training_set.samples:
            if sample.label_kind not in VIEWS_PER_IMAGE:
                samples.append(sample)
                continue
            own = sample.sampling_weight * (1 - VIEW_SHARE)
            samples.append(replace(sample, sampling_weight=own))
            samples.extend(view for _, view in _read_views(sample, arrays, teacher or {}))
    return TrainingSet(tuple(samples))


def opinions_of_views(
    training_set: TrainingSet, cache: Path, judge: Callable[[NDArray[np.float32]], FloatArray]
) -> dict[str, SoftLabel]:
    """What a teacher says of the views of a training set, as it is kept.

    Parameters
    ----------
    training_set : TrainingSet
        Of `with_views`.
    cache : Path
        The same.
    judge : callable
        Cloud probability (H, W) of reflectance (4, H, W).
    """
    opinions: dict[str, SoftLabel] = {}
    viewed = _viewed(training_set)
    if not viewed:
        return opinions
    with open_arrays(cache) as arrays:
        for sample in viewed:
            for key, view in _read_views(sample, arrays, {}):
                seen = view.digital_number.astype(np.float32) / REFLECTANCE_SCALE
                probability = _coarse(judge(seen))
                opinions[key] = SoftLabel(probability, np.full_like(probability, FULL_SCALE))
    return opinions


def _coarse(probability: FloatArray) -> NDArray[np.uint8]:
    """Mean over squares of `TEACHER_PX`."""
    rows, columns = (edge // TEACHER_PX for edge in probability.shape)
    squares = probability.reshape(rows, TEACHER_PX, columns, TEACHER_PX)
    return quantise(squares.mean(axis=(1, 3)), PROBABILITY_STEP)


def _fine(label: SoftLabel) -> NDArray[np.uint8]:
    return label.probability.repeat(TEACHER_PX, axis=0).repeat(TEACHER_PX, axis=1)


def _viewed(training_set: TrainingSet) -> list[Sample]:
    """The images that are seen anew."""
    return [s for s in training_set.samples if s.label_kind in VIEWS_PER_IMAGE and not is_view(s)]


def _make_views(
    viewed: list[Sample], cache: Path, report: Callable[[str], None], threads: int
) -> None:
    ukis = UkisDetector()
    arrays: dict[str, np.ndarray] = {}

    def look(sample: Sample) -> list[Sample]:
        first_word = int(sample.sha256[:8], 16)
        return [
            view_of(sample, ukis, np.random.default_rng([first_word, index]))
            for index in range(VIEWS_PER_IMAGE[sample.label_kind])
        ]

    with ThreadPoolExecutor(threads) as lookers:
        for done, (sample, views) in enumerate(
            zip(viewed, lookers.map(look, viewed), strict=True), 1
        ):
            for index, view in enumerate(views):
                arrays[_key(sample, index, _IMAGE)] = view.digital_number
                arrays[_key(sample, index, _PROBABILITY)] = view.target
            if done % 40 == 0 or done == len(viewed):
                report(f"views: {done} of {len(viewed)} images")
    cache.parent.mkdir(parents=True, exist_ok=True)
    with finished_or_nothing(cache) as file:
        np.savez(file, **arrays)


def _read_views(
    sample: Sample, arrays: NpzFile, teacher: Mapping[str, SoftLabel]
) -> Iterator[tuple[str, Sample]]:
    """Each view of an image with its key."""
    count = VIEWS_PER_IMAGE[sample.label_kind]
    for index in range(count):
        digital_number = arrays[_key(sample, index, _IMAGE)]
        key = _key(sample, index, f"view-v{LABEL_VERSION}")
        yield (
            key,
            replace(
                sample,
                name=sample.name + _SEEN_ANEW,
                label_kind=PSEUDO,
                digital_number=digital_number,
                target=arrays[_key(sample, index, _PROBABILITY)],
                weight=_trusted(digital_number),
                teacher=_fine(teacher[key]) if key in teacher else None,
                sampling_weight=sample.sampling_weight * VIEW_SHARE / count,
            ),
        )


def _key(sample: Sample, index: int, part: str) -> str:
    """Of an array in the cache: image, cell size, and where a person is heard, what was drawn."""
    image = f"{sample.sha256}.{sample.gsd_m:g}m"
    if sample.label_kind != "human":
        return f"{image}.{index}.{part}"
    drawn = hashlib.sha256(sample.target.tobytes() + sample.weight.tobytes()).hexdigest()
    return f"{image}.{drawn}.{index}.{part}"


def _holds(cache: Path, viewed: list[Sample]) -> bool:
    if not cache.is_file():
        return False
    with open_arrays(cache) as arrays:
        known = set(arrays.files)
    return all(_key(s, VIEWS_PER_IMAGE[s.label_kind] - 1, _PROBABILITY) in known for s in viewed)
