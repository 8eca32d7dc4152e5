"""Programs of views, in-place writes, indexed assignment and backward, run in torch or in cupola.

A program is a list of steps ``(name, i, j, k)``: step ``name`` acts on tensor ``i`` of those made
so far, with tensor ``j`` as its other operand and ``k`` as its number. torch runs first and says
which steps read memory while they write it, where its own result depends on the order of its
loops: those are left out on both sides.

    python tests/graph/view_programs.py FIRST COUNT      # seeds FIRST ... FIRST + COUNT - 1
"""

from __future__ import annotations

import contextlib
import itertools
import random
import sys
import warnings

import numpy as np

SHAPES = [(4,), (2, 3), (3, 2), (4, 4), (2, 1, 3), (6,), (1, 4), (2, 2, 2), ()]


class Unfit(Exception):
    """Raised where a step has no meaning for the shapes at hand: it is passed over."""


def _size(x, d):
    if not x.dim() or not x.shape[d % x.dim()]:
        raise Unfit
    return x.shape[d % x.dim()]


def _rows(x, y):
    """Two rows of ``x``, and ``y`` as what they are replaced by."""
    if not x.dim() or x.shape[0] < 2 or y.shape != (2, *x.shape[1:]):
        raise Unfit
    return y


def _enough(x, y):
    """As many elements as a mask may ask for."""
    if y.numel() < x.numel():
        raise Unfit
    return y


def _root(x):
    """The tensor itself if it is no view and no result: what ``data`` is assigned to."""
    if x._is_view() or x.requires_grad and not x.is_leaf:
        raise Unfit
    return x


def _picked(m, x, k):
    """Indices into the first dimension, with a repetition and a negative one."""
    n = _size(x, 0)
    return m.tensor([k % n, -1, k % n])


def _set(x, key, value):
    x[key] = value
    return x


def _add_at(x, key, value):
    x[key] += value
    return x


def _mul_at(x, key, value):
    x[key] *= value
    return x


def _strided(x, k):
    sizes, strides, offset = [
        ((2,), (1,), None),
        ((2, 2), (1, 1), None),
        ((2,), (2,), 0),
        ((2, 2), (2, 1), 0),
        ((1, 3), (0, 1), 1),
        ((2, 2), (0, 1), None),
        ((), (), 1),
        ((3,), (1,), 1),
    ][k]
    return x.as_strided(sizes, strides, offset)


def _no_grad(m, act):
    with m.no_grad():
        return act()


def _backward(x):
    (x * x).sum().backward(retain_graph=True)
    return x


def _hook(x):
    if x._is_view() and x.is_leaf:  # under no_grad: torch crashes where there is no gradient
        raise Unfit
    x.register_hook(lambda g: g * 2)
    return x


def _grad_write(x):
    x.grad.mul_(0.5)
    return x


def _set_data(m, x, y):
    x.data = y.detach().clone()
    return x


