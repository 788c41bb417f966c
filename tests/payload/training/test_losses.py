"""Losses: nothing for a right answer, much for a wrong one, no lesson from what nobody trusts."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs the extra `train`")

from torch import nn  # noqa: E402

from payload.training.augmentation import Batch  # noqa: E402
from payload.training.losses import (  # noqa: E402
    LEAST_TRUST,
    batch_dice_loss,
    cloud_logit,
    cross_entropy,
    segmentation_loss,
    soft_loss,
    softened,
    squared_dice_loss,
)

NOTHING = 1e-4
EDGE_PX = 16


def half_cloud() -> Batch:
    """One patch, its left half cloud, every pixel trusted."""
    target = np.zeros((1, 1, EDGE_PX, EDGE_PX), np.float32)
    target[..., : EDGE_PX // 2] = 1
    everywhere = np.ones_like(target)
    return Batch(target.repeat(4, axis=1), target, everywhere, target, everywhere)


@pytest.mark.parametrize("dice", [squared_dice_loss, batch_dice_loss])
def test_perfect_prediction_costs_nothing(dice: object) -> None:
    target = torch.from_numpy(half_cloud().target)
    logit, weight = (target * 2 - 1) * 30, torch.ones_like(target)
    assert float(cross_entropy(logit, target, weight)) < NOTHING
    assert float(dice(logit, target, weight)) < NOTHING  # type: ignore[operator]


def test_untrusted_pixels_cost_nothing() -> None:
    target = torch.zeros(1, 1, 8, 8)
    wrong = torch.full_like(target, 5.0)
    weight = torch.zeros_like(target)
    assert float(cross_entropy(wrong, target, weight)) == 0.0
    assert float(squared_dice_loss(wrong, target, weight)) == 0.0


@pytest.mark.parametrize("dice", [squared_dice_loss, batch_dice_loss])
def test_an_untrusted_pixel_teaches_nothing(dice: object) -> None:
    logit = torch.zeros(1, 1, 4, 4, requires_grad=True)
    weight = torch.ones(1, 1, 4, 4)
    weight[0, 0, 0, 0] = 0
    target = torch.ones(1, 1, 4, 4)
    loss = cross_entropy(logit, target, weight) + dice(logit, target, weight)  # type: ignore[operator]
    loss.backward()
    assert logit.grad is not None
    assert logit.grad[0, 0, 0, 0] == 0
    assert torch.all(logit.grad[0, 0, 1:] < 0)


def test_a_batch_hardly_trusted_is_not_blown_up() -> None:
    target, wrong = torch.zeros(1, 1, 8, 8), torch.full((1, 1, 8, 8), 5.0)
    trusted = torch.ones_like(target)
    full = float(cross_entropy(wrong, target, trusted, LEAST_TRUST))
    assert float(cross_entropy(wrong, target, trusted / 10)) == pytest.approx(full)
    bounded = float(cross_entropy(wrong, target, trusted / 10, LEAST_TRUST))
    assert bounded == pytest.approx(full / 10 / LEAST_TRUST)


def test_a_right_answer_loses_next_to_nothing_and_a_wrong_one_much() -> None:
    batch = half_cloud()
    right = torch.from_numpy(batch.target) * 40 - 20
    assert float(segmentation_loss([right], batch)) < 0.01
    assert float(segmentation_loss([-right], batch)) > 10
    coarse = torch.logit(nn.functional.avg_pool2d(right / 40 + 0.5, 2), eps=1e-2)
    fine_only, both = (float(segmentation_loss(o, batch)) for o in ([right], [right, coarse]))
    assert fine_only < both < 1.0


def test_two_classes_say_the_same_as_the_odds_of_cloud() -> None:
    one = torch.randn(1, 1, 4, 4)
    assert torch.equal(cloud_logit(one), one)
    two = torch.cat([torch.randn(1, 1, 4, 4), torch.randn(1, 1, 4, 4)], dim=1)
    torch.testing.assert_close(torch.sigmoid(cloud_logit(two)), torch.softmax(two, dim=1)[:, 1:2])


@pytest.mark.parametrize("temperature", [1.0, 2.0, 4.0])
def test_soft_loss_is_least_where_the_student_says_what_the_teacher_says(
    temperature: float,
) -> None:
    teacher = torch.rand(1, 1, 16, 16) * 0.9 + 0.05
    weight = torch.ones_like(teacher)
    target = softened(teacher, weight, temperature)
    same = soft_loss(torch.logit(teacher), target)
    other = soft_loss(torch.logit(teacher) + 1, target)
    assert abs(float(same)) < NOTHING
    assert float(other) > 100 * NOTHING
