"""Matrix products and basic linear algebra."""

from __future__ import annotations

import math
from typing import Any

from cupola import dtypes
from cupola.dtypes import bfloat16, float16, promote_types
from cupola.functional._convert import broadcast_shapes, expand_node, host, one_dtype
from cupola.functional._register import operator, rounded_once_on_cpu, settled, write_into
from cupola.ir.source import rounded
from cupola.ops import movement as mv
from cupola.ops.matmul import matmul as product
from cupola.tensor import Tensor, apply, wrap
from cupola.tensor.history import carried, tied


@operator(out=True)
def mm(input: Tensor, mat2: Tensor) -> Tensor:
    """Product of two matrices (torch.mm)."""
    if input.ndim != 2 or mat2.ndim != 2:
        raise RuntimeError(f"mat1 and mat2 must be matrices, got {input.ndim}-D and {mat2.ndim}-D")
    return apply(product, input, mat2)


@operator(out=True)
def bmm(input: Tensor, mat2: Tensor) -> Tensor:
    """Batched matrix product of (B, M, K) and (B, K, N) (torch.bmm)."""
    if input.ndim != 3 or mat2.ndim != 3:
        raise RuntimeError("batch1 must be a 3D tensor")
    if input._n.shape[0] != mat2._n.shape[0]:
        raise RuntimeError(
            f"Expected size for first two dimensions of batch2 tensor to be: [{input.shape[0]}, "
            f"{input.shape[2]}] but got: "
            f"[{mat2.shape[0]}, {mat2.shape[1]}]."
        )
    return apply(product, input, mat2)


@operator(out=True, exact=True)
def matmul(input: Tensor, other: Tensor) -> Tensor:
    """Matrix product with broadcasting; vectors are rows on the left, columns on the right
    (torch.matmul).
    """
    a, b = input, other
    if a.ndim == 0 or b.ndim == 0:
        raise RuntimeError(
            "both arguments to matmul need to be at least 1D, but they are 0D and 0D"
        )
    if a.ndim == 2 and b.ndim == 2:
        return apply(product, a, b)
    x, y = a.node, b.node
    if a.ndim == 1:
        x = mv.reshape(x, shape=(1, *x.shape))
    if b.ndim == 1:
        y = mv.reshape(y, shape=(*y.shape, 1))
    if len(y.shape) == 2 and len(x.shape) > 2:  # one product instead of a batch of them
        rows = mv.reshape(x, shape=(math.prod(x.shape[:-1]), x.shape[-1]))
        out = product(rows, y)
        out = mv.reshape(out, shape=(*x.shape[:-1], y.shape[-1]))
    else:
        lead = broadcast_shapes(x.shape[:-2], y.shape[:-2])
        x = expand_node(x, lead + x.shape[-2:])
        y = expand_node(y, lead + y.shape[-2:])
        out = product(x, y)
    shape = out.shape
    if a.ndim == 1:
        shape = (*shape[:-2], shape[-1])
    if b.ndim == 1:
        shape = shape[:-1]
    return wrap(out if shape == out.shape else mv.reshape(out, shape=shape))


@operator(name="mv", out=True)
def matrix_vector(input: Tensor, vec: Tensor) -> Tensor:
    """Product of a matrix and a vector (torch.mv).

    Raises:
        RuntimeError: not a matrix and a vector.
    """
    if input.ndim != 2 or vec.ndim != 1:
        raise RuntimeError(f"vector + matrix @ vector expected, got {input.ndim}, {vec.ndim}")
    return matmul(input, vec)


@operator(out=True)
def vdot(input: Tensor, other: Tensor) -> Tensor:
    """Product of two vectors, the first one conjugated (torch.vdot)."""
    return dot(input.conj(), other)


@operator(out=True)
def dot(input: Tensor, tensor: Tensor) -> Tensor:
    """Product of two vectors (torch.dot)."""
    if input.ndim != 1 or tensor.ndim != 1:
        raise RuntimeError(f"1D tensors expected, but got {input.ndim}D and {tensor.ndim}D tensors")
    if input.dtype is not tensor.dtype:
        raise RuntimeError(
            "dot : expected both vectors to have same dtype, but found "
            f"{input.dtype} and {tensor.dtype}"
        )
    if input._n.shape != tensor._n.shape:
        raise RuntimeError(
            "inconsistent tensor size, expected tensors to have the same number of elements, but "
            f"got {input.numel()} and {tensor.numel()} elements respectively"
        )
    return input.mul(tensor).sum(dtype=input.dtype)


@operator(method=False, out=True)
def inner(input: Tensor, other: Tensor) -> Tensor:
    """Sum over the last dimensions (torch.inner)."""
    if input.ndim == 0 or other.ndim == 0:
        return input.mul(other)
    return tensordot(input, other, ([-1], [-1]))