# Views, by torch's rules; some give copies for some strides.
VIEWS = {
    "view": lambda m, x, k: x.view(-1),
    "view2": lambda m, x, k: x.view(2, -1),
    "reshape": lambda m, x, k: x.reshape(-1, 2) if k % 2 else x.reshape(-1),
    "flatten": lambda m, x, k: x.flatten(k % 2),
    "unflatten": lambda m, x, k: x.unflatten(-1, (-1, 2)),
    "t": lambda m, x, k: x.t(),
    "transpose": lambda m, x, k: x.transpose(0, k % max(x.dim(), 1)),
    "mT": lambda m, x, k: x.mT,
    "permute": lambda m, x, k: x.permute([(d + k) % x.dim() for d in range(x.dim())]),
    "movedim": lambda m, x, k: x.movedim(0, -1),
    "slice": lambda m, x, k: x[k % 3 :],
    "slice_end": lambda m, x, k: x[..., : k % 4],
    "stride": lambda m, x, k: x[..., k % 2 :: 2],
    "rows": lambda m, x, k: x[::2],
    "select": lambda m, x, k: x[k % _size(x, 0)],
    "select_last": lambda m, x, k: x[..., -1],
    "newaxis": lambda m, x, k: x[:, None],
    "middle": lambda m, x, k: x[k % _size(x, 0), :, None],
    "narrow": lambda m, x, k: x.narrow(k % max(x.dim(), 1), 0, 1),
    "expand": lambda m, x, k: x.expand(2, *x.shape),
    "expand_last": lambda m, x, k: x.unsqueeze(-1).expand(*x.shape, 2),
    "expand_ones": lambda m, x, k: x[:1].expand(3, *x.shape[1:]),
    "unsqueeze": lambda m, x, k: x.unsqueeze(k % (x.dim() + 1)),
    "squeeze": lambda m, x, k: x.squeeze(),
    "squeeze_dim": lambda m, x, k: x.squeeze(k % max(x.dim(), 1)),
    "as_strided": lambda m, x, k: _strided(x, k),
    "diagonal": lambda m, x, k: x.diagonal(k % 3 - 1),
    "unfold": lambda m, x, k: x.unfold(0, 2, 1 + k % 2),
    "split": lambda m, x, k: x.split(2)[-1],
    "chunk": lambda m, x, k: x.chunk(2, -1)[0],
    "unbind": lambda m, x, k: x.unbind(0)[k % _size(x, 0)],
    "detach": lambda m, x, k: x.detach(),
    "data": lambda m, x, k: x.data,
    "view_as": lambda m, x, k: x.view_as(x),
    "quiet_view": lambda m, x, k: _no_grad(m, lambda: x[:1]),
    "contiguous": lambda m, x, k: x.contiguous(),
    "real": lambda m, x, k: x.real,
    "imag": lambda m, x, k: x.imag,
    "as_real": lambda m, x, k: m.view_as_real(x),
    "as_complex": lambda m, x, k: m.view_as_complex(x),
    "as_complex_pairs": lambda m, x, k: m.view_as_complex(x.view(-1, 2)),
}
# Fresh values, flags and backward passes.
FRESH = {
    "clone": lambda m, x, k: x.clone(),
    "scale": lambda m, x, k: x * (k % 3 - 1.5),
    "sin": lambda m, x, k: x.sin(),
    "square": lambda m, x, k: x * x,
    "sigmoid": lambda m, x, k: x.sigmoid(),
    "sum": lambda m, x, k: x.sum(),
    "sum_dim": lambda m, x, k: x.sum(0),
    "cat": lambda m, x, k: m.cat([x, x]),
    "stack": lambda m, x, k: m.stack([x, x], -1),
    "gather": lambda m, x, k: x[_picked(m, x, k)],
    "take_mask": lambda m, x, k: x[x > 0],
    "flip": lambda m, x, k: x.flip(0),
    "no_grad_mul": lambda m, x, k: _no_grad(m, lambda: x * 2),
    "requires_grad_": lambda m, x, k: x.requires_grad_(k % 4 != 0),
    "leaf": lambda m, x, k: x.detach().clone().requires_grad_(),
    "retain_grad": lambda m, x, k: x.retain_grad(),
    "hook": lambda m, x, k: _hook(x),
    "backward": lambda m, x, k: _backward(x),
    "grad_write": lambda m, x, k: _grad_write(x),
    "detach_": lambda m, x, k: x.detach_(),
    "t_": lambda m, x, k: x.t_(),
    "transpose_": lambda m, x, k: x.transpose_(0, -1),
    "unsqueeze_": lambda m, x, k: x.unsqueeze_(0),
    "squeeze_": lambda m, x, k: x.squeeze_(),
}
# Writes of one tensor.
WRITES = {
    "add_": lambda m, x, k: x.add_(k),
    "mul_": lambda m, x, k: x.mul_(0.5),
    "sin_": lambda m, x, k: x.sin_(),
    "tanh_": lambda m, x, k: x.tanh_(),
    "sigmoid_": lambda m, x, k: x.sigmoid_(),
    "relu_": lambda m, x, k: x.relu_(),
    "neg_": lambda m, x, k: x.neg_(),
    "clamp_": lambda m, x, k: x.clamp_(-1, 1),
    "pow_": lambda m, x, k: x.pow_(2),
    "add_self": lambda m, x, k: x.add_(x),
    "mul_self": lambda m, x, k: x.mul_(x),
    "copy_self": lambda m, x, k: x.copy_(x),
    "addcmul_": lambda m, x, k: x.addcmul_(x, x, value=0.5),
    "iadd": lambda m, x, k: _no_grad(m, lambda: x.add_(1)),
    "data_mul_": lambda m, x, k: x.data.mul_(2),
    "detached_add_": lambda m, x, k: x.detach().add_(1),
    "reads_sin": lambda m, x, k: x.mul_(x.sin()),
}
# Writes that repeat nothing: the same value goes to every place.
CONSTANT_WRITES = {
    "zero_": lambda m, x, k: x.zero_(),
    "fill_": lambda m, x, k: x.fill_(k * 0.5),
    "masked_fill_": lambda m, x, k: x.masked_fill_(x > 0, -1.5),
    "set_slice": lambda m, x, k: _set(x, slice(0, 1 + k % 2), 2.0),
    "set_item": lambda m, x, k: _set(x, (k % _size(x, 0), ..., None), 0.25),
    "set_mask": lambda m, x, k: _set(x, x > 0, -1.0),
    "set_rows": lambda m, x, k: _set(x, _picked(m, x, k), 3.0),
    "set_pair": lambda m, x, k: _set(
        x, (m.tensor([0, _size(x, 0) - 1]), m.tensor([_size(x, 1) - 1, 0])), 4.0
    ),
    "set_ellipsis": lambda m, x, k: _set(x, ..., 0.75),
    "index_fill_": lambda m, x, k: x.index_fill_(0, m.tensor([0, _size(x, 0) - 1]), -2.0),
    "fill_diagonal_": lambda m, x, k: x.fill_diagonal_(1.25),
}
# Reads at a place and writes it back.
INDEXED = {
    "add_at_row": lambda m, x, k: _add_at(x, (k % _size(x, 0), slice(None), None), 1.0),
    "add_at_list": lambda m, x, k: _add_at(x, _picked(m, x, k), 1.0),
    "mul_at_mask": lambda m, x, k: _mul_at(x, x < 0.3, -2.0),
    "add_at_last": lambda m, x, k: _add_at(x, (..., -1), 0.5),
}
PAIRS = {
    "add": lambda m, x, y, k: x + y,
    "mul": lambda m, x, y, k: x * y,
    "matmul": lambda m, x, y, k: (x @ y) * 1,
    "where": lambda m, x, y, k: m.where(x > 0, x, y),
    "maximum": lambda m, x, y, k: m.maximum(x, y),
    "expand_as": lambda m, x, y, k: x.expand_as(y),
    "view_as": lambda m, x, y, k: x.view_as(y),
    "reshape_as": lambda m, x, y, k: x.reshape(y.shape),
    "cat2": lambda m, x, y, k: m.cat([x, y]),
    "grads": lambda m, x, y, k: (
        m.autograd.grad((x * x).sum(), y, retain_graph=True, create_graph=k % 2 == 0)[0] * 1
    ),
    "set_data": lambda m, x, y, k: _set_data(m, _root(x), y),
}
PAIR_WRITES = {
    "add_2": lambda m, x, y, k: x.add_(y),
    "mul_2": lambda m, x, y, k: x.mul_(y),
    "sub_2": lambda m, x, y, k: x.sub_(y, alpha=0.5),
    "copy_2": lambda m, x, y, k: x.copy_(y),
    "quiet_copy": lambda m, x, y, k: _no_grad(m, lambda: x.copy_(y)),
    "addcmul_2": lambda m, x, y, k: x.addcmul_(y, y),
    "lerp_2": lambda m, x, y, k: x.lerp_(y, 0.3),
    "set_slice_2": lambda m, x, y, k: _set(x, slice(0, 1 + k % 3), y),
    "set_item_2": lambda m, x, y, k: _set(x, k % _size(x, 0), y),
    "set_newaxis_2": lambda m, x, y, k: _set(x, (slice(None), None), y),
    "set_mask_2": lambda m, x, y, k: _set(x, x > 0.2, y),
    "set_mask_take_2": lambda m, x, y, k: _set(x, x > 0.2, y[y > 0.2]),
    "set_perm_2": lambda m, x, y, k: _set(x, m.tensor([_size(x, 0) - 1, 0]), y),
    "add_at_2": lambda m, x, y, k: _add_at(x, (k % _size(x, 0), ...), y),
    "add_at_list_2": lambda m, x, y, k: _add_at(x, m.tensor([_size(x, 0) - 1, 0]), y),
    "masked_fill_2": lambda m, x, y, k: x.masked_fill_(x > 0, y),
    "masked_scatter_2": lambda m, x, y, k: x.masked_scatter_(x > 0, _enough(x, y)),
    "index_copy_2": lambda m, x, y, k: x.index_copy_(0, m.tensor([1, 0]), _rows(x, y)),
    "index_add_2": lambda m, x, y, k: x.index_add_(0, m.tensor([1, 0]), _rows(x, y)),
    "scatter_2": lambda m, x, y, k: x.scatter_(
        0, m.tensor([1, 0]).view(2, *(1,) * (x.dim() - 1)).expand(_rows(x, y).shape), y
    ),
    "index_put_acc": lambda m, x, y, k: x.index_put_(
        (m.tensor([0, 0]),), _rows(x, y), accumulate=True
    ),
    "data_copy_2": lambda m, x, y, k: x.data.copy_(y),
}
ONE = {**VIEWS, **FRESH, **WRITES, **CONSTANT_WRITES, **INDEXED}
TWO = {**PAIRS, **PAIR_WRITES}
NAMES = sorted(ONE) + sorted(TWO)
# Writes that read nothing: repeated places make no difference to them.
_SAFE = set(CONSTANT_WRITES)
# Writes at indices, which read their operand anywhere.
_BY_INDEX = {
    *("set_mask_2", "set_mask_take_2", "set_perm_2", "masked_scatter_2", "index_copy_2"),
    *("index_add_2", "scatter_2", "index_put_acc", "add_at_list_2"),
}
_TARGETS = {*WRITES, *CONSTANT_WRITES, *INDEXED, *PAIR_WRITES}
# Writes that the tape does not see. A gradient that reads such memory later gets the new values in
# torch, the recorded ones in cupola: programs with these steps are compared without gradients.
SILENT = {"data", "data_mul_", "data_copy_2", "set_data"}
BACKWARD = {"backward", "grads", "grad_write"}
# Copies of tensors with repeated elements lie in memory in an order of torch's own, by which views
# of the copies exist or not.
REPEATING = {"expand", "expand_last", "expand_ones", "expand_as", "as_strided", "unfold"}
OWN_ORDER = {"gather", "grads", "take_mask"}
VIEWED = {
    *("view", "view2", "view_as", "reshape", "reshape_as", "flatten", "unflatten"),
    *("as_complex", "as_complex_pairs"),
}
# Operators that cupola composes of others: torch keeps operands or results for the backward pass
# which cupola does not need, so overwriting them is an error in torch only.
COMPOSED = {"relu_", "matmul", "lerp_2", "masked_scatter_2", "mul_at_mask"}
# torch cannot tell the history of views that read memory as another dtype after their base was
# moved in place.
REREAD = {"real", "imag", "as_real", "as_complex", "as_complex_pairs"}
MOVED = {"t_", "transpose_", "unsqueeze_", "squeeze_"}
ERRORS = (RuntimeError, IndexError, ValueError, TypeError, AttributeError)


