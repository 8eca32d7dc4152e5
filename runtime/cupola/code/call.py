"""``cupola.code``: from arguments to an operator, and from an operator to recorded tensors."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

from cupola import engine
from cupola.code.operator import Gradient, Operator, launch_now
from cupola.code.stage import Options, Shape, Stage
from cupola.code.where import Caller, Text, caller
from cupola.dtypes import dtype as DType
from cupola.dtypes import from_numpy_dtype
from cupola.ir import source
from cupola.ir.device import resolve
from cupola.ir.mode import mode
from cupola.ir.node import Node
from cupola.ir.number import Dynamic
from cupola.ops.custom import code as primitive
from cupola.tensor import Tensor, wrap

_LIMIT = 4096
_recipes: dict[Any, _Recipe] = {}
_operators: dict[Any, Operator] = {}
_last: tuple[Any, _Recipe | None] = ((), None)
_DEBUG = os.environ.get("CUPOLA_DEBUG", "0") not in ("", "0")


def deferred() -> bool:
    """Whether calls have to be recorded and run later: while a function is being captured."""
    return mode.held


def code(
    shape: Any = None,
    dtype: Any = None,
    inputs: Sequence[Tensor] = (),
    *,
    outputs: Sequence[Tensor] | None = None,
    cpu_src: str = "",
    cpu_header: str = "",
    cpu_grad_src: Any = None,
    cuda_src: str = "",
    cuda_header: str = "",
    cuda_grad_src: Any = None,
    grad: Any = None,
    data: Mapping[str, float | int] | None = None,
    include_dirs: Sequence[str] = (),
    flags: Sequence[str] = (),
    libraries: Sequence[str] = (),
    cuda_flags: Sequence[str] = (),
    device: Any = None,
    debug: bool | None = None,
) -> Any:
    """Runs C++ or CUDA source on tensors: an operator written where it is used.

    In a source, ``@in0(i, j)`` and ``@out(i, j)`` (``@out0``, ``@out1``, … with several outputs)
    are elements; ``in0_shape0``, ``in0_stride0``, ``in0_type``, ``in0_p`` and ``in0_numel`` are
    sizes, strides in elements, element type, pointer and number of elements; ``@alias(name, in0)``
    gives an array another name; ``data["x"]`` is a number. Code is compiled once for a source, the
    ranks and the dtypes; new sizes and numbers compile nothing. docs/tutorials/code.md shows every
    feature.

    Args:
        shape: the output's shape, or a list of shapes. A negative size is an upper bound: the
            source sets the size itself, in ``out0_size0`` or by ``out0->set_shape({n})``.
        dtype: the output's dtype, or a list of dtypes.
        inputs: tensors of one device, with any strides.
        outputs: instead of shape and dtype: tensors to write into; the source finds their
            contents.
        cpu_src, cpu_header: C++ statements, and what stands before the function (``#include``).
        cuda_src, cuda_header: ``__global__`` kernels and the lines that launch them; nvcc is not
            needed.
        cpu_grad_src, cuda_grad_src: a list with one source for each input (or None), whose ``@out``
            is that input's gradient, or one source for all, with ``@out0``, ``@out1``, …; they see
            ``@dout`` (gradient of the output), ``@pout`` (the output) and ``@in0``, ….
        grad: a Python function ``grad(grads, inputs, outputs)`` of tuples of tensors that returns
            one gradient (or None) for each input; it is itself differentiable.
        data: numbers by name; a number that changes compiles nothing.
        include_dirs: folders of headers. flags, libraries: for the C++ compiler. cuda_flags: for
            NVRTC.
        device: where the output is made if there are no inputs.
        debug: checks every access against the bounds (by default if CUPOLA_DEBUG is set).

    Returns:
        A tensor, or a tuple of them for a list of shapes. With ``outputs``, those tensors.

    Raises:
        CompileError: the source is rejected; the text names file and line of the Python program.
        BackendError: there is no C++ compiler.
        IndexError: in debug mode, an access is out of bounds.
        RuntimeError: no source for the tensors' device; tensors of several devices.
    """
    try:
        nodes = [t._n if t._storage is None else t._sync() for t in inputs]
    except AttributeError:
        raise _not_a_tensor("inputs", inputs) from None
    names, numbers, kinds = _numbers(data) if data else _NO_NUMBERS
    # The usual lists, as tuples: faster than finding out that a key cannot be hashed.
    if type(shape) is list:
        shape = _frozen(shape)
    if type(dtype) is list:
        dtype = tuple(dtype)
    if type(cpu_grad_src) is list:
        cpu_grad_src = tuple(cpu_grad_src)
    if type(cuda_grad_src) is list:
        cuda_grad_src = tuple(cuda_grad_src)
    if type(flags) is list:
        flags = tuple(flags)
    key: Any = (
        shape, dtype, cpu_src, cuda_src, cpu_header, cuda_header, cpu_grad_src, cuda_grad_src,
        names, kinds, include_dirs, flags, libraries, cuda_flags, debug, len(nodes),
        outputs is None,
    )  # fmt: skip
    global _last
    last = _last
    if key == last[0]:  # the same objects again: faster than hashing them
        found = last[1]
    else:
        try:
            found = _recipes.get(key)
            if found is not None:
                _last = (key, found)
        except TypeError:  # lists
            key = tuple(map(_frozen, key))
            found = _recipes.get(key)
    if found is None:
        if outputs is not None:
            return _into(list(outputs), nodes, numbers, key, grad)
        found = _recipe(key)
    elif nodes and not deferred():
        quick = found.quick.get(nodes[0].device)
        made = quick(nodes, numbers) if quick is not None else None
        if made is not None:
            return wrap(made[0]) if found.single else tuple(map(wrap, made))
    operator = found.operator if grad is None else found.operator.with_function(grad)
    made = _record(operator, nodes, found.shapes, numbers, device)
    where = made[0].device
    if where not in found.quick:
        found.quick[where] = operator.stage.runner(where.type).quick(found.shapes, where)
    return wrap(made[0]) if found.single else tuple(map(wrap, made))


class _Recipe:
    """What a call's arguments mean, tensors and numbers apart."""

    __slots__ = ("operator", "quick", "shapes", "single")

    def __init__(self, operator: Operator, shapes: tuple[Shape, ...], single: bool) -> None:
        self.operator = operator
        self.shapes = shapes
        self.single = single
        self.quick: dict[Any, Any] = {}


def _recipe(key: tuple[Any, ...]) -> _Recipe:
    shapes, dtypes, varies, single = _outputs(key[0], key[1])
    operator = _operator(_frozen(key[2:]), dtypes, varies, tuple(map(len, shapes)), False)
    if len(_recipes) >= _LIMIT:
        _recipes.clear()
    found = _recipes[key] = _Recipe(operator, shapes, single)
    return found


def _not_a_tensor(argument: str, given: Any) -> Exception:
    for k, t in enumerate(given):
        if not isinstance(t, Tensor):
            what = f"cupola.code: {argument}[{k}] is {type(t).__name__}, not a tensor"
            return TypeError(what)
    return AttributeError("a tensor without a value")


def _record(
    operator: Operator,
    nodes: list[Node],
    shapes: tuple[Shape, ...],
    numbers: tuple[Any, ...],
    device: Any = None,
) -> list[Node]:
    """Runs the operator if its inputs are there, and records it otherwise."""
    where = nodes[0].device if nodes else resolve(device)
    for n in nodes:
        if n.device is not where:
            found = sorted({str(n.device) for n in nodes})
            raise RuntimeError(
                f"cupola.code: the inputs are on several devices, {' and '.join(found)}; move "
                "them with .to(device)"
            )
    operator.stage.text(where.type)
    if not deferred() or operator.stage.dynamic:
        # Run now: a compiler's message then comes at the line that it is about, a number that
        # changes makes no new plan, and a size that the source decides is known.
        engine.realize(nodes)
        if mode.held:
            engine.stats["hits"] += 1  # a captured function observes a value here
        return launch_now(operator, nodes, shapes, numbers, where)
    if not nodes:
        nodes = [source.const(0, (), operator.dtypes[0], where)]
    joint = primitive(*nodes, operator=operator, shapes=shapes, numbers=numbers)
    return [source.item(joint, k) for k in range(len(shapes))]


def _into(
    outputs: list[Tensor],
    nodes: list[Node],
    numbers: tuple[Any, ...],
    key: tuple[Any, ...],
    grad: Any,
) -> Any:
    """Writes into given tensors."""
    if key[0] is not None or key[1] is not None:
        raise ValueError("cupola.code: give either outputs= or shape and dtype, not both")
    try:
        starts = [t.node for t in outputs]
    except AttributeError:
        raise _not_a_tensor("outputs", outputs) from None
    shapes = tuple(tuple(n.shape) for n in starts)
    dtypes = tuple(n.dtype for n in starts)
    operator = _operator(
        _frozen(key[2:]), dtypes, ((),) * len(starts), tuple(map(len, shapes)), True
    )
    if grad is not None:
        operator = operator.with_function(grad)
    for t, n in zip(outputs, _record(operator, [*nodes, *starts], shapes, numbers)):
        t.assign(n)
    return outputs[0] if len(outputs) == 1 else tuple(outputs)


_NO_NUMBERS: tuple[Any, ...] = ((), (), ())


def _numbers(data: Mapping[str, float | int]) -> tuple[Any, ...]:
    """Names, values and types."""
    values = tuple(data.values())
    for k, v in zip(data, values):
        if not isinstance(v, (int, float)):
            if hasattr(v, "item") or type(v) is Dynamic:
                return _numbers({n: _number(x) for n, x in data.items()})
            raise TypeError(
                f"cupola.code: data[{k!r}] is {type(v).__name__}; data holds numbers, and tensors "
                "are passed in inputs="
            )
    return tuple(data), values, tuple(map(type, values))


def _number(x: Any) -> Any:
    if type(x) is Dynamic:
        return float(x)
    return x.item() if hasattr(x, "item") else x


def _frozen(x: Any) -> Any:
    """Lists as tuples, at any depth, so that arguments can be looked up."""
    return tuple(map(_frozen, x)) if isinstance(x, (list, tuple)) else x


def _outputs(
    shape: Any, dtype: Any
) -> tuple[tuple[Shape, ...], tuple[DType, ...], tuple[tuple[int, ...], ...], bool]:
    """Shapes (bounds without sign), dtypes, varying dimensions, whether one output was asked for.

    Raises:
        TypeError, ValueError: what is wrong, and with which output.
    """
    if shape is None or dtype is None:
        raise TypeError("cupola.code: give the output's shape and dtype, or outputs=")
    single = isinstance(shape, int) or not any(isinstance(s, (list, tuple)) for s in shape)
    if isinstance(shape, int):
        shape = (shape,)
    shapes = (shape,) if single else tuple(shape)
    several = isinstance(dtype, (list, tuple))
    dtypes = tuple(dtype) if several else (dtype,) * len(shapes)
    if len(dtypes) != len(shapes):
        raise ValueError(
            f"cupola.code: {len(shapes)} shapes and {len(dtypes)} dtypes are given for the outputs"
        )
    sizes, types, varies = [], [], []
    for k, (s, d) in enumerate(zip(shapes, dtypes)):
        if not isinstance(s, (list, tuple)) or any(not _whole(n) for n in s):
            raise TypeError(
                f"cupola.code: the shape of out{k} is {s!r}; a shape is a tuple of integers "
                "(a negative one is an upper bound)"
            )
        types.append(_dtype(d, k))
        sizes.append(tuple(abs(int(n)) for n in s))
        varies.append(tuple(i for i, n in enumerate(s) if n < 0))
    return tuple(sizes), tuple(types), tuple(varies), single


def _whole(n: Any) -> bool:
    return hasattr(n, "__index__") and not isinstance(n, bool)


def _dtype(d: Any, k: int) -> DType:
    if isinstance(d, DType):
        return d
    try:
        if not isinstance(d, (str, type)) and not hasattr(d, "kind"):
            raise TypeError
        import numpy as np

        return from_numpy_dtype(np.dtype(d))
    except (TypeError, KeyError, ValueError):
        raise TypeError(
            f"cupola.code: the dtype of out{k} is {d!r}; give a dtype such as cupola.float32"
        ) from None


def _operator(
    fixed: tuple[Any, ...],
    dtypes: tuple[DType, ...],
    varies: tuple[tuple[int, ...], ...],
    ranks: tuple[int, ...],
    given: bool,
) -> Operator:
    """The operator of these arguments: the same object for the same arguments."""
    key = (fixed, dtypes, varies, ranks, given)
    found = _operators.get(key)
    if found is not None:
        return found
    cpu_src, cuda_src, cpu_header, cuda_header, cpu_grad, cuda_grad, names, kinds = fixed[:8]
    include_dirs, flags, libraries, cuda_flags, debug, count = fixed[8:14]
    called = caller()
    texts = {}
    sources = {}
    for device, src, header, gradient in (
        ("cpu", cpu_src, cpu_header, cpu_grad),
        ("cuda", cuda_src, cuda_header, cuda_grad),
    ):
        if src:
            texts[device] = (
                Text(f"{device}_header", header, called),
                Text(f"{device}_src", src, called),
            )
            if gradient is not None:
                sources[device] = _gradient_texts(f"{device}_grad_src", gradient, count, called)
    if not texts:
        raise ValueError("cupola.code: give cpu_src or cuda_src")
    if any(isinstance(x, str) for x in (include_dirs, flags, libraries, cuda_flags)):
        raise TypeError("cupola.code: include_dirs, flags, libraries and cuda_flags are lists")
    stage = Stage(
        texts,
        tuple(f"in{k}" for k in range(count)),
        dtypes,
        ranks,
        varies,
        tuple((n, "d" if issubclass(k, float) else "q") for n, k in zip(names, kinds)),
        Options(
            flags,
            tuple(map(str, include_dirs)),
            libraries,
            cuda_flags,
            _DEBUG if debug is None else debug,
        ),
        given,
    )
    if len(_operators) >= _LIMIT:
        _operators.clear()
    found = _operators[key] = Operator(stage, Gradient(None, sources), called)
    return found


def _gradient_texts(argument: str, given: Any, count: int, called: Caller) -> Any:
    if isinstance(given, str):
        return Text(argument, given, called)
    if len(given) != count:
        raise ValueError(
            f"cupola.code: {argument} holds {len(given)} sources for {count} inputs; give one "
            "source, or None, for each"
        )
    return tuple(None if not s else Text(argument, s, called) for s in given)
