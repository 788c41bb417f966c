"""How weights are learnt: convolution kernels with Muon, everything else with AdamW.

In few steps, on few cores, that takes a network much further than AdamW alone. Muon steps along
the orthogonal matrix nearest to the momentum (Jordan et al. 2024, "Muon: An optimizer for hidden
layers in neural networks"). `torch.optim.Muon` finds it in bfloat16, which processors without
support for it emulate: on small matrices that takes a quarter of a training. `Float32Muon` is the
same optimiser with that one computation in float32, and for the wide matrices of a teacher with
less of it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

from payload.frame import BANDS

KERNEL_RATE = 5.0
"""Learning rate of Muon over that of AdamW: a step of Muon is a matrix whose singular values are
all near 1, whatever the gradient's size."""

GRAM_ROWS = 128
"""From so many rows on, matrices twice as wide are orthogonalised by way of their Gram matrix."""


class KernelMuon:
    """Muon for the kernels inside a network, AdamW for first, last and all that is no kernel.

    Parameters
    ----------
    network : nn.Module
        Channels last: its kernels are then matrices without being copied.
    learning_rate : float
        Of AdamW, which decays nothing; that of Muon is `KERNEL_RATE` times as high.
    weight_decay : float
        Of the kernels.

    Raises
    ------
    ValueError
        A kernel is not channels last: a copy of it would learn, and the network nothing.
    """

    def __init__(self, network: nn.Module, learning_rate: float, weight_decay: float) -> None:
        self._network = network
        self._kernels, others = _split_parameters(network)
        self._matrices = [nn.Parameter(_as_matrix(kernel.detach())) for kernel in self._kernels]
        for matrix, kernel in zip(self._matrices, self._kernels, strict=True):
            if matrix.data_ptr() != kernel.data_ptr():
                raise ValueError(
                    f"a kernel of shape {tuple(kernel.shape)} is not channels last; convert the "
                    "network first: network.to(memory_format=torch.channels_last)"
                )
        self.optimisers: tuple[torch.optim.Optimizer, ...] = (
            Float32Muon(self._matrices, lr=KERNEL_RATE * learning_rate, weight_decay=weight_decay),
            torch.optim.AdamW(others, lr=learning_rate, weight_decay=0.0),
        )

    def zero_grad(self) -> None:
        """Forget the gradients of the network."""
        self._network.zero_grad(set_to_none=True)

    def step(self) -> None:
        """One step along the gradients of the network."""
        for matrix, kernel in zip(self._matrices, self._kernels, strict=True):
            matrix.grad = None if kernel.grad is None else _as_matrix(kernel.grad)
        for optimiser in self.optimisers:
            optimiser.step()

    def set_learning_rate(self, learning_rate: float) -> None:
        """Learn at another rate from now on."""
        for optimiser, factor in zip(self.optimisers, (KERNEL_RATE, 1.0), strict=True):
            for group in optimiser.param_groups:
                group["lr"] = factor * learning_rate

    def state_dict(self) -> list[dict[str, Any]]:
        """Momenta and all else that a resumed training needs."""
        return [optimiser.state_dict() for optimiser in self.optimisers]

    def load_state_dict(self, states: list[dict[str, Any]]) -> None:
        """Go on from the state of another."""
        for optimiser, state in zip(self.optimisers, states, strict=True):
            optimiser.load_state_dict(state)


def _split_parameters(network: nn.Module) -> tuple[list[nn.Parameter], list[nn.Parameter]]:
    """Kernels inside the network; and first, last and all that is no kernel."""
    inner = {id(p) for p in network.parameters() if p.ndim == 4 and min(p.shape[:2]) > len(BANDS)}
    parameters = list(network.parameters())
    return [p for p in parameters if id(p) in inner], [p for p in parameters if id(p) not in inner]


def _as_matrix(kernel: Tensor) -> Tensor:
    """A kernel (out, in, k, k) as a matrix (out, k k in), sharing its memory where it can.

    Muon takes matrices only. A weight can, because networks are kept channels last. Of a
    transposed convolution it is (in, k k out).
    """
    return kernel.permute(0, 2, 3, 1).reshape(len(kernel), -1)


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
    lying = matrix if len(matrix) <= matrix.shape[1] else matrix.T
    x = lying / lying.norm().clamp(min=1e-7)
    rows, columns = x.shape
    if rows >= GRAM_ROWS and columns >= 2 * rows:
        x = _polynomial_of_gram(x @ x.T, coefficients, iterations) @ x
    else:
        for _ in range(iterations):
            x = torch.addmm(x, _even_part(x @ x.T, coefficients), x, beta=coefficients[0])
    return x if lying is matrix else x.T


def _even_part(gram: Tensor, coefficients: tuple[float, float, float]) -> Tensor:
    """``b gram + c gram**2``: a step multiplies a matrix with that Gram matrix by it, plus a."""
    _, b, c = coefficients
    return torch.addmm(gram, gram, gram, beta=b, alpha=c)


def _polynomial_of_gram(
    gram: Tensor, coefficients: tuple[float, float, float], iterations: int
) -> Tensor:
    """What all iterations together multiply a matrix by, from its Gram matrix alone.

    A step of the iteration turns the Gram matrix into ``step @ gram @ step``, and all of them
    commute: the matrix itself, several times as wide, need not be touched in between.
    """
    product = torch.eye(len(gram))
    for index in range(iterations):
        step = _even_part(gram, coefficients)
        step.diagonal().add_(coefficients[0])
        product = step @ product
        if index + 1 < iterations:
            gram = step @ gram @ step
    return product