def places(x):
    """Where a torch tensor's elements lie in its storage, repetitions included."""
    axes = [range(0, n * s if s else n, s) if s else [0] * n for n, s in zip(x.shape, x.stride())]
    return [x.storage_offset() + sum(p) for p in itertools.product(*axes)] if x.numel() else []


def quirk(name, x, y):
    """Whether torch refuses one place of memory for the strides of dimensions of size 1."""
    if name not in PAIR_WRITES:
        return False
    shared = x.untyped_storage().data_ptr() == y.untyped_storage().data_ptr()
    if name.startswith("set_") and (1 in x.shape or 1 in y.shape or x.dim() != y.dim()):
        return shared and bool(set(places(x)) & set(places(y)))
    if x is y or x.shape != y.shape or x.stride() == y.stride():
        return False
    return shared and places(x) == places(y)


def undefined(name, x, y):
    """Whether torch's result depends on the order in which it visits memory."""
    if name not in _TARGETS:
        return False
    mine = places(x)
    if len(set(mine)) < len(mine) and (name not in _SAFE or x.requires_grad):
        return True
    if name in PAIR_WRITES and (y is not x or name in _BY_INDEX):
        shared = x.untyped_storage().data_ptr() == y.untyped_storage().data_ptr()
        if shared and set(mine) & set(places(y)) and (places(y) != mine or name in _BY_INDEX):
            return True
    return False


