"""Making a student's 0.5 mean something.

A network trained with Dice is sure of itself where it should not be, and its 0.5 lies wherever
training left it. Calibration moves and stretches the logit, `logit' = slope * (logit - threshold)`:

* the threshold is the one with the best pooled Jaccard on all that was learnt from, among those
  that call no more than a stated fraction cloud of what a person called clear, because a clear
  pixel thrown away on board is lost;
* the slope is the one that makes the probabilities likeliest, given that threshold.

Both are found on freshly augmented training patches, which are nearer to unseen images than the
patches as they were learnt; validation scenes play no part. The few patches a person labelled set
the limit, not the threshold: known by heart, they leave it almost free, and trainings that are
alike in all else would draw outlines a pixel apart. The result is two numbers that are merged
into the last convolution: a calibrated student costs nothing extra.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar

from payload.training.augmentation import Batch
from payload.training.sampling import Sampler
from payload.training.students import Student

LOGIT_LIMIT = 20.0
"""Logits are binned within plus and minus this; beyond, a probability is 0 or 1 anyway."""

LOGIT_BINS = 2000

SLOPE_RANGE = (0.1, 4.0)

CALIBRATION_BATCHES = 64
"""Batches drawn beyond those of the training, of each kind; at 6 patches of 192 px some 14 million
pixels."""

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class Calibration:
    """How a student was calibrated, and what that gave on the calibration patches.

    Attributes
    ----------
    threshold, slope : float
        Of `logit' = slope * (logit - threshold)`.
    false_cloud_fraction : float
        Clear pixels called cloud at the operating point, where a person labelled.
    jaccard : float
        Pooled Jaccard at the operating point, on all that was learnt from.
    """

    threshold: float
    slope: float
    false_cloud_fraction: float
    jaccard: float


@dataclass(frozen=True)
class LogitHistogram:
    """Trusted weight of clear and cloudy pixels per bin of the logit, each (LOGIT_BINS,)."""

    clear: FloatArray
    cloud: FloatArray

    @property
    def edges(self) -> FloatArray:
        """Lower edges of the bins: the candidate thresholds."""
        return np.linspace(-LOGIT_LIMIT, LOGIT_LIMIT, LOGIT_BINS + 1)[:-1]

    @property
    def centres(self) -> FloatArray:
        """Middles of the bins."""
        return self.edges + LOGIT_LIMIT / LOGIT_BINS


def calibrate(
    student: Student,
    *,
    learnt: Sampler,
    drawn: Sampler,
    first_step: int,
    false_cloud_fraction: float,
) -> Calibration:
    """Find threshold and slope on patches from `first_step` on, and merge them.

    The student is changed: its probability 0.5 is the operating point afterwards.

    Parameters
    ----------
    student : Student
    learnt, drawn : Sampler
        Of all that was learnt from, and of what a person labelled.
    first_step : int
        Steps before it were learnt from.
    false_cloud_fraction : float
        Largest share that may be called cloud of what a person called clear.
    """
    steps = range(first_step, first_step + CALIBRATION_BATCHES)
    calibration = fit(
        logit_histogram(student, (learnt.draw(step) for step in steps)),
        logit_histogram(student, (drawn.draw(step) for step in steps)),
        false_cloud_fraction,
    )
    with torch.no_grad():
        student.head.bias.sub_(calibration.threshold).mul_(calibration.slope)
        student.head.weight.mul_(calibration.slope)
    return calibration


@torch.no_grad()
def logit_histogram(student: Student, batches: Iterable[Batch]) -> LogitHistogram:
    """Distribution of the logit over trusted pixels, by what the target says."""
    student.eval()
    clear, cloud = np.zeros(LOGIT_BINS), np.zeros(LOGIT_BINS)
    for batch in batches:
        logit = student.logit(torch.from_numpy(batch.reflectance)).numpy()
        scaled = (logit + LOGIT_LIMIT) * (LOGIT_BINS / (2 * LOGIT_LIMIT))
        index = np.clip(scaled, 0, LOGIT_BINS - 1).astype(np.int64).ravel()
        weight, target = batch.weight.ravel(), batch.target.ravel()
        clear += np.bincount(index, weight * (1 - target), minlength=LOGIT_BINS)
        cloud += np.bincount(index, weight * target, minlength=LOGIT_BINS)
    return LogitHistogram(clear, cloud)


def fit(learnt: LogitHistogram, drawn: LogitHistogram, false_cloud_fraction: float) -> Calibration:
    """Threshold and slope that follow from distributions of logits.

    Parameters
    ----------
    learnt, drawn : LogitHistogram
        Of all that was learnt from, and of what a person labelled.
    false_cloud_fraction : float
        Largest share that may be called cloud of what a person called clear.
    """
    jaccard = _found(learnt.cloud) / np.maximum(learnt.cloud.sum() + _found(learnt.clear), 1e-9)
    false_cloud = _found(drawn.clear) / max(drawn.clear.sum(), 1e-9)
    allowed = false_cloud <= false_cloud_fraction
    # The highest threshold is always a candidate: nothing is called cloud there but its own bin.
    allowed[-1] = True
    best = int(np.argmax(np.where(allowed, jaccard, -1.0)))
    threshold = float(learnt.edges[best])
    return Calibration(
        threshold=threshold,
        slope=likeliest_slope(learnt, threshold),
        false_cloud_fraction=float(false_cloud[best]),
        jaccard=float(jaccard[best]),
    )


def _found(weights: FloatArray) -> FloatArray:
    """Weight at or above each candidate threshold."""
    return weights[::-1].cumsum()[::-1]


def likeliest_slope(histogram: LogitHistogram, threshold: float) -> float:
    """Slope of `slope * (logit - threshold)` under which the labels are likeliest."""
    distance = histogram.centres - threshold

    def surprise(slope: float) -> float:
        cloud = np.logaddexp(0, -slope * distance) @ histogram.cloud
        clear = np.logaddexp(0, slope * distance) @ histogram.clear
        return float(cloud + clear)

    return float(minimize_scalar(surprise, bounds=SLOPE_RANGE, method="bounded").x)
