"""Ready-made parametrizations: weight, spectral and orthogonal normalization."""

from __future__ import annotations

from cupola.functional.creation import eye, zeros_like
from cupola.functional.decomposition import matrix_exp, solve
from cupola.functional.info import finfo
from cupola.functional.joining import cat
from cupola.functional.packed import geqrf, householder_product
from cupola.functional.sampling import randn
from cupola.functional.selection import where
from cupola.nn import functional as F
from cupola.nn.modules.module import Module
from cupola.nn.utils import parametrize
from cupola.nn.utils.weight_norm import norm_except_dim, scaled
from cupola.tensor import Tensor, no_grad

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


def _made_orthogonal(matrix: Tensor) -> Tensor:
    """The orthogonal factor whose triangle has a positive diagonal."""
    packed, tau = geqrf(matrix)
    return householder_product(packed, tau) * packed.diagonal(0, -2, -1).sgn().unsqueeze(-2)


class _Orthogonal(Module):
    """(Semi-)orthogonal matrices: a map of a skew-symmetric matrix, or a product of reflections;
    with trivialization, times a fixed orthogonal matrix, the buffer ``base``.
    """

    def __init__(self, weight: Tensor, kind: str, trivialized: bool) -> None:
        super().__init__()
        self.kind = kind
        self.trivialized = trivialized
        self.wide = weight.shape[-2] < weight.shape[-1]
        if trivialized:
            n = max(weight.shape[-2:])
            self.register_buffer("base", weight.new_zeros((*weight.shape[:-2], n, n)))

    def forward(self, weight: Tensor) -> Tensor:
        x = weight.mT if self.wide else weight
        rows, columns = x.shape[-2:]
        if self.kind == "householder":
            lower = x.tril(-1)
            result = householder_product(lower, 2.0 / (1.0 + (lower * lower).sum(-2)))
            result = result * x.diagonal(0, -2, -1).int().unsqueeze(-2)
        else:
            lower = F.pad(x.tril(), (0, rows - columns))
            skew = lower - lower.mT
            if self.kind == "matrix_exp":
                result = matrix_exp(skew)
            else:
                one = eye(rows, dtype=x.dtype, device=x.device)
                result = solve(one - 0.5 * skew, one + 0.5 * skew)
            result = result[..., :columns]
        if self.trivialized:
            result = self.base.matmul(result)
        return result.mT if self.wide else result

    def right_inverse(self, value: Tensor) -> Tensor:
        """What gives ``value``: with trivialization no change of the base, which it becomes.

        Raises:
            NotImplementedError: a map of skew-symmetric matrices without a base.
        """
        x = value.mT if self.wide else value
        rows, columns = x.shape[-2:]
        if not self.trivialized:
            if self.kind != "householder":
                raise NotImplementedError(
                    "It is not possible to assign to the matrix exponential or the Cayley "
                    "parametrizations when use_trivialization=False."
                )
            packed, tau = geqrf(x)
            packed = packed.clone()
            diagonal = packed.diagonal(0, -2, -1)
            diagonal.copy_(where(tau == 0, -diagonal.sign(), diagonal.sign()))
            return packed.mT if self.wide else packed
        with no_grad():
            if rows != columns:
                more = randn((*x.shape[:-2], rows, rows - columns), dtype=x.dtype, device=x.device)
                x = cat([x, more], -1)
            self.base.copy_(x if _is_orthogonal(x) else _made_orthogonal(x))
        start = zeros_like(value)
        start.diagonal(0, -2, -1).fill_(-1.0)
        return start


def _is_orthogonal(x: Tensor) -> bool:
    one = eye(x.shape[-1], dtype=x.dtype, device=x.device)
    step = 10.0 * x.shape[-2] * finfo(x.dtype).eps
    return bool(((x.mT @ x - one).abs() <= step).all())


def orthogonal(
    module: Module,
    name: str = "weight",
    orthogonal_map: str | None = None,
    *,
    use_trivialization: bool = True,
) -> Module:
    """Parametrize by (semi-)orthogonal matrices (Lezcano-Casado, 2019).

    The map is ``"matrix_exp"`` (for square matrices by default), ``"cayley"`` or
    ``"householder"`` (by default for others).

    Raises:
        ValueError: the weight is no matrix, or there is no such map.
    """
    weight = _check(module, name)
    if weight.dim() < 2:
        raise ValueError(
            f"Expected a matrix or batch of matrices. Got a tensor of {weight.dim()} dimensions."
        )
    square = weight.shape[-2] == weight.shape[-1]
    kind = orthogonal_map or ("matrix_exp" if square else "householder")
    if kind not in ("matrix_exp", "cayley", "householder"):
        raise ValueError(
            'orthogonal_map has to be one of "matrix_exp", "cayley", "householder". Got: '
            f"{orthogonal_map}"
        )
    made = _Orthogonal(weight, kind, use_trivialization)
    return parametrize.register_parametrization(module, name, made, unsafe=True)
