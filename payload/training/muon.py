"""Muon for processors that have no bfloat16.

Muon steps along the orthogonal matrix nearest to the momentum (Jordan et al. 2024, "Muon: An
optimizer for hidden layers in neural networks"). `torch.optim.Muon` finds it in bfloat16, which
processors without tiles for it emulate: on small matrices that takes a quarter of a training.
`Float32Muon` is the same optimiser with that one computation in float32.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn


class Float32Muon(torch.optim.Muon):
    """`torch.optim.Muon`, orthogonalising in float32, with Jordan's scaling of the rate.

    Parameters
    ----------
    matrices : iterable of Parameter, each of shape (m, n)
    lr, weight_decay : float
        The rate of an ``m <= n`` matrix; the share of the rate by which weights shrink in a step.
    nesterov : bool
        Look ahead along the momentum.
    """

    def __init__(
        self,
        matrices: Iterable[nn.Parameter],
        lr: float = 1e-3,
        weight_decay: float = 0.1,
        nesterov: bool = True,
    ) -> None:
        super().__init__(matrices, lr=lr, weight_decay=weight_decay, nesterov=nesterov)

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:
        """One step along the orthogonalised momentum, for every matrix that has a gradient."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for matrix in group["params"]:
                if matrix.grad is not None:
                    self._step_of(matrix, group)
        return loss

    def _step_of(self, matrix: Tensor, group: dict[str, Any]) -> None:
        state = self.state[matrix]
        if not state:
            state["momentum_buffer"] = torch.zeros_like(matrix)
        velocity = state["momentum_buffer"].lerp_(matrix.grad, 1 - group["momentum"])
        ahead = torch.lerp(matrix.grad, velocity, group["momentum"])
        direction = orthogonalised(
            ahead if group["nesterov"] else velocity, group["ns_coefficients"], group["ns_steps"]
        )
        rate = group["lr"]
        matrix.mul_(1 - rate * group["weight_decay"])
        matrix.sub_(direction, alpha=rate * math.sqrt(max(1.0, len(matrix) / matrix.shape[1])))


def orthogonalised(
    matrix: Tensor, coefficients: tuple[float, float, float], iterations: int
) -> Tensor:
    """Roughly the nearest matrix of orthogonal rows or columns, by Newton and Schulz's iteration.

    Parameters
    ----------
    matrix : Tensor, shape (m, n)
    coefficients : tuple of float
        Of the odd polynomial ``a s + b s**3 + c s**5`` that drives singular values towards 1.
    iterations : int

    Returns
    -------
    Tensor, shape (m, n)
        Same singular vectors, singular values near 1 (0.7 to 1.2 with Jordan's coefficients).
    """
    a, b, c = coefficients
    lying = matrix if len(matrix) <= matrix.shape[1] else matrix.T
    x = lying / lying.norm().clamp(min=1e-7)
    for _ in range(iterations):
        gram = x @ x.T
        x = torch.addmm(x, torch.addmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x if lying is matrix else x.T
