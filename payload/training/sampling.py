"""Drawing batches: step number in, batch out, nothing remembered in between.

Batch `k` depends on the seed and on `k` alone, so that a training resumed at step `k` sees
exactly what it would have seen uninterrupted. Scale is varied while cropping: a window larger or
smaller than the patch is cut and resampled, which stands for coarser or finer cells.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from payload.scenes import REFLECTANCE_SCALE
from payload.training.augmentation import Augmentation, Batch, augment
from payload.training.datasets import Sample, TrainingSet
from payload.training.soft_labels import FULL_SCALE

SCALE_RANGE: tuple[float, float] = (0.6, 3.0)
"""Window edge over patch edge; 3 takes cells of 10 m to 30 m. A window larger than the image
shows it mirrored."""

RESAMPLED_SHARE = 0.5
"""Share of patches cut at another scale than the image's own."""


class Sampler:
    """Draws augmented batches from a training set.

    Parameters
    ----------
    training_set : TrainingSet
    patch_px : int
        Edge of a patch.
    batch_size : int
    seed : int
    augmentation : Augmentation, optional
        Strengths; default when None.
    """

    def __init__(
        self,
        training_set: TrainingSet,
        patch_px: int,
        batch_size: int,
        seed: int = 0,
        augmentation: Augmentation | None = None,
    ) -> None:
        self.training_set = training_set
        self.patch_px = patch_px
        self.batch_size = batch_size
        self.seed = seed
        self.augmentation = augmentation or Augmentation()
        self._shares = training_set.sampling_weights / training_set.sampling_weights.sum()

    def draw(self, step: int) -> Batch:
        """Batch of a step; the same step always gives the same batch."""
        rng = np.random.default_rng([self.seed, step])
        chosen = rng.choice(len(self._shares), size=self.batch_size, p=self._shares)
        patches = [cut_patch(self.training_set.samples[int(i)], self.patch_px, rng) for i in chosen]
        stacked = np.stack(patches)
        batch = Batch(
            *(np.ascontiguousarray(part) for part in np.split(stacked, [4, 5, 6, 7], axis=1))
        )
        return augment(batch, rng, self.augmentation)


def cut_patch(
    sample: Sample, patch_px: int, rng: np.random.Generator, scale: float | None = None
) -> NDArray[np.float32]:
    """A random window of a sample, at a random scale unless one is given.

    Returns
    -------
    ndarray of float32, shape (8, patch_px, patch_px)
        Reflectance of four bands, target, weight, teacher, and whether anybody says anything.
    """
    height, width = sample.target.shape
    if scale is None:
        scale = _random_scale(rng)
    window_px = max(8, round(patch_px * scale))
    top = int(rng.integers(0, max(1, height - window_px + 1)))
    left = int(rng.integers(0, max(1, width - window_px + 1)))
    window = _window(sample, slice(top, top + window_px), slice(left, left + window_px))
    missing = [(0, max(0, window_px - n)) for n in window.shape[1:]]
    window = np.pad(window, [(0, 0), *missing], mode="symmetric")
    return _resampled(window, patch_px)


def _random_scale(rng: np.random.Generator) -> float:
    if rng.random() >= RESAMPLED_SHARE:
        return 1.0
    return float(np.exp(rng.uniform(*np.log(SCALE_RANGE))))


def _window(sample: Sample, rows: slice, columns: slice) -> NDArray[np.float32]:
    reflectance = sample.digital_number[:, rows, columns].astype(np.float32) / REFLECTANCE_SCALE
    teacher = sample.target if sample.teacher is None else sample.teacher
    bytes_ = np.stack([a[rows, columns] for a in (sample.target, sample.weight, teacher)])
    fractions = bytes_.astype(np.float32) / FULL_SCALE
    unknown = np.any(reflectance != 0, axis=0) & (fractions[1] == 0) & (sample.teacher is None)
    return np.concatenate([reflectance, fractions, ~unknown[None]]).astype(np.float32)


def _resampled(window: NDArray[np.float32], patch_px: int) -> NDArray[np.float32]:
    if window.shape[1:] == (patch_px, patch_px):
        return window
    tensor = torch.from_numpy(window)[None]
    size = (patch_px, patch_px)
    smooth = functional.interpolate(
        tensor, size, mode="bilinear", antialias=True, align_corners=False
    )
    # Beside a gap in the data, smoothing mixes it with ground: such pixels count as gap too.
    gap = (tensor[:, :4] == 0).all(dim=1, keepdim=True).float()
    gap = functional.interpolate(gap, size, mode="bilinear", antialias=True, align_corners=False)
    keep = gap < 0.01
    smooth[:, :4] *= keep
    smooth[:, 5:6] *= keep
    smooth[:, 7:8] = smooth[:, 7:8] > 0.5
    return np.asarray(smooth[0].numpy(), dtype=np.float32)
