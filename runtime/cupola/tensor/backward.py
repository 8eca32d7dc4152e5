"""Entry points of reverse-mode differentiation: ``backward`` and ``grad``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from cupola import autodiff
from cupola.ir import source
from cupola.ir.mode import mode
from cupola.ir.node import Node
from cupola.ops import elementwise
from cupola.tensor.core import Tensor, wrap
from cupola.tensor.history import past
from cupola.tensor.written import holding, note

Tensors = Tensor | Sequence[Tensor]

# Called with the leaves whose ``grad`` a backward pass has changed; data parallelism hooks in here.
finished: list[Callable[[list[Tensor]], None]] = []
# What the seeds of ``backward`` are multiplied by: this process's share of a batch.
weight: Callable[[], float] = lambda: 1.0


def _listed(x: Any) -> list[Any]:
    return [x] if isinstance(x, Tensor) or x is None else list(x)


def _seeds(roots: list[Tensor], given: Any) -> list[Node]:
    grads = _listed(given) if given is not None else [None] * len(roots)
    if len(grads) != len(roots):
        raise RuntimeError(f"got {len(roots)} tensors and {len(grads)} gradients")
    out = []
    for root, g in zip(roots, grads, strict=True):
        node = root.node
        if not node.requires_grad:
            raise RuntimeError(
                "element 0 of tensors does not require grad and does not have a grad_fn"
            )
        if g is None:
            if node.numel != 1:
                raise RuntimeError("grad can be implicitly created only for scalar outputs")
            if node.dtype.is_complex:
                raise RuntimeError(
                    "grad can be implicitly created only for real scalar outputs but got "
                    f"{node.dtype}. Give its gradient, or differentiate its real part."
                )
            out.append(source.const(1, node.shape, node.dtype, node.device))
        elif g.node.shape != node.shape:
            raise RuntimeError(
                f"Mismatch in shape: grad_output[0] has a shape of {g.shape} and output[0] has a "
                f"shape of {root.shape}."
            )
        elif g.dtype is node.dtype:
            out.append(g.node)
        elif g.dtype.is_complex or node.dtype.is_complex:
            raise RuntimeError(
                "For complex Tensors, both grad_output and output are required to have the same "
                f"dtype. Mismatch in dtype: grad_output[0] has a dtype of {g.dtype} and output[0] "
                f"has a dtype of {node.dtype}."
            )
        else:
            out.append(elementwise.cast(g.node, dtype=node.dtype))
    return out


def _recorded(roots: list[Node], targets: list[Tensor]) -> list[list[Node]]:
    """The nodes that stand for each target: a leaf that shares memory has one for each time it
    was read.
    """
    out = [[past(t.node)] for t in targets]
    if any(t.is_leaf and (t._version or t._storage is not None) for t in targets):
        owners: dict[int, list[Node]] = {}
        for node in autodiff.leaves(roots):
            assert node.meta is not None
            owners.setdefault(id(node.meta["leaf"]()), []).append(node)
        for t, nodes in zip(targets, out, strict=True):
            if t.is_leaf:
                nodes += [n for n in owners.get(id(t), ()) if n is not nodes[0]]
    return out


def _unseen() -> bool:
    """Whether nobody walks over what is recorded now, but to compute it."""
    return not (mode.held or holding.level or mode.walking is not None)


def backward(
    tensors: Tensors,
    grad_tensors: Any = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    grad_variables: Any = None,
    inputs: Any = None,
) -> None:
    """Adds gradients of ``tensors`` to the ``grad`` of leaves, or of ``inputs`` only
    (torch.autograd.backward).

    Raises:
        RuntimeError: nothing requires a gradient, a seed is missing or has the wrong shape, the
            graph was freed.
    """
    roots = _listed(tensors)
    nodes = [t.node for t in roots]
    seeds = _seeds(roots, grad_tensors)
    share = weight()
    if share != 1.0:
        seeds = [elementwise.mul(s, source.const(share, s.shape, s.dtype, s.device)) for s in seeds]
    retain = create_graph if retain_graph is None else retain_graph
    targets = None if inputs is None else _listed(inputs)
    if targets is not None and not targets:
        raise RuntimeError("`inputs` argument to `backward()` cannot be empty.")
    wanted = None if targets is None else [past(t.node) for t in targets]
    order, known = {}, None
    if targets is None:
        known = autodiff.tape(nodes)
        for node in known:
            if node.meta is not None and "leaf" in node.meta:
                order[id(node)] = node.meta["leaf"]()
    else:
        for t in targets:
            if t.is_leaf:
                order[id(t.node)] = t
            else:
                t.retain_grad()
    found = autodiff.backward(nodes, seeds, wanted, create_graph, retain, _unseen(), known)
    saved, mode.grad = mode.grad, create_graph
    try:
        for key, owner in order.items():
            if owner is not None and key in found:
                owner.accumulate_grad(found[key])
    finally:
        mode.grad = saved
    for t in roots:
        note(t)  # most loops look at their loss after the step
    for hook in finished:
        hook([owner for key, owner in order.items() if owner is not None and key in found])


def grad(
    outputs: Tensors,
    inputs: Tensors,
    grad_outputs: Any = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    only_inputs: bool = True,
    allow_unused: bool | None = None,
    is_grads_batched: bool = False,
    materialize_grads: bool = False,
) -> tuple[Tensor | None, ...]:
    """Gradients of ``outputs`` with respect to ``inputs``, returned and not accumulated
    (torch.autograd.grad).

    Raises:
        RuntimeError: an input was not used and neither ``allow_unused`` nor ``materialize_grads``
            is given.
    """
    if is_grads_batched:
        rest = retain_graph, create_graph, allow_unused, materialize_grads
        return _batched(outputs, inputs, grad_outputs, *rest)
    roots, targets = _listed(outputs), _listed(inputs)
    for t in targets:
        if not t.requires_grad:
            raise RuntimeError("One of the differentiated Tensors does not require grad")
    retain = create_graph if retain_graph is None else retain_graph
    nodes = [t.node for t in roots]
    seeds = _seeds(roots, grad_outputs)
    wanted = _recorded(nodes, targets)
    flat = [n for ns in wanted for n in ns]
    found = autodiff.backward(nodes, seeds, flat, create_graph, retain, _unseen())
    out: list[Tensor | None] = []
    for group in wanted:
        node, g = group[0], None
        for n in group:
            if id(n) in found:
                g = found[id(n)] if g is None else elementwise.add(g, found[id(n)])
        if g is None and materialize_grads:
            g = source.const(0, node.shape, node.dtype, node.device)
        if g is None and not allow_unused:
            raise RuntimeError(
                "One of the differentiated Tensors appears to not have been used in the graph. "
                "Set allow_unused=True "
                "if this is the desired behavior."
            )
        out.append(None if g is None else wrap(g))
    return tuple(out)


def _batched(
    outputs: Any,
    inputs: Any,
    grad_outputs: Any,
    retain_graph: bool | None,
    create_graph: bool,
    allow_unused: bool | None,
    materialize: bool,
) -> tuple[Tensor | None, ...]:
    """``grad`` for each row of ``grad_outputs``: walked once, computed for all rows."""
    from cupola.tensor.batching import Level, entered

    rows = _listed(grad_outputs)
    sizes = {g.shape[0] for g in rows if g is not None and g.ndim}
    if len(sizes) != 1:
        raise RuntimeError(
            "is_grads_batched=True: every tensor of grad_outputs needs the same first dimension"
        )
    level = Level(sizes.pop())
    with entered(level):
        lanes = [None if g is None else wrap(level.lane(g.node)) for g in rows]
        rest = retain_graph, create_graph, True, allow_unused, False, materialize
        found = grad(outputs, inputs, lanes, *rest)
    live = [g.node for g in found if g is not None]
    done = iter(level.full(b, n) for b, n in zip(level.spread(live), live, strict=True))
    return tuple(None if g is None else wrap(next(done)) for g in found)
