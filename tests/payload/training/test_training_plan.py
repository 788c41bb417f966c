"""Plans: a budget that can be kept, rates that rise and fall, steps that follow the budget."""

from __future__ import annotations

from dataclasses import asdict, replace

import numpy as np
import pytest

pytest.importorskip("torch", reason="training needs the extra `train`")

import torch

from payload.training.training_plan import (
    TrainingError,
    TrainingPlan,
    learning_rate,
    steps_of_budget,
)


@pytest.mark.parametrize("budget_minutes", [0.0, -1.0, float("inf"), float("nan")])
def test_a_budget_must_be_positive_and_finite(budget_minutes: float) -> None:
    with pytest.raises(TrainingError, match=f"budget_minutes is {budget_minutes}"):
        TrainingPlan(budget_minutes=budget_minutes)


def test_an_unknown_precision_is_refused() -> None:
    with pytest.raises(TrainingError, match="use auto or bf16 or fp32"):
        TrainingPlan(1.0, precision="fp8")


@pytest.mark.parametrize(
    ("able", "bf16"),
    [
        ({"amx_bf16": True}, True),
        ({"avx512_bf16": True}, True),
        ({"avx512_f": True, "avx512_bf16": False}, False),
        ({}, False),
    ],
)
def test_bf16_is_for_processors_that_multiply_it(
    monkeypatch: pytest.MonkeyPatch, able: dict[str, bool], bf16: bool
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: able)
    assert TrainingPlan(1.0).computes_bf16 is bf16
    assert TrainingPlan(1.0, precision="bf16").computes_bf16
    assert not TrainingPlan(1.0, precision="fp32").computes_bf16


def test_the_learning_rate_rises_then_falls_to_zero() -> None:
    plan = TrainingPlan(1.0, warmup_steps=10)
    rates = [learning_rate(step, 100, plan) for step in range(101)]
    peak = int(np.argmax(rates))
    assert peak == 9
    assert np.all(np.diff(rates[peak:]) < 0)
    assert rates[-1] == 0


def test_steps_follow_the_budget_but_never_below_those_taken() -> None:
    before = TrainingPlan(10.0)
    told = asdict(before), 30, 100
    assert steps_of_budget(before, *told) == 100
    assert steps_of_budget(replace(before, budget_minutes=20.0), *told) == 200
    assert steps_of_budget(replace(before, budget_minutes=1.0), *told) == 30
    assert steps_of_budget(replace(before, total_steps=70), *told) == 70