Tensor.inner = inner


@operator(out=True, aliases=("ger",))
def outer(input: Tensor, vec2: Tensor) -> Tensor:
    """Outer product of two vectors (torch.outer)."""
    return input.reshape(-1, 1).mul(vec2.reshape(1, -1))


def _scaled(x: Tensor, factor: Any) -> Tensor:
    """x times a number; what integers are multiplied with is cut to an integer first."""
    if x.dtype.category < 2 and not isinstance(factor, Tensor):
        factor = int(factor) if x.dtype.category else bool(factor)
    return x if factor == 1 else x.mul(factor)


@operator(inplace=True, out=True)
@rounded_once_on_cpu
def addmm(input: Tensor, mat1: Tensor, mat2: Tensor, *, beta: Any = 1, alpha: Any = 1) -> Tensor:
    """beta * input + alpha * mat1 @ mat2 (torch.addmm)."""
    out = _scaled(mm(mat1, mat2), alpha)
    return out if beta == 0 else out.add(_scaled(input, beta))


@operator(inplace=True, out=True)
@rounded_once_on_cpu
def addmv(input: Tensor, mat: Tensor, vec: Tensor, *, beta: Any = 1, alpha: Any = 1) -> Tensor:
    """beta * input + alpha * mat @ vec (torch.addmv)."""
    out = _scaled(matmul(mat, vec), alpha)
    return out if beta == 0 else out.add(_scaled(input, beta))


@operator(inplace=True, out=True)
def addr(input: Tensor, vec1: Tensor, vec2: Tensor, *, beta: Any = 1, alpha: Any = 1) -> Tensor:
    """beta * input + alpha * outer(vec1, vec2) (torch.addr)."""
    # Half types: every step is rounded here, and so are the numbers.
    first = settled(_scaled(vec1, rounded(alpha, vec1.dtype)))
    out = settled(outer(first, vec2))
    if beta == 0:
        return out.to(promote_types(out.dtype, input.dtype))
    return out.add(settled(_scaled(input, rounded(beta, input.dtype))))


@operator(inplace=True, out=True)
@rounded_once_on_cpu
def baddbmm(
    input: Tensor, batch1: Tensor, batch2: Tensor, *, beta: Any = 1, alpha: Any = 1
) -> Tensor:
    """beta * input + alpha * batch1 @ batch2 (torch.baddbmm)."""
    out = _scaled(bmm(batch1, batch2), alpha)
    return out if beta == 0 else out.add(_scaled(input, beta))


@operator(inplace=True, out=True)
def addbmm(
    input: Tensor, batch1: Tensor, batch2: Tensor, *, beta: Any = 1, alpha: Any = 1
) -> Tensor:
    """beta * input + alpha * sum(batch1 @ batch2) (torch.addbmm)."""
    if batch1.dtype in (float16, bfloat16) and batch1.device.type == "cpu":
        out = input  # one product after the other, and each sum is rounded
        for k in range(batch1._n.shape[0]):
            out = addmm(out, batch1[k], batch2[k], beta=1 if k else beta, alpha=alpha)
        return out if batch1._n.shape[0] else _scaled(input, beta)
    out = _scaled(bmm(batch1, batch2).sum(0, dtype=batch1.dtype), alpha)
    return out if beta == 0 else out.add(_scaled(input, beta))


def addbmm_(
    self: Tensor, batch1: Tensor, batch2: Tensor, *, beta: Any = 1, alpha: Any = 1
) -> Tensor:
    """In place; a tensor that has to be broadcast is resized first, as torch's is."""
    shape = (batch1._n.shape[-2], batch2._n.shape[-1])
    if self._n.shape == shape:
        return _addbmm_(self, batch1, batch2, beta=beta, alpha=alpha)
    made = addbmm(self, batch1, batch2, beta=beta, alpha=alpha)
    return write_into(self.resize_(made._n.shape), made)


_addbmm_, Tensor.addbmm_ = Tensor.addbmm_, addbmm_  # type: ignore[attr-defined]


