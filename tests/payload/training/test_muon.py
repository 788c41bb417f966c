"""Muon in float32 against torch's own, which orthogonalises in bfloat16; and what it is given."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch", reason="training needs the extra `train`")

from torch import nn  # noqa: E402

from payload.training import muon  # noqa: E402
from payload.training.muon import (  # noqa: E402
    GRAM_ROWS,
    KERNEL_RATE,
    Float32Muon,
    KernelMuon,
    orthogonalised,
)

JORDANS_COEFFICIENTS = (3.4445, -4.7750, 2.0315)
BFLOAT16_STEP = 2.0**-7
"""Relative: eight bits of mantissa, and a few roundings."""
SINGULAR_VALUES = (0.6, 1.25)
ROUNDING = 1e-4
"""Relative, of products of matrices in float32 done in another order."""
LARGEST_SINGULAR_VALUE = 1.3


@pytest.mark.parametrize("shape", [(40, 360), (360, 40), (24, 24)])
def test_singular_values_end_near_one_and_vectors_stay(shape: tuple[int, int]) -> None:
    torch.manual_seed(0)
    matrix = torch.randn(shape)
    left, _, right = torch.linalg.svd(matrix, full_matrices=False)
    found = orthogonalised(matrix, JORDANS_COEFFICIENTS, 5)
    inner = left.T @ found @ right.T
    values = torch.diagonal(inner)
    torch.testing.assert_close(inner, torch.diag(values), atol=1e-3, rtol=0)
    assert values[:-1].min() > SINGULAR_VALUES[0]
    assert values.max() < SINGULAR_VALUES[1]


@pytest.mark.parametrize("nesterov", [True, False])
def test_steps_against_torch(nesterov: bool) -> None:
    torch.manual_seed(1)
    begin = torch.randn(30, 16), torch.randn(16, 144)
    ours, theirs = ([torch.nn.Parameter(m.clone()) for m in begin] for _ in range(2))
    options = {"lr": 0.02, "weight_decay": 0.1, "nesterov": nesterov}
    optimisers = Float32Muon(ours, **options), torch.optim.Muon(theirs, **options)
    for _ in range(5):
        for mine, other in zip(ours, theirs, strict=True):
            mine.grad = torch.randn_like(mine)
            other.grad = mine.grad.clone()
        for optimiser in optimisers:
            optimiser.step()
    for mine, other, first in zip(ours, theirs, begin, strict=True):
        moved, expected = mine - first, other - first
        assert (moved - expected).norm() < 3 * BFLOAT16_STEP * expected.norm()


def test_a_matrix_without_gradient_stays() -> None:
    matrix = torch.nn.Parameter(torch.ones(4, 8))
    Float32Muon([matrix]).step()
    assert torch.equal(matrix, torch.ones(4, 8))


@pytest.mark.parametrize("shape", [(GRAM_ROWS, 5 * GRAM_ROWS), (2 * GRAM_ROWS, GRAM_ROWS)])
def test_by_way_of_the_gram_matrix_it_is_the_same(
    monkeypatch: pytest.MonkeyPatch, shape: tuple[int, int]
) -> None:
    torch.manual_seed(2)
    matrix = torch.randn(shape)
    short = orthogonalised(matrix, JORDANS_COEFFICIENTS, 5)
    monkeypatch.setattr(muon, "GRAM_ROWS", max(shape))
    whole = orthogonalised(matrix, JORDANS_COEFFICIENTS, 5)
    assert not torch.equal(short, whole), "both went the same way"
    assert (short - whole).norm() < ROUNDING * whole.norm()


@pytest.mark.parametrize("rank", [1, 20])
def test_by_way_of_the_gram_matrix_nothing_blows_up(rank: int) -> None:
    """Singular values of 0 round to eigenvalues below 0, which no iteration may carry away."""
    torch.manual_seed(3)
    matrix = torch.randn(GRAM_ROWS, rank) @ torch.randn(rank, 4 * GRAM_ROWS)
    values = torch.linalg.svdvals(orthogonalised(matrix, JORDANS_COEFFICIENTS, 5))
    assert values.max() < LARGEST_SINGULAR_VALUE


def small_network() -> nn.Module:
    torch.manual_seed(4)
    return nn.Sequential(
        nn.Conv2d(4, 8, 3, padding=1),
        nn.BatchNorm2d(8),
        nn.Conv2d(8, 8, 3, stride=2, padding=1),
        nn.ConvTranspose2d(8, 6, 2, stride=2),
        nn.Conv2d(6, 2, 1),
    ).to(memory_format=torch.channels_last)


def test_kernels_inside_are_learnt_by_muon_and_the_rest_by_adamw() -> None:
    kernels, others = KernelMuon(small_network(), 1e-3, 0.0).optimisers
    shapes = [tuple(m.shape) for m in kernels.param_groups[0]["params"]]
    assert shapes == [(8, 72), (8, 24)]
    assert sorted(p.numel() for p in others.param_groups[0]["params"]) == sorted(
        [4 * 8 * 9, 8, 8, 8, 8, 6, 6 * 2, 2]
    )


def test_a_step_moves_the_kernels_of_the_network_itself() -> None:
    network = small_network()
    learner = KernelMuon(network, 1.0, 0.0)
    learner.set_learning_rate(1e-2)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    network(torch.rand(2, 4, 8, 8)).square().mean().backward()
    learner.step()
    moved = {name: (network.state_dict()[name] - value) for name, value in before.items()}
    inner = moved["2.weight"].permute(0, 2, 3, 1).reshape(8, -1)
    spread = torch.linalg.svdvals(inner) / (KERNEL_RATE * 1e-2)
    assert spread[:-1].min() > SINGULAR_VALUES[0], "normalisation takes one direction away"
    assert spread.max() < SINGULAR_VALUES[1]
    assert moved["0.weight"].abs().max() == pytest.approx(1e-2, rel=ROUNDING)
    learner.zero_grad()
    assert all(parameter.grad is None for parameter in network.parameters())


def test_a_network_whose_kernels_would_be_copied_is_refused() -> None:
    with pytest.raises(ValueError, match=r"kernel of shape \(8, 8, 3, 3\) is not channels last"):
        KernelMuon(small_network().to(memory_format=torch.contiguous_format), 1e-3, 0.0)
