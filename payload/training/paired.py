"""Which of two models is better on the same patches, and how sure that is.

Patches differ from one another more than models do, so the intervals of two models overlap even
where one is better on every patch. Redrawing patches once for both models and taking the
difference of each draw removes what the patches share.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from payload.training.evaluation import (
    ALL,
    FIGURES,
    Estimate,
    Evaluation,
    EvaluationError,
    PatchScore,
    interval,
    redrawn_patches,
)


@dataclass(frozen=True)
class PairedDifference:
    """A figure of one model minus that of another on the same patches.

    Attributes
    ----------
    model, against : str
    label, collection, figure : str
        What was pooled and compared, as in `payload.training.evaluation`.
    difference : Estimate
        With the 95 % bootstrap interval over patches.
    """

    model: str
    against: str
    label: str
    collection: str
    figure: str
    difference: Estimate


def paired_difference(
    model: Evaluation,
    against: Evaluation,
    figure: str = "jaccard",
    label: str = "human",
    collection: str = ALL,
) -> PairedDifference:
    """Difference of a figure between two evaluations of the same scenes.

    Raises
    ------
    EvaluationError
        The evaluations are of different scenes, or none of them has the label and collection.
    """
    ours, theirs = (_chosen(e, label, collection) for e in (model, against))
    if [p.scene.full_name for p in ours] != [p.scene.full_name for p in theirs]:
        raise EvaluationError(
            f"{model.model!r} and {against.model!r} were evaluated on different scenes; evaluate "
            "them in one command"
        )
    of = FIGURES[figure]

    def differences(draws: np.ndarray) -> np.ndarray:
        values = (
            of(draws, np.stack([p.counts for p in part]), np.stack([p.bins for p in part]))
            for part in (ours, theirs)
        )
        return np.subtract(*values)

    value = float(differences(np.ones((1, len(ours))))[0])
    redrawn = differences(redrawn_patches(len(ours)))
    return PairedDifference(
        model.model, against.model, label, collection, figure, interval(value, redrawn, len(ours))
    )


def _chosen(evaluation: Evaluation, label: str, collection: str) -> Sequence[PatchScore]:
    chosen = [
        patch
        for patch in evaluation.patches
        if patch.scene.label == label and collection in (ALL, patch.scene.collection)
    ]
    if not chosen:
        raise EvaluationError(
            f"evaluation of {evaluation.model!r}: no patch has label {label!r} and collection "
            f"{collection!r}"
        )
    return chosen