def _ask(x):
    """Has the history of a view renewed, as asking for ``grad_fn`` does: in torch a view made
    before its base required a gradient can be written only then.
    """
    with contextlib.suppress(RuntimeError):
        _ = x.is_leaf


class Undefined(Exception):
    """Raised when a step's result depends on the order in which torch visits memory."""


def kind(error):
    """The class of an error. Which kernels of torch's say that they are not implemented, and which
    that something is wrong, follows no rule.
    """
    return "RuntimeError" if isinstance(error, RuntimeError) else type(error).__name__


def execute(m, start, program, left_out):
    """(log, values): errors and flags as text; all values, then all gradients.

    Raises:
        Undefined: a step of torch's has to be left out; its place is the argument.
    """
    steps = {name for step, (name, *_) in enumerate(program) if step not in left_out}
    silent = bool(steps & SILENT)
    leaf = m.tensor(start, requires_grad=True)
    pool = [leaf, leaf * 1.5, m.tensor(start * 0.5)]
    log, loose = [], []
    for step, (name, i, j, k) in enumerate(program):
        x, y = pool[i % len(pool)], pool[j % len(pool)]
        free = any(x is t or name in TWO and y is t for t in loose)
        # torch gives a tensor whose data was replaced the history of writes to its old views.
        stale = name == "set_data" and any(t._base is x for t in pool)
        if step in left_out or silent and name in BACKWARD or free and name in VIEWED or stale:
            log.append("left out")
            continue
        _ask(x)
        unclear = m.__name__ == "torch" and (undefined(name, x, y) or quirk(name, x, y))
        try:
            out = ONE[name](m, x, k) if name in ONE else TWO[name](m, x, y, k)
            if out is not None and all(out is not p for p in pool):
                pool.append(out)
                if free or name in REPEATING | OWN_ORDER or name in PAIRS and x.shape != y.shape:
                    loose.append(out)
            if name == "set_data" and any(y is t for t in loose):
                loose.append(x)
            log.append("ok")
        except Unfit:
            log.append("unfit")
        except ERRORS as error:
            if "INTERNAL ASSERT" in str(error):  # a defect of torch's
                raise Undefined(step) from error
            log.append(kind(error))
        if unclear and (log[-1] == "ok" or quirk(name, x, y)):
            raise Undefined(step)
    values = [p.detach().clone() for p in pool]
    # What a backward pass has added up when it fails is nobody's business.
    whole = all(
        w == "ok" for w, (name, *_) in zip(log, program, strict=False) if name == "backward"
    )
    try:
        if silent:
            raise RuntimeError
        wanted = [m.view_as_real(p) if p.is_complex() else p for p in pool if p.requires_grad]
        total = sum((p.sum() for p in wanted), m.zeros(()))
        total.backward()
        log.append("ok")
    except RuntimeError as error:
        log.append(type(error).__name__)
        whole = False
    for p in pool:
        try:
            leaf_like = p.is_leaf
        except RuntimeError:
            leaf_like = "an error"
        grad = p.grad if whole and (leaf_like is True or p.retains_grad) else None
        values += [] if grad is None else [grad]
        log.append(
            f"{flags(p, all(p is not t for t in loose))} leaf {leaf_like}, grad {grad is not None}"
        )
    return log, values


