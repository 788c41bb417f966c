"""How good a model is, said so that it can be trusted.

Everything starts from counts per patch: cloud found, cloud missed, clear called cloud, clear left
clear. Pooled figures are ratios of summed counts (so a patch without cloud counts too, which a
mean of per-patch Jaccards cannot do), and their intervals come from drawing whole patches with
replacement, because the pixels of a patch are no independent evidence. Of few patches such an
interval is too narrow (`FEW_PATCHES`), and of two it spans just those two.

Labels a person drew and labels another detector made are never pooled: agreeing with a detector
is not the same as being right. Thin cloud is cloud, cloud shadow is clear, no data is left out.

Neither torch nor the training extras are needed here: a card and its ONNX file are evaluated,
foreign models included, in windows of the tile's size. In flight a smaller window is filled up to a
whole tile by mirroring, which changes some pixels near its inner rim.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from payload.card import JaccardRecord
from payload.frame import NO_DATA
from payload.model import CloudModel
from payload.scenes import UNLABELLED, Scene, labelled_cloud
from payload.surfaces import UNKNOWN_SURFACE, spectral_surface

FEW_PATCHES = 10
"""Under so many patches a 95 % interval holds the true value clearly less often: 0.50 of the time
with 2 patches, 0.73 with 3, 0.82 with 5, 0.88 with 8, 0.93 with 20 (1,500 simulated sets of patches
each; `tests/payload/training/test_interval_coverage.py`)."""

CALIBRATION_BINS = 15
"""Bins of equal width of the predicted probability for the expected calibration error."""

BOOTSTRAP_DRAWS = 4000
BOOTSTRAP_SEED = 20_230_616
CONFIDENCE = 0.95

CARD_DECIMALS = 6
"""Far more than are shown: rounded twice, 0.75453 became 0.754 in a table and 0.755 in another."""

ALL = "all"
"""Name of the group that pools collections, or surfaces, of one label kind."""

Counts = NDArray[np.int64]
FloatArray = NDArray[np.float64]

Figure = Callable[[FloatArray, Counts, FloatArray], FloatArray]
"""How often each patch was drawn (draws, patches), counts (patches, 4) and calibration bins
(patches, 3, CALIBRATION_BINS) to one value per draw."""


class EvaluationError(ValueError):
    """There is nothing to evaluate on; the message says what was looked for."""


@dataclass(frozen=True)
class PatchScore:
    """What a model did on one patch.

    Attributes
    ----------
    scene : Scene
    counts : ndarray of int64, shape (4,)
        Pixels: cloud found, clear called cloud, cloud missed, clear left clear.
    bins : ndarray of float64, shape (3, CALIBRATION_BINS)
        Per bin of predicted probability: pixels, sum of probability, cloud pixels.
    mask : ndarray of uint8, shape (H, W)
        1 cloud, 0 clear, 255 where there is no data or no label.
    """

    scene: Scene
    counts: Counts
    bins: FloatArray
    mask: NDArray[np.uint8]

    @property
    def wrong_fraction(self) -> float:
        """Share of labelled pixels judged wrongly; 0 without labelled pixels."""
        labelled = int(self.counts.sum())
        return float(self.counts[1] + self.counts[2]) / labelled if labelled else 0.0


@dataclass(frozen=True)
class Estimate:
    """A figure with its 95 % bootstrap interval over patches; NaN where it is not defined.

    One patch has no interval.
    """

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class GroupScore:
    """Figures of one model over one group of patches with labels of one kind.

    Attributes
    ----------
    label, collection, surface : str
        What was pooled; `ALL` where several were.
    patches, pixels, cloud_fraction
        How much evidence, and the share of it that is cloud.
    figures : mapping of str to Estimate
        The keys of `FIGURES`.
    """

    label: str
    collection: str
    surface: str
    patches: int
    pixels: int
    cloud_fraction: float
    figures: Mapping[str, Estimate]


@dataclass(frozen=True)
class Evaluation:
    """A model on a set of scenes: every patch, and the groups that can be formed of them."""

    model: str
    patches: tuple[PatchScore, ...]
    groups: tuple[GroupScore, ...]

    def group(self, label: str, collection: str = ALL, surface: str = ALL) -> GroupScore:
        """The group of that name.

        Raises
        ------
        EvaluationError
            There were no such patches.
        """
        wanted = (label, collection, surface)
        for group in self.groups:
            if (group.label, group.collection, group.surface) == wanted:
                return group
        raise EvaluationError(
            f"evaluation of {self.model!r}: no patches of label, collection, surface {wanted}; "
            f"there are {[(g.label, g.collection, g.surface) for g in self.groups]}"
        )


def select_scenes(
    scenes: Iterable[Scene], split: str | None = None, collections: Sequence[str] = ()
) -> list[Scene]:
    """Labelled scenes of a split and of the named collections (all when none is named).

    Raises
    ------
    EvaluationError
        None is left, or none of a collection that is named.
    """
    scenes = list(scenes)
    chosen = [
        scene
        for scene in scenes
        if scene.label != UNLABELLED
        and (split is None or scene.split == split)
        and (not collections or scene.collection in collections)
    ]
    empty = sorted(set(collections) - {scene.collection for scene in chosen})
    if empty or not chosen:
        available = sorted({(s.collection, s.split) for s in scenes if s.label != UNLABELLED})
        raise EvaluationError(
            f"no labelled scene has split {split or 'any'!r} and collection {empty or 'any'}; "
            f"there are (collection, split) {available}"
        )
    return chosen


def evaluate(
    model: CloudModel,
    scenes: Sequence[Scene],
    report: Callable[[int, int], None] = lambda _done, _all: None,
) -> Evaluation:
    """Run a model over labelled scenes and score it.

    Parameters
    ----------
    model : CloudModel
        Any model that has a card.
    scenes : sequence of Scene
        Of `select_scenes`.
    report : callable
        Told (scenes done, scenes in all).
    """
    patches = []
    for done, scene in enumerate(scenes, 1):
        patches.append(score_scene(model, scene))
        report(done, len(scenes))
    return Evaluation(model.card.name, tuple(patches), tuple(group_scores(patches)))


def score_scene(model: CloudModel, scene: Scene) -> PatchScore:
    """Detect cloud in a scene and compare with its label.

    Where nobody said what the ground is, `payload.surfaces.spectral_surface` guesses it.

    Raises
    ------
    EvaluationError
        The scene has no label.
    """
    truth = scene.truth()
    if truth is None:
        raise EvaluationError(f"{scene.full_name}: has no label, so nothing can be compared")
    reflectance = scene.reflectance()
    if scene.surface == UNKNOWN_SURFACE:
        scene = replace(scene, surface=spectral_surface(reflectance, truth))
    truth = np.where(np.any(reflectance != 0, axis=0), truth, NO_DATA).astype(np.uint8)
    probability = model.probability(reflectance[None])[0]
    return score_patch(scene, probability, truth)


def score_patch(
    scene: Scene, probability: NDArray[np.float32], truth: NDArray[np.uint8]
) -> PatchScore:
    """Compare a cloud probability (H, W) with a mask (H, W) as in `payload.scenes`."""
    labelled = truth != NO_DATA
    cloud = labelled_cloud(truth[labelled])
    predicted = probability[labelled].astype(np.float64)
    called = predicted >= 0.5
    counts = [(called & cloud), (called & ~cloud), (~called & cloud), (~called & ~cloud)]
    index = np.minimum((predicted * CALIBRATION_BINS).astype(np.int64), CALIBRATION_BINS - 1)
    bins = [
        np.bincount(index, weights, minlength=CALIBRATION_BINS)
        for weights in (np.ones_like(predicted), predicted, cloud.astype(np.float64))
    ]
    mask = np.where(labelled, probability >= 0.5, NO_DATA).astype(np.uint8)
    return PatchScore(scene, np.array([c.sum() for c in counts], np.int64), np.stack(bins), mask)


def group_scores(patches: Sequence[PatchScore]) -> list[GroupScore]:
    """Every group worth a row: per label kind, per collection, and per surface."""
    groups: list[GroupScore] = []
    for label in sorted({p.scene.label for p in patches}):
        of_label = [p for p in patches if p.scene.label == label]
        groups.append(_group(of_label, label, ALL, ALL))
        for collection in sorted({p.scene.collection for p in of_label}):
            part = [p for p in of_label if p.scene.collection == collection]
            groups.append(_group(part, label, collection, ALL))
        for surface in sorted({p.scene.surface for p in of_label}):
            part = [p for p in of_label if p.scene.surface == surface]
            groups.append(_group(part, label, ALL, surface))
    return groups


def _group(patches: Sequence[PatchScore], label: str, collection: str, surface: str) -> GroupScore:
    counts = np.stack([p.counts for p in patches])
    bins = np.stack([p.bins for p in patches])
    total = counts.sum()
    return GroupScore(
        label=label,
        collection=collection,
        surface=surface,
        patches=len(patches),
        pixels=int(total),
        cloud_fraction=float(_ratio(counts[:, [0, 2]].sum(), total)),
        figures=MappingProxyType(
            {name: _estimate(figure, counts, bins) for name, figure in FIGURES.items()}
        ),
    )


def _estimate(
    figure: Figure,
    counts: Counts,
    bins: FloatArray,
) -> Estimate:
    """A figure on the patches as they are, and its percentile interval over redrawn patches."""
    patches = len(counts)
    value = float(figure(np.ones((1, patches)), counts, bins)[0])
    return interval(value, figure(redrawn_patches(patches), counts, bins), patches)


def redrawn_patches(patches: int) -> FloatArray:
    """How often each patch is drawn in each bootstrap draw; the same for every model."""
    generator = np.random.default_rng(BOOTSTRAP_SEED)
    draws = generator.multinomial(patches, np.full(patches, 1 / patches), BOOTSTRAP_DRAWS)
    return draws.astype(np.float64)


def interval(value: float, redrawn: FloatArray, patches: int) -> Estimate:
    """A value with the percentile interval of its redrawn values; none from a single patch."""
    redrawn = redrawn[np.isfinite(redrawn)]
    if patches == 1 or not redrawn.size:  # one patch redrawn is always itself: no certainty
        return Estimate(value, float("nan"), float("nan"))
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(redrawn, [tail, 1 - tail])
    return Estimate(value, float(low), float(high))


def _jaccard(drawn: FloatArray, counts: Counts, _bins: FloatArray) -> FloatArray:
    found, false, missed, _ = (drawn @ counts).T
    return _ratio(found, found + false + missed)


def _scene_jaccard(drawn: FloatArray, counts: Counts, _bins: FloatArray) -> FloatArray:
    """Mean of per-patch Jaccards, as 38-Cloud averages; only where there is any cloud to find
    or any false cloud, as it is undefined elsewhere."""
    union = counts[:, :3].sum(axis=1)
    defined = (union > 0).astype(np.float64)
    each = np.where(union > 0, counts[:, 0] / np.maximum(union, 1), 0.0)
    return _ratio(drawn @ each, drawn @ defined)


def _accuracy(drawn: FloatArray, counts: Counts, _bins: FloatArray) -> FloatArray:
    pooled = drawn @ counts
    return _ratio(pooled[:, 0] + pooled[:, 3], pooled.sum(axis=1))


def _precision(drawn: FloatArray, counts: Counts, _bins: FloatArray) -> FloatArray:
    found, false, _, _ = (drawn @ counts).T
    return _ratio(found, found + false)


def _recall(drawn: FloatArray, counts: Counts, _bins: FloatArray) -> FloatArray:
    found, _, missed, _ = (drawn @ counts).T
    return _ratio(found, found + missed)


def _false_cloud_fraction(drawn: FloatArray, counts: Counts, _bins: FloatArray) -> FloatArray:
    _, false, _, clear = (drawn @ counts).T
    return _ratio(false, false + clear)


def _calibration_error(drawn: FloatArray, _counts: Counts, bins: FloatArray) -> FloatArray:
    """Expected calibration error: mean over pixels of |cloud share - probability| of their bin."""
    pixels, probability, cloud = (drawn @ bins[:, i] for i in range(3))
    return _ratio(np.abs(cloud - probability).sum(axis=1), pixels.sum(axis=1))


FIGURES: Mapping[str, Figure] = MappingProxyType(
    {
        "jaccard": _jaccard,
        "scene_jaccard": _scene_jaccard,
        "accuracy": _accuracy,
        "precision": _precision,
        "recall": _recall,
        "false_cloud_fraction": _false_cloud_fraction,
        "calibration_error": _calibration_error,
    }
)
"""What is reported of a group, by name."""


def _ratio(part: NDArray[np.number], whole: NDArray[np.number]) -> FloatArray:
    part, whole = np.asarray(part, np.float64), np.asarray(whole, np.float64)
    return np.where(whole > 0, part / np.where(whole > 0, whole, 1), np.nan)


def jaccard_records(evaluation: Evaluation, split: str) -> tuple[JaccardRecord, ...]:
    """What the card keeps of an evaluation: the Jaccard per collection and of all, per label."""
    return tuple(
        JaccardRecord(
            data_set=group.collection,
            split=split,
            label=group.label,
            protocol=(
                f"pooled over {group.patches} patches{_of_collections(evaluation, group)}, "
                "threshold 0.5, thin cloud is cloud"
            ),
            value=round(group.figures["jaccard"].value, CARD_DECIMALS),
            ci95=_rounded(group.figures["jaccard"]),
        )
        for group in evaluation.groups
        if group.surface == ALL and np.isfinite(group.figures["jaccard"].value)
    )


def _of_collections(evaluation: Evaluation, group: GroupScore) -> str:
    """Which collections were pooled: scores over other scenes are no scores of these."""
    if group.collection != ALL:
        return ""
    others = {g.collection for g in evaluation.groups if g.label == group.label} - {ALL}
    return f" of {', '.join(sorted(others))}"


def _rounded(estimate: Estimate) -> tuple[float, float] | None:
    if not np.isfinite([estimate.low, estimate.high]).all():
        return None
    return round(estimate.low, CARD_DECIMALS), round(estimate.high, CARD_DECIMALS)


def as_plain(evaluation: Evaluation) -> dict[str, object]:
    """The evaluation as plain values for JSON; a figure that is not defined is null."""
    return {
        "model": evaluation.model,
        "groups": [_group_as_plain(group) for group in evaluation.groups],
        "patches": [
            {
                "scene": patch.scene.full_name,
                "split": patch.scene.split,
                "label": patch.scene.label,
                "surface": patch.scene.surface,
                "counts_px": dict(
                    zip(
                        ("cloud_found", "false_cloud", "cloud_missed", "clear"),
                        patch.counts.tolist(),
                        strict=True,
                    )
                ),
            }
            for patch in evaluation.patches
        ],
    }


def _group_as_plain(group: GroupScore) -> dict[str, object]:
    figures = {
        name: [_finite(value) for value in (estimate.value, estimate.low, estimate.high)]
        for name, estimate in group.figures.items()
    }
    return {
        "label": group.label,
        "collection": group.collection,
        "surface": group.surface,
        "patches": group.patches,
        "pixels": group.pixels,
        "cloud_fraction": _finite(group.cloud_fraction),
        "figures_value_low_high": figures,
    }


def _finite(value: float) -> float | None:
    """A figure for JSON, which knows no NaN."""
    return round(value, CARD_DECIMALS) if np.isfinite(value) else None
