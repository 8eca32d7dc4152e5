"""Ready-made parametrizations: weight, spectral and orthogonal normalization."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from cupola.errors import UnsupportedError
from cupola.functional.creation import eye
from cupola.functional.joining import cat
from cupola.nn import functional as F
from cupola.nn.modules.module import Module
from cupola.nn.utils import parametrize
from cupola.nn.utils.weight_norm import norm_except_dim, scaled
from cupola.tensor import Tensor, from_numpy, no_grad

__all__ = ["orthogonal", "spectral_norm", "weight_norm"]


def _check(module: Module, name: str) -> Tensor:
    weight = getattr(module, name, None)
    if not isinstance(weight, Tensor):
        raise ValueError(f"Module '{module}' has no parameter or buffer with name '{name}'")
    return weight


class _WeightNorm(Module):
    """``g * v / ||v||`` with the norm over all dimensions but one."""

    def __init__(self, dim: int | None = 0) -> None:
        super().__init__()
        self.dim = -1 if dim is None else dim

    def forward(self, weight_g: Tensor, weight_v: Tensor) -> Tensor:
        return scaled(weight_v, weight_g, self.dim)

    def right_inverse(self, weight: Tensor) -> tuple[Tensor, Tensor]:
        """Magnitude and direction of a weight."""
        return norm_except_dim(weight, 2, self.dim), weight


def weight_norm(module: Module, name: str = "weight", dim: int | None = 0) -> Module:
    """Parametrize by magnitude and direction (Salimans and Kingma, 2016)."""
    _check(module, name)
    parametrize.register_parametrization(module, name, _WeightNorm(dim), unsafe=True)

    def rename(state_dict: dict, prefix: str, metadata: dict, strict: bool, *lists: list) -> None:
        # Files written with the older, hook-based weight_norm.
        old_g, old_v = f"{prefix}{name}_g", f"{prefix}{name}_v"
        if old_g in state_dict and old_v in state_dict:
            base = f"{prefix}parametrizations.{name}.original"
            state_dict[base + "0"] = state_dict.pop(old_g)
            state_dict[base + "1"] = state_dict.pop(old_v)

    module._register_load_state_dict_pre_hook(rename)
    return module


class _SpectralNorm(Module):
    """Division by the largest singular value, estimated by power iteration."""

    def __init__(
        self, weight: Tensor, n_power_iterations: int = 1, dim: int = 0, eps: float = 1e-12
    ) -> None:
        super().__init__()
        ndim = weight.dim()
        if not -ndim <= dim < ndim:
            raise IndexError(
                f"Dimension out of range (expected to be in range of [-{ndim}, {ndim - 1}] but "
                f"got {dim})"
            )
        if n_power_iterations <= 0:
            raise ValueError(
                "Expected n_power_iterations to be positive, but got n_power_iterations="
                f"{n_power_iterations}"
            )
        self.dim = dim % ndim
        self.eps = eps
        if ndim > 1:
            self.n_power_iterations = n_power_iterations
            with no_grad():
                matrix = self._matrix(weight.detach())
                height, width = matrix.shape
                u = matrix.new_empty(height).normal_(0, 1)
                v = matrix.new_empty(width).normal_(0, 1)
                self.register_buffer("_u", F.normalize(u, dim=0, eps=eps))
                self.register_buffer("_v", F.normalize(v, dim=0, eps=eps))
                self._power_method(matrix, 15)

    def _matrix(self, weight: Tensor) -> Tensor:
        if self.dim != 0:
            order = (self.dim, *(d for d in range(weight.dim()) if d != self.dim))
            weight = weight.permute(order)
        return weight.flatten(1)

    def _power_method(self, matrix: Tensor, iterations: int) -> None:
        with no_grad():
            for _ in range(iterations):
                self._u.copy_(F.normalize(matrix.mv(self._v), dim=0, eps=self.eps))
                self._v.copy_(F.normalize(matrix.t().mv(self._u), dim=0, eps=self.eps))

    def forward(self, weight: Tensor) -> Tensor:
        if weight.dim() == 1:
            return F.normalize(weight, dim=0, eps=self.eps)
        matrix = self._matrix(weight)
        if self.training:
            self._power_method(matrix.detach(), self.n_power_iterations)
        u, v = self._u.clone(), self._v.clone()
        return weight / u.dot(matrix.mv(v))

    def right_inverse(self, value: Tensor) -> Tensor:
        """The value itself: it is assumed to be normalised."""
        return value


def spectral_norm(
    module: Module,
    name: str = "weight",
    n_power_iterations: int = 1,
    eps: float = 1e-12,
    dim: int | None = None,
) -> Module:
    """Parametrize by division by the largest singular value (Miyato et al., 2018)."""
    weight = _check(module, name)
    if dim is None:
        transposed = ("ConvTranspose1d", "ConvTranspose2d", "ConvTranspose3d")
        dim = 1 if type(module).__name__ in transposed else 0
    norm = _SpectralNorm(weight, n_power_iterations, dim, eps)
    return parametrize.register_parametrization(module, name, norm)


def _complete_qr(matrix: Tensor) -> Iterator[Tensor]:
    """QR decomposition (*, m, n) -> (*, m, m), (*, m, n), on the host and without gradient."""
    q, r = np.linalg.qr(matrix.detach().cpu().numpy(), mode="complete")
    return (from_numpy(np.ascontiguousarray(x)).to(matrix.device) for x in (q, r))


def _matrix_exp(x: Tensor) -> Tensor:
    """Matrix exponential by scaling, a Taylor series and squaring."""
    norm = float(x.detach().abs().sum(-1).max()) if x.numel() else 0.0
    squarings = max(0, math.ceil(math.log2(norm)) + 2) if norm > 0.25 else 0
    x = x * 0.5**squarings
    result = term = eye(x.shape[-1], dtype=x.dtype, device=x.device).expand(x.shape)
    for k in range(1, 13):
        term = term.matmul(x) / k
        result = result + term
    for _ in range(squarings):
        result = result.matmul(result)
    return result


class _Orthogonal(Module):
    """Orthogonal matrices: a fixed one times the exponential of a skew-symmetric matrix."""

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        self.shape = tuple(weight.shape)
        self.wide = self.shape[-2] < self.shape[-1]
        tall = weight.detach().transpose(-2, -1) if self.wide else weight.detach()
        self.register_buffer("base", next(iter(_complete_qr(tall))))

    def forward(self, weight: Tensor) -> Tensor:
        x = weight.transpose(-2, -1) if self.wide else weight
        rows, columns = x.shape[-2:]
        lower = x.tril(-1)
        if rows != columns:
            lower = F.pad(lower, (0, rows - columns))
        rotation = _matrix_exp(lower - lower.transpose(-2, -1))
        result = self.base.matmul(rotation)[..., :columns]
        return result.transpose(-2, -1) if self.wide else result

    def right_inverse(self, value: Tensor) -> Tensor:
        """No rotation from the base, which is set to ``value``'s orthogonal factor."""
        with no_grad():
            tall = value.transpose(-2, -1) if self.wide else value
            q, r = _complete_qr(tall)
            columns = tall.shape[-1]
            signs = r.diagonal(0, -2, -1).sign().unsqueeze(-2)
            self.base.copy_(cat([q[..., :columns] * signs, q[..., columns:]], -1))
        return value.new_zeros(value.shape)


def orthogonal(
    module: Module,
    name: str = "weight",
    orthogonal_map: str | None = None,
    *,
    use_trivialization: bool = True,
) -> Module:
    """Parametrize by (semi-)orthogonal matrices (Lezcano-Casado, 2019).

    The exponential map stands for all maps but ``"cayley"``, which raises UnsupportedError.
    """
    weight = _check(module, name)
    if weight.dim() < 2:
        raise ValueError(
            f"Expected a matrix or batch of matrices. Got a tensor of {weight.dim()} dimensions."
        )
    if orthogonal_map not in (None, "matrix_exp", "cayley", "householder"):
        raise ValueError(
            'orthogonal_map has to be one of "matrix_exp", "cayley", "householder". Got: '
            f"{orthogonal_map}"
        )
    if orthogonal_map == "cayley":
        raise UnsupportedError(
            "nn.utils.parametrizations.orthogonal(orthogonal_map='cayley')",
            "use orthogonal_map='matrix_exp'",
        )
    return parametrize.register_parametrization(module, name, _Orthogonal(weight), unsafe=True)