def flags(x, strided):
    """What a tensor says of itself, as text; strides say nothing where a size is 1."""
    strides = strided and [s for n, s in zip(x.shape, x.stride()) if n > 1] if x.numel() else None
    place = x.storage_offset() if x.numel() else None
    view, version = x._is_view(), x._version
    return f"{tuple(x.shape)} {x.requires_grad} {strides} {place} view {view} version {version}"


def starting(shape):
    """The values a program begins with; no two are equal."""
    count = int(np.prod(shape))
    return np.linspace(-1.2, 1.7, count, dtype=np.float32).reshape(shape)


def compare(shape, program):
    """What differs between torch and cupola, as text, or None."""
    import torch

    import cupola

    start, left_out = starting(shape), set()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        while True:
            try:
                want_log, want = execute(torch, start, program, left_out)
                break
            except Undefined as found:
                left_out.add(found.args[0])
        try:
            got_log, got = execute(cupola, start, program, left_out)
            got = [g.numpy() for g in got]
        except Exception as error:
            return f"raised {type(error).__name__}: {error}"
    if _pardoned(want_log, got_log, program):
        return None
    names = [name for name, *_ in program]
    for place, (w, g) in enumerate(zip(want_log, got_log, strict=False)):
        if w != g:
            what = names[place] if place < len(names) else "the end"
            return f"{what} ({place}): torch {w}, cupola {g}"
    if len(want) != len(got) or len(want_log) != len(got_log):
        return f"{len(want)} values, got {len(got)}"
    for place, (w, g) in enumerate(zip(want, got, strict=True)):
        a, b = w.numpy(), g
        scale = np.abs(a[np.isfinite(a)]).max(initial=1.0)
        if a.shape != b.shape or not np.allclose(b, a, 1e-4, 1e-5 * scale, equal_nan=True):
            return f"value {place}: torch {a.tolist()}, cupola {b.tolist()}"
    return None


