"""What a wrong answer costs: cross-entropy, Dice, and distance from a teacher.

Targets are probabilities and each pixel weighs as much as its label is trusted. Both kinds of Dice
are pooled over the batch; the teacher's is nnU-Net's, the students' has squares below the line and
so does not reward being surer than a soft target.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from payload.training.augmentation import Batch

DEEP_SUPERVISION_LEVELS = 4
"""Coarser outputs beyond this many say little about outlines and are left out."""

LEAST_TRUST = 0.5
DICE_SMOOTHING = 0.01
"""As shares of a batch's pixels."""

TEACHER_CERTAINTY = 0.98
"""The teacher's probability is taken as within 1 - this and this: its bytes cannot say more."""


def cloud_logit(output: Tensor) -> Tensor:
    """Log-odds of cloud, shape (N, 1, H, W), from one channel or from two classes."""
    return output if output.shape[1] == 1 else output[:, 1:2] - output[:, 0:1]


def segmentation_loss(outputs: Sequence[Tensor], batch: Batch) -> Tensor:
    """Weighted soft cross-entropy plus Dice, summed over scales with weights 1, 1/2, 1/4...

    Parameters
    ----------
    outputs : sequence of Tensor
        Finest first; each (N, 1 or 2, h, w).
    batch : Batch
        Targets are averaged down to each output's scale.
    """
    target, weight = torch.from_numpy(batch.target), torch.from_numpy(batch.weight)
    total, share = torch.zeros(()), 1.0
    for output in outputs[:DEEP_SUPERVISION_LEVELS]:
        logit = cloud_logit(output)
        factor = target.shape[-1] // logit.shape[-1]
        y = functional.avg_pool2d(target, factor) if factor > 1 else target
        w = functional.avg_pool2d(weight, factor) if factor > 1 else weight
        total = total + share * (
            cross_entropy(logit, y, w, LEAST_TRUST) + batch_dice_loss(logit, y, w)
        )
        share /= 2
    return total


def batch_dice_loss(logit: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    """One minus the Dice coefficient pooled over the batch (nnU-Net's ``batch_dice``).

    `DICE_SMOOTHING` keeps a batch without cloud from losing everything over a few pixels.
    """
    probability = torch.sigmoid(logit)
    overlap = (weight * probability * target).sum()
    size = (weight * (probability + target)).sum()
    smoothing = DICE_SMOOTHING * weight.numel()
    return 1 - (2 * overlap + smoothing) / (size + smoothing)


def cross_entropy(
    logit: Tensor, target: Tensor, weight: Tensor, least_trust: float = 0.0
) -> Tensor:
    """Mean binary cross-entropy over pixels weighted by trust; all (n, 1, h, w).

    A batch trusted less than `least_trust` on average is not blown up to count like others.
    """
    per_px = functional.binary_cross_entropy_with_logits(logit, target, reduction="none")
    return (weight * per_px).sum() / weight.sum().clamp_min(max(1.0, least_trust * weight.numel()))


def squared_dice_loss(logit: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    """1 - Dice over all pixels of the batch together, as the pooled Jaccard counts them.

    Milletari, Navab, Ahmadi 2016, with squares in the denominator. Pooling over the batch keeps
    patches without any cloud, where Dice says nothing, from dominating.
    """
    probability = torch.sigmoid(logit)
    overlap = (weight * probability * target).sum()
    total = (weight * (probability.square() + target.square())).sum()
    return 1 - (2 * overlap + 1) / (total + 1)


@dataclass(frozen=True)
class SoftTarget:
    """What a teacher says, softened by a temperature; nothing in it depends on the student.

    Attributes
    ----------
    probability : Tensor of float32, shape (n, 1, h, w)
    weight : Tensor of float32, shape (n, 1, h, w)
    entropy : Tensor of float32, shape ()
        Weighted mean cross-entropy of the target with itself: what no student can undercut.
    temperature : float
    """

    probability: Tensor
    weight: Tensor
    entropy: Tensor
    temperature: float


def softened(teacher: Tensor, weight: Tensor, temperature: float) -> SoftTarget:
    """Soften a teacher's probabilities; both (n, 1, h, w)."""
    certain = teacher.clamp(1 - TEACHER_CERTAINTY, TEACHER_CERTAINTY)
    probability = torch.sigmoid(torch.logit(certain) / temperature)
    entropy = cross_entropy(torch.logit(probability), probability, weight)
    return SoftTarget(probability, weight, entropy, temperature)


def soft_loss(logit: Tensor, target: SoftTarget) -> Tensor:
    """Divergence of the student from the teacher, both softened; logit (n, 1, h, w).

    Multiplied by the temperature squared, so that its gradient keeps its size; the teacher's own
    entropy is subtracted, so that a perfect student has loss 0.
    """
    temperature = target.temperature
    crossed = cross_entropy(logit / temperature, target.probability, target.weight)
    return temperature**2 * (crossed - target.entropy)
