"""Muon in float32 against torch's own, which orthogonalises in bfloat16."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch", reason="training needs the extra `train`")

from payload.training.muon import Float32Muon, orthogonalised  # noqa: E402

JORDANS_COEFFICIENTS = (3.4445, -4.7750, 2.0315)
BFLOAT16_STEP = 2.0**-7
"""Relative: eight bits of mantissa, and a few roundings."""
SINGULAR_VALUES = (0.6, 1.25)


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