def _pardoned(want, got, program):
    """Whether torch alone complains: of an overwritten operand that cupola does not need, or of a
    view that it cannot follow.
    """
    names = [name for name, *_ in program]
    moved = set(names) & MOVED and set(names) & REREAD
    if not moved and not set(names) & (set(PAIRS) | set(PAIR_WRITES) | COMPOSED):
        return False
    return any(
        w == "RuntimeError" and g == "ok" and (place >= len(names) or names[place] in BACKWARD)
        for place, (w, g) in enumerate(zip(want, got, strict=False))
    )


def draw(seed):
    """The shape and the steps of one program."""
    source = random.Random(seed)
    steps = [
        (source.choice(NAMES), source.randrange(10), source.randrange(10), source.randrange(8))
        for _ in range(source.randint(1, 9))
    ]
    return source.choice(SHAPES), steps


def shrunk(shape, program):
    """A shorter program that still differs."""
    shorter = True
    while shorter:
        shorter = False
        for k in range(len(program)):
            trial = program[:k] + program[k + 1 :]
            if trial and compare(shape, trial):
                program, shorter = trial, True
                break
    return program


def main():
    """Runs the programs of a range of seeds and prints those that differ."""
    first, count = int(sys.argv[1]), int(sys.argv[2])
    bad = 0
    for seed in range(first, first + count):
        shape, program = draw(seed)
        found = compare(shape, program)
        if found:
            bad += 1
            short = shrunk(shape, program)
            print(f"{seed}: ({shape}, {short})\n    {compare(shape, short)}", flush=True)
    print(f"{count} programs from seed {first}, {bad} differ")


if __name__ == "__main__":
    main()