@operator(method=False, out=True, exact=True)
def tensordot(a: Tensor, b: Tensor, dims: Any = 2) -> Tensor:
    """Sum over pairs of dimensions (torch.tensordot)."""
    one_dtype("tensordot", a, b)
    if isinstance(dims, int):
        left, right = list(range(a.ndim - dims, a.ndim)), list(range(dims))
    else:
        left, right = ([d] if isinstance(d, int) else list(d) for d in dims)
    left = [d % a.ndim for d in left]
    right = [d % b.ndim for d in right]
    for i, j in zip(left, right, strict=True):
        m, n = a._n.shape[i], b._n.shape[j]
        if m == 1 != n:
            b = b.sum(j, True)
        elif n == 1 != m:
            a = a.sum(i, True)
        elif m != n:
            raise RuntimeError(
                "contracted dimensions need to match, but first has size "
                f"{m} in dim {i} and second has size {n} in dim {j}"
            )
    free_a = [d for d in range(a.ndim) if d not in left]
    free_b = [d for d in range(b.ndim) if d not in right]
    k = math.prod(a._n.shape[d] for d in left)
    shape = [a._n.shape[d] for d in free_a] + [b._n.shape[d] for d in free_b]
    if not a.numel() or not b.numel():
        zero = (a.sum() + b.sum()).to(a.dtype)  # with a history
        return zero.expand(shape).clone()
    x = a.permute(*free_a, *left).reshape(-1, k) if a.ndim else a.reshape(1, 1)
    y = b.permute(*right, *free_b).reshape(k, -1) if b.ndim else b.reshape(1, 1)
    if math.prod(shape) == 1:
        return x.flatten().mul(y.flatten()).sum(dtype=x.dtype).reshape(shape)
    return mm(x, y).reshape(shape)


@operator(method=False)
def chain_matmul(*matrices: Tensor) -> Tensor:
    """Product of several matrices (torch.chain_matmul)."""
    out = matrices[0]
    for m in matrices[1:]:
        out = mm(out, m)
    return out


@operator(method=False)
def einsum(equation: str, *operands: Any) -> Tensor:
    """Einstein summation (torch.einsum): pairs are contracted from left to right.

    Raises:
        RuntimeError: the equation does not fit the operands.
    """
    xs = (
        list(operands[0])
        if len(operands) == 1 and isinstance(operands[0], (list, tuple))
        else list(operands)
    )
    inputs, output = _parse_equation(equation, xs)
    terms: list[tuple[str, Tensor]] = [_diagonals(i, x) for i, x in zip(inputs, xs, strict=True)]
    while len(terms) > 1:
        (la, a), (lb, b) = terms[0], terms[1]
        needed = set(output).union(*(set(i) for i, _ in terms[2:]))
        terms[:2] = [_contract(la, a, lb, b, needed)]
    labels, x = terms[0]
    gone = [k for k, c in enumerate(labels) if c not in output]
    if gone:
        x = x.sum(gone)
        labels = "".join(c for c in labels if c in output)
    return x.permute(*(labels.index(c) for c in output)) if labels != output else x


def _parse_equation(equation: str, xs: list[Tensor]) -> tuple[list[str], str]:
    text = equation.replace(" ", "")
    left, arrow, right = text.partition("->")
    inputs = left.split(",")
    if len(inputs) != len(xs):
        raise RuntimeError(
            f"einsum(): the number of operands ({len(xs)}) does not match the number of "
            f"subscripts ({len(inputs)})"
        )
    spare = [c for c in "ZYXWVUTSRQPONMLKJIHGFEDCBAzyxwvutsrqponmlkjihgfedcba" if c not in text]
    widest = max(
        (x.ndim - len(i) + 3 for i, x in zip(inputs, xs, strict=True) if "..." in i), default=0
    )
    dots = "".join(spare[:widest])[::-1]
    filled = []
    for i, x in zip(inputs, xs, strict=True):
        if "..." in i:
            n = x.ndim - len(i) + 3
            i = i.replace("...", dots[len(dots) - n :] if n else "")
        if len(i) != x.ndim:
            raise RuntimeError(
                f"einsum(): the number of subscripts in the equation ({len(i)}) does not match "
                "the number of dimensions "
                f"({x.ndim}) for an operand"
            )
        filled.append(i)
    if arrow:
        return filled, right.replace("...", dots)
    every = "".join(filled)
    return filled, dots + "".join(
        sorted(c for c in set(every) if every.count(c) == 1 and c not in dots)
    )


def _diagonals(labels: str, x: Tensor) -> tuple[str, Tensor]:
    while len(set(labels)) < len(labels):
        c = next(c for c in labels if labels.count(c) > 1)
        a = labels.index(c)
        b = labels.index(c, a + 1)
        x = x.diagonal(0, a, b)
        labels = labels[:a] + labels[a + 1 : b] + labels[b + 1 :] + c
    return labels, x


