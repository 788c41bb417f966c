"""The baseline everybody knows: a U-Net with a ResNet-34 encoder.

Written from He et al. 2016 (basic blocks, stages of 3, 4, 6 and 3, a strided stem and pooling)
and Ronneberger et al. 2015 (a decoder that widens step by step and looks back at the encoder).
It starts from random weights: the usual ImageNet weights would have to be downloaded, and fit
three bands.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from payload.frame import BANDS

STAGE_BLOCKS: tuple[int, ...] = (3, 4, 6, 3)
STAGE_WIDTHS: tuple[int, ...] = (64, 128, 256, 512)
DECODER_WIDTHS: tuple[int, ...] = (256, 128, 64, 32, 16)

MULTIPLE_PX = 32
"""The stem, the pooling and three stages halve an image five times in all."""


def _convolution(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False), nn.BatchNorm2d(outputs)
    )


class BasicBlock(nn.Module):
    """Two 3x3 convolutions with a shortcut around them."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.first = _convolution(inputs, outputs, stride)
        self.second = _convolution(outputs, outputs)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or inputs != outputs:
            self.shortcut = nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs)
            )

    def forward(self, x: Tensor) -> Tensor:
        inner = self.second(functional.relu(self.first(x)))
        return functional.relu(inner + self.shortcut(x))


class DecoderBlock(nn.Module):
    """Doubles the size and joins what the encoder saw at that size."""

    def __init__(self, inputs: int, skipped: int, outputs: int) -> None:
        super().__init__()
        self.first = _convolution(inputs + skipped, outputs)
        self.second = _convolution(outputs, outputs)

    def forward(self, x: Tensor, skipped: Tensor | None) -> Tensor:
        x = functional.interpolate(x, scale_factor=2.0, mode="nearest")
        if skipped is not None:
            x = torch.cat([x, skipped], dim=1)
        return functional.relu(self.second(functional.relu(self.first(x))))


class ResNet34UNet(nn.Module):
    """(N, 4, H, W) normalised reflectance -> cloud logits (N, 1, H, W); H, W multiples of 32."""

    def __init__(self) -> None:
        super().__init__()
        stem = STAGE_WIDTHS[0]
        self.stem = nn.Sequential(
            nn.Conv2d(len(BANDS), stem, 7, 2, padding=3, bias=False),
            nn.BatchNorm2d(stem),
            nn.ReLU(),
        )
        self.stages = nn.ModuleList()
        inputs = stem
        for index, (blocks, width) in enumerate(zip(STAGE_BLOCKS, STAGE_WIDTHS, strict=True)):
            self.stages.append(_stage(inputs, width, blocks, stride=1 if index == 0 else 2))
            inputs = width
        skipped = (*reversed(STAGE_WIDTHS[:-1]), stem, 0)
        decoder = []
        for beside, width in zip(skipped, DECODER_WIDTHS, strict=True):
            decoder.append(DecoderBlock(inputs, beside, width))
            inputs = width
        self.decoder = nn.ModuleList(decoder)
        self.head = nn.Conv2d(inputs, 1, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        seen: list[Tensor | None] = [None, self.stem(x)]
        x = functional.max_pool2d(seen[1], 3, 2, padding=1)
        for stage in self.stages:
            x = stage(x)
            seen.append(x)
        seen.pop()
        for block in self.decoder:
            x = block(x, seen.pop())
        return self.head(x)


def _stage(inputs: int, width: int, blocks: int, stride: int) -> nn.Sequential:
    first = BasicBlock(inputs, width, stride)
    return nn.Sequential(first, *(BasicBlock(width, width, 1) for _ in range(blocks - 1)))
