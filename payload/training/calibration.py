"""Making a student's 0.5 mean something.

A network trained with Dice is sure of itself where it should not be, and its 0.5 lies wherever
training left it. Calibration moves and stretches the logit, `logit' = slope * (logit - threshold)`:

* the threshold is the one with the best pooled Jaccard among those that call no more than a
  stated fraction of clear pixels cloud, because a clear pixel thrown away on board is lost;
* the slope is the one that makes the probabilities likeliest, given that threshold.

Both are found on freshly augmented training patches, which are nearer to unseen images than the
patches as they were learnt; validation scenes play no part. The result is two numbers that are
merged into the last convolution: a calibrated student costs nothing extra.
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
"""Batches drawn beyond those of the training; at 6 patches of 192 px some 14 million pixels."""

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class Calibration:
    """How a student was calibrated, and what that gave on the calibration patches.

    Attributes
    ----------
    threshold, slope : float
        Of `logit' = slope * (logit - threshold)`.
    false_cloud_fraction : float
        Clear pixels called cloud at the operating point.
    jaccard : float
        Pooled Jaccard at the operating point.
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
    student: Student, sampler: Sampler, first_step: int, false_cloud_fraction: float
) -> Calibration:
    """Find threshold and slope on patches of `sampler` from `first_step` on, and merge them.

    The student is changed: its probability 0.5 is the operating point afterwards.
    """
    histogram = logit_histogram(
        student, (sampler.draw(first_step + i) for i in range(CALIBRATION_BATCHES))
    )
    calibration = fit(histogram, false_cloud_fraction)
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


def fit(histogram: LogitHistogram, false_cloud_fraction: float) -> Calibration:
    """Threshold and slope that follow from a distribution of logits.

    Parameters
    ----------
    histogram : LogitHistogram
    false_cloud_fraction : float
        Largest share of clear pixels that may be called cloud.
    """
    false_cloud = histogram.clear[::-1].cumsum()[::-1]
    found_cloud = histogram.cloud[::-1].cumsum()[::-1]
    false_fraction = false_cloud / max(histogram.clear.sum(), 1e-9)
    jaccard = found_cloud / np.maximum(histogram.cloud.sum() + false_cloud, 1e-9)
    allowed = false_fraction <= false_cloud_fraction
    # The highest threshold is always a candidate: nothing is called cloud there but its own bin.
    allowed[-1] = True
    best = int(np.argmax(np.where(allowed, jaccard, -1.0)))
    threshold = float(histogram.edges[best])
    return Calibration(
        threshold=threshold,
        slope=likeliest_slope(histogram, threshold),
        false_cloud_fraction=float(false_fraction[best]),
        jaccard=float(jaccard[best]),
    )


def likeliest_slope(histogram: LogitHistogram, threshold: float) -> float:
    """Slope of `slope * (logit - threshold)` under which the labels are likeliest."""
    distance = histogram.centres - threshold

    def surprise(slope: float) -> float:
        cloud = np.logaddexp(0, -slope * distance) @ histogram.cloud
        clear = np.logaddexp(0, slope * distance) @ histogram.clear
        return float(cloud + clear)

    return float(minimize_scalar(surprise, bounds=SLOPE_RANGE, method="bounded").x)
