"""How long a training lasts and how fast it learns: a budget in minutes becomes steps and rates.

The number of steps may be given, or is found by timing the first ones (`training_loop`). Linear
warm-up, then the polynomial decay to zero that nnU-Net uses.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch

DECAY_POWER = 0.9
"""Exponent of nnU-Net's polynomial learning rate schedule."""

PRECISIONS: tuple[str, ...] = ("auto", "bf16", "fp32")


class TrainingError(ValueError):
    """A training cannot start or resume; the message says why and what to do."""


@dataclass(frozen=True)
class TrainingPlan:
    """How long and how fast.

    Attributes
    ----------
    budget_minutes : float
        Training minutes (see `payload.training.training_loop`).
    total_steps : int or None
        None: as many as fit the budget, found by timing.
    peak_learning_rate, weight_decay : float
        Of `payload.training.muon.KernelMuon`.
    warmup_steps : int
    ema_decay : float
        Of the moving average of the weights; reached gradually.
    gradient_clip : float
        Largest norm of the gradient.
    freeze_statistics_share : float
        Share of the steps after which batch normalisation keeps the averaged statistics it has by
        then. Eight patches are a poor sample: normalised by themselves, eight of snow look
        like eight of cloud.
    checkpoint_steps : int
        Steps between checkpoints.
    threads : int
    precision : {"auto", "bf16", "fp32"}
        Of the convolutions. bf16 is three times faster than fp32 on a processor with AMX tiles,
        twice as fast on one that multiplies it in vectors (AVX-512 BF16) and many times slower on
        one that does neither, hence ``auto``.
    """

    budget_minutes: float
    total_steps: int | None = None
    peak_learning_rate: float = 4e-3
    weight_decay: float = 1e-3
    warmup_steps: int = 40
    ema_decay: float = 0.995
    gradient_clip: float = 1.0
    freeze_statistics_share: float = 0.6
    checkpoint_steps: int = 50
    threads: int = 2
    precision: str = "auto"

    def __post_init__(self) -> None:
        if not 0 < self.budget_minutes < math.inf:
            raise TrainingError(
                f"budget_minutes is {self.budget_minutes}, but a training needs time and an end; "
                "give a finite number above 0"
            )
        if self.precision not in PRECISIONS:
            raise TrainingError(
                f"precision is {self.precision!r}, which is not known; use "
                f"{' or '.join(PRECISIONS)}"
            )

    @property
    def computes_bf16(self) -> bool:
        """Whether convolutions are computed in bf16 on this machine."""
        if self.precision == "auto":
            able = torch.cpu.get_capabilities()
            return bool(able.get("amx_bf16", False) or able.get("avx512_bf16", False))
        return self.precision == "bf16"


def learning_rate(step: int, total_steps: int | None, plan: TrainingPlan) -> float:
    """Learning rate of a step: linear warm-up, then ``(1 - step/total) ** 0.9``."""
    if step < plan.warmup_steps:
        return plan.peak_learning_rate * (step + 1) / plan.warmup_steps
    remaining = 1.0 if total_steps is None else max(0.0, 1 - step / total_steps)
    return plan.peak_learning_rate * remaining**DECAY_POWER


def steps_of_budget(
    plan: TrainingPlan, before: Mapping[str, Any], steps_done: int, total_steps: int
) -> int:
    """Steps of a training that is resumed: as many as before, scaled to the budget of today.

    Parameters
    ----------
    plan : TrainingPlan
        Of today.
    before : Mapping
        Fields of the plan it was last trained by.
    steps_done, total_steps : int
        Taken, and planned by that plan.
    """
    if plan.total_steps is not None:
        return plan.total_steps
    ratio = plan.budget_minutes / replace(TrainingPlan(1.0), **before).budget_minutes
    return max(steps_done, round(total_steps * ratio))
