"""The students: a family of compact U-Nets, one shape in four sizes.

Shape decides speed more than the number of weights does. So every student

* halves the image in its first convolution: the costly full resolution is never computed on;
* carries channels in multiples of 8, the width of the vector units it runs on;
* joins the skip connections by addition after a 1x1 convolution, not by concatenation, so that
  the widest and largest convolution of a plain U-Net does not exist;
* keeps its weights where pixels are few: most sit at 1/16 and 1/32 of the image edge, where they
  also see enough ground to tell a snowfield from a cloud.

Only 3x3 and 1x1 convolutions, stride 2, nearest upsampling, ReLU and addition occur, then one
sigmoid and one bilinear upsampling by 2: what every accelerator runs. Batch normalisation exists
during training only; `fold` merges it, and the normalisation of the input, into the weights.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from types import MappingProxyType

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from payload.frame import BANDS

REFLECTANCE_MEAN = (0.25, 0.24, 0.25, 0.33)
"""Centre of the input per band; rounded means of the training patches. Only the scale matters."""

REFLECTANCE_STD = (0.25, 0.24, 0.25, 0.24)
"""Spread of the input per band, likewise."""


@dataclass(frozen=True)
class StudentShape:
    """The widths of one student.

    Attributes
    ----------
    size : str
        Name in the family, the rounded number of weights, for example ``120k``.
    widths : tuple of int
        Channels at 1/2, 1/4, 1/8, ... of the image edge.
    """

    size: str
    widths: tuple[int, ...]

    def convolutions(self) -> Iterator[tuple[int, int, int, int]]:
        """Yield (in channels, out channels, kernel edge, divisor of the image edge), in order.

        The divisor is that of the output: a convolution at divisor 4 runs once per 16 pixels.
        """
        widths = self.widths
        yield len(BANDS), widths[0], 3, 2
        for level in range(1, len(widths)):
            yield widths[level - 1], widths[level], 3, 2 ** (level + 1)
            yield widths[level], widths[level], 3, 2 ** (level + 1)
        for level in range(len(widths) - 2, -1, -1):
            yield widths[level + 1], widths[level], 1, 2 ** (level + 2)
            yield widths[level], widths[level], 3, 2 ** (level + 1)
        yield widths[0], 1, 1, 2

    @property
    def parameters(self) -> int:
        """Weights and biases once batch normalisation is folded."""
        return sum(i * o * k * k + o for i, o, k, _ in self.convolutions())

    @property
    def macs_per_px(self) -> float:
        """Multiply-accumulates of the convolutions per pixel of the image."""
        return sum(i * o * k * k / divisor**2 for i, o, k, divisor in self.convolutions())


FAMILY = MappingProxyType(
    {
        shape.size: shape
        for shape in (
            StudentShape("8k", (8, 8, 8, 8, 8)),
            StudentShape("30k", (8, 8, 16, 24, 16)),
            StudentShape("120k", (16, 24, 32, 40, 40)),
            StudentShape("480k", (24, 40, 64, 88, 88)),
        )
    }
)
"""The students by size."""

SMALLEST_EDGE_PX = 32
"""Height and width of an image must be multiples of this: five halvings."""


class StudentError(ValueError):
    """There is no such student, or what it is given does not fit it."""


def student_shape(size: str) -> StudentShape:
    """The shape of a size such as ``120k``.

    Raises
    ------
    StudentError
        The family has no such size.
    """
    if size not in FAMILY:
        raise StudentError(f"student size {size!r} does not exist; choose one of {list(FAMILY)}")
    return FAMILY[size]


@dataclass(frozen=True)
class FoldedConvolution:
    """One convolution as it flies: weight (out, in, k, k), bias (out,), stride, ReLU or not."""

    weight: NDArray[np.float32]
    bias: NDArray[np.float32]
    stride: int
    relu: bool


@dataclass(frozen=True)
class FoldedStudent:
    """A student reduced to its convolutions, in the order of `StudentShape.convolutions`.

    The first `1 + 2 * (levels - 1)` make the encoder, then come a 1x1 and a 3x3 convolution per
    level of the decoder, then the head.
    """

    shape: StudentShape
    convolutions: tuple[FoldedConvolution, ...]


class NormalisedConvolution(nn.Module):
    """Convolution without bias, batch normalisation, ReLU."""

    def __init__(self, inputs: int, outputs: int, stride: int = 1, padding: int = 1) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(inputs, outputs, 3, stride, padding, bias=False)
        self.normalisation = nn.BatchNorm2d(outputs)

    def forward(self, x: Tensor) -> Tensor:
        """Shape (n, inputs, h, w) to (n, outputs, h / stride, w / stride)."""
        return F.relu(self.normalisation(self.convolution(x)))

    def folded(self) -> FoldedConvolution:
        """The same map at inference as one convolution."""
        norm = self.normalisation
        scale = norm.weight / torch.sqrt(norm.running_var + norm.eps)
        weight = self.convolution.weight * scale[:, None, None, None]
        bias = norm.bias - norm.running_mean * scale
        return FoldedConvolution(_numpy(weight), _numpy(bias), self.convolution.stride[0], True)


class Student(nn.Module):
    """A compact U-Net from reflectance to the logit of cloud.

    Parameters
    ----------
    shape : StudentShape
        Widths of its levels.
    """

    def __init__(self, shape: StudentShape) -> None:
        super().__init__()
        widths = shape.widths
        self.shape = shape
        self.register_buffer("mean", torch.tensor(REFLECTANCE_MEAN)[:, None, None])
        self.register_buffer("std", torch.tensor(REFLECTANCE_STD)[:, None, None])
        self.stem = NormalisedConvolution(len(BANDS), widths[0], stride=2, padding=0)
        self.down = nn.ModuleList(
            nn.Sequential(NormalisedConvolution(a, b, stride=2), NormalisedConvolution(b, b))
            for a, b in pairwise(widths)
        )
        self.lateral = nn.ModuleList(nn.Conv2d(b, a, 1) for a, b in pairwise(widths))
        self.up = nn.ModuleList(NormalisedConvolution(a, a) for a in widths[:-1])
        self.head = nn.Conv2d(widths[0], 1, 1)

    def forward(self, reflectance: Tensor) -> Tensor:
        """Logit of cloud at half resolution.

        Parameters
        ----------
        reflectance : Tensor of float32, shape (n, 4, h, w)
            h and w multiples of 32.

        Returns
        -------
        Tensor of float32, shape (n, 1, h / 2, w / 2)
        """
        # The border is padded before normalisation, with the 0 that also means no data: only
        # then can the normalisation be folded into the weights exactly.
        x = self.stem(F.pad(reflectance, (1, 1, 1, 1)).sub_(self.mean).div_(self.std))
        skips = [x]
        for down in self.down:
            skips.append(down(skips[-1]))
        x = skips.pop()
        for lateral, up in zip(reversed(self.lateral), reversed(self.up), strict=True):
            x = up(F.interpolate(lateral(x), scale_factor=2, mode="nearest") + skips.pop())
        return self.head(x)

    def logit(self, reflectance: Tensor) -> Tensor:
        """Logit of cloud at full resolution, shape (n, 1, h, w): what a loss is computed on."""
        return _bilinear(self(reflectance))

    def probability(self, reflectance: Tensor) -> Tensor:
        """Probability of cloud, shape (n, 1, h, w), as the exported graph gives it.

        The sigmoid comes before the last upsampling, where there are four times fewer pixels.
        """
        return _bilinear(torch.sigmoid(self(reflectance)))


@torch.no_grad()
def fold(student: Student) -> FoldedStudent:
    """Merge batch normalisation and input normalisation into the weights."""
    stem = student.stem.folded()
    mean, std = (_numpy(buffer).reshape(1, -1, 1, 1) for buffer in (student.mean, student.std))
    weight = stem.weight / std
    bias = stem.bias - (weight * mean).sum(axis=(1, 2, 3))
    convolutions = [FoldedConvolution(weight, bias, stem.stride, stem.relu)]
    convolutions += [part.folded() for down in student.down for part in down]
    for lateral, up in zip(reversed(student.lateral), reversed(student.up), strict=True):
        convolutions += [_plain(lateral), up.folded()]
    convolutions.append(_plain(student.head))
    return FoldedStudent(student.shape, tuple(convolutions))


def _plain(convolution: nn.Conv2d) -> FoldedConvolution:
    return FoldedConvolution(_numpy(convolution.weight), _numpy(convolution.bias), 1, False)


def _bilinear(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)


def _numpy(tensor: Tensor) -> NDArray[np.float32]:
    return np.ascontiguousarray(tensor.detach().cpu().float().numpy())