def _contract(la: str, a: Tensor, lb: str, b: Tensor, needed: set[str]) -> tuple[str, Tensor]:
    """One batched matrix product: labels shared and needed are batch, shared only are summed."""
    size = {}
    for labels, x in ((la, a), (lb, b)):
        for c, n in zip(labels, x._n.shape, strict=True):
            if size.get(c, 1) == 1:
                size[c] = n
            elif n not in (1, size[c]):
                raise RuntimeError(
                    f"einsum(): subscript {c} has size {n} for an operand which does not "
                    f"broadcast with {size[c]}"
                )
    a = (
        a.sum([k for k, c in enumerate(la) if c not in lb and c not in needed], True)
        if any(c not in lb and c not in needed for c in la)
        else a
    )
    b = (
        b.sum([k for k, c in enumerate(lb) if c not in la and c not in needed], True)
        if any(c not in la and c not in needed for c in lb)
        else b
    )
    batch = [c for c in la if c in lb and c in needed]
    summed = [c for c in la if c in lb and c not in needed]
    only_a = [c for c in la if c not in lb]
    only_b = [c for c in lb if c not in la]

    def arrange(labels: str, x: Tensor, order: list[str]) -> Tensor:
        x = x.permute(*(labels.index(c) for c in order)) if len(order) > 0 else x
        want = [size[c] if (c in la and c in lb) else x._n.shape[k] for k, c in enumerate(order)]
        return x.expand(want) if tuple(want) != x._n.shape else x

    if not summed:
        left, right = (arrange(la, a, batch + only_a), arrange(lb, b, batch + only_b))
        lead = [*left._n.shape[: len(batch) + len(only_a)], *[1] * len(only_b)]
        tail = [*right._n.shape[: len(batch)], *[1] * len(only_a), *right._n.shape[len(batch) :]]
        return "".join(batch + only_a + only_b), left.reshape(lead).mul(right.reshape(tail))
    x = arrange(la, a, batch + only_a + summed)
    y = arrange(lb, b, batch + summed + only_b)
    lead = [size[c] for c in batch]
    m = x._n.shape[len(batch) : len(batch) + len(only_a)]
    n = y._n.shape[len(batch) + len(summed) :]
    k = math.prod(size[c] for c in summed)
    out = matmul(x.reshape(*lead, math.prod(m), k), y.reshape(*lead, k, math.prod(n)))
    return "".join(batch + only_a + only_b), out.reshape(*lead, *m, *n)


@operator(method=False)
def cdist(
    x1: Tensor,
    x2: Tensor,
    p: float = 2.0,
    compute_mode: str = "use_mm_for_euclid_dist_if_necessary",
) -> Tensor:
    """p-norm distances between rows of two sets (torch.cdist)."""
    from cupola.functional.reduction import vector_norm

    one_dtype("cdist", x1, x2)
    if p < 0:
        raise RuntimeError("cdist only supports non-negative p values")
    gap = x1.unsqueeze(-2).sub(x2.unsqueeze(-3))
    if p == 0:
        return wrap(tied(vector_norm(gap.detach(), p, -1).node, x1.node, x2.node))
    return largest_gap(gap) if p == math.inf else vector_norm(gap, p, -1)


def largest_gap(gap: Tensor) -> Tensor:
    """The largest difference along the last dimension; as in PyTorch, the gradient goes to all that
    are as large, undivided.
    """
    size = gap.abs()
    found = size.detach().amax(-1)  # type: ignore[attr-defined]
    if not gap.requires_grad:
        return found
    return wrap(carried(size.where(size == found.unsqueeze(-1), 0.0).sum(-1).node, found.node))


@operator(out=True)
def cross(input: Tensor, other: Tensor, dim: int | None = None) -> Tensor:
    """Cross product of 3-vectors (torch.cross)."""
    if dim is None:
        dim = next(i for i, n in enumerate(input._n.shape) if n == 3)
    one_dtype("linalg.cross", input, other)
    a, b = input, other
    there = settled(a.roll(-1, dim).mul(b.roll(-2, dim)))
    return there.sub(settled(a.roll(-2, dim).mul(b.roll(-1, dim))))


@operator
def trace(input: Tensor) -> Tensor:
    """Sum of the diagonal of a matrix (torch.trace)."""
    if input.ndim != 2:
        raise RuntimeError("trace: expected a matrix")
    return input.diagonal().sum()


@operator(method=False, out=True)
def kron(input: Tensor, other: Tensor) -> Tensor:
    """Kronecker product (torch.kron)."""
    n = max(input.ndim, other.ndim)
    a = input.reshape((1,) * (n - input.ndim) + input._n.shape)
    b = other.reshape((1,) * (n - other.ndim) + other._n.shape)
    x = a.reshape(tuple(v for s in a._n.shape for v in (s, 1)))
    y = b.reshape(tuple(v for s in b._n.shape for v in (1, s)))
    return x.mul(y).reshape(tuple(p * q for p, q in zip(a._n.shape, b._n.shape, strict=True)))


Tensor.kron = kron


def svdvals(x: Tensor) -> Tensor:
    """Singular values; not differentiable yet."""
    import numpy as np

    from cupola.tensor.create import of_array

    return of_array(np.linalg.svd(host(x), compute_uv=False), x.device)


__all__ = ["dtypes", "einsum", "matmul", "mm", "wrap"]
