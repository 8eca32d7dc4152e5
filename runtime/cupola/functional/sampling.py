"""Random tensors: for the same seed, the numbers that torch's CPU generator gives.

Numbers are drawn when the function is called, in program order, on the host; a tensor for a GPU is
copied there.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from cupola import dtypes, random
from cupola.dtypes import dtype as DType
from cupola.functional._convert import broadcast_shapes, host
from cupola.functional._register import PUBLIC, operator
from cupola.functional.creation import out_dtype, sizes
from cupola.functional.selection import where
from cupola.functional.strides import memory_order, strides
from cupola.ir import source
from cupola.ir.device import device as Device
from cupola.ir.device import resolve
from cupola.ops import movement as mv
from cupola.tensor import Tensor, wrap
from cupola.tensor.batching import Level, drawn, left, levels, physical
from cupola.tensor.create import of_array
from cupola.tensor.geometry import check_write, ordered


class Generator(random.CPUGenerator):
    """A stream of random numbers (torch.Generator)."""

    def __new__(cls, device: Any = "cpu") -> Generator:
        return object.__new__(cls)

    def __init__(self, device: Any = "cpu") -> None:
        super().__init__()
        self._device = Device(device)

    @property
    def device(self) -> Device:
        return self._device

    def get_state(self) -> Any:
        """The state as a uint8 tensor, in torch's layout."""
        return of_array(super().get_state(), "cpu")

    def set_state(self, state: Any) -> None:
        """Restores a state that ``get_state`` gave (here or in torch)."""
        super().set_state(state.numpy() if isinstance(state, Tensor) else state)

    def __getstate__(self) -> Any:
        return super().__getstate__(), str(self._device)

    def __setstate__(self, state: Any) -> None:
        state, device = state
        super().__setstate__(state)
        self._device = Device(device)

    def __repr__(self) -> str:
        return f"<torch._C.Generator object at {hex(id(self))}>"

    __slots__ = ("_device",)


def get_rng_state() -> Tensor:
    """The default generator's state (torch.get_rng_state)."""
    return of_array(random.default_generator.get_state(), "cpu")


def set_rng_state(new_state: Tensor) -> None:
    """Restores the default generator's state (torch.set_rng_state)."""
    random.default_generator.set_state(new_state.numpy())


PUBLIC["get_rng_state"], PUBLIC["set_rng_state"] = get_rng_state, set_rng_state


def _floating(dtype: DType | None) -> DType:
    return dtypes.asked(dtype) or dtypes.get_default_dtype()


def _complex(draw: Any, shape: tuple[int, ...], dtype: DType, scale: float = 1.0) -> Any:
    parts = draw((*shape, 2), dtype.to_real())
    made = parts[..., 0] + 1j * parts[..., 1]
    return (made * scale).astype(dtype.np)


def _made(array: Any, device: Any, requires_grad: bool, out: Tensor | None) -> Tensor:
    made = of_array(array, device)
    if out is not None:
        from cupola.functional._register import deliver

        result: Tensor = deliver(made, out)
        return result
    if requires_grad:
        made.requires_grad = True
    return made


def _fitted(out: Tensor, shape: tuple[int, ...], dtype: DType | None) -> Any:
    """``out=`` in the shape of the result: it is filled where it lies, in the order of its memory.

    Raises:
        RuntimeError: another dtype was asked for.
    """
    out_dtype(dtype, out)
    return out if out._n.shape == shape else out.resize_(shape)  # type: ignore[attr-defined]


def _drawn(
    shape: tuple[int, ...],
    draw: Any,
    device: Any,
    requires_grad: bool,
    out: Tensor | None = None,
) -> Tensor:
    """What ``draw(shape)`` gives; inside mapped functions one draw for all or for each example."""
    if not levels():
        return _made(draw(shape), device, requires_grad, out)
    made = drawn(shape, lambda s: of_array(draw(s), device))
    return made.requires_grad_() if requires_grad else made


def rand(
    *size: Any,
    generator: Any = None,
    out: Any = None,
    dtype: DType | None = None,
    layout: Any = None,
    device: Any = None,
    requires_grad: bool = False,
    pin_memory: bool = False,
    names: Any = None,
) -> Tensor:
    """Uniform numbers in [0, 1) (torch.rand)."""
    kind, shape = _floating(dtype), sizes(size or ((),))
    if out is not None:
        return _fitted(out, shape, dtype).uniform_(generator=generator)

    def draw(s: tuple[int, ...], d: DType) -> Any:
        return random.uniform(s, d, generator=generator)

    def whole(s: tuple[int, ...]) -> Any:
        return _complex(draw, s, kind) if kind.is_complex else draw(s, kind)

    return _drawn(shape, whole, device, requires_grad)


def randn(
    *size: Any,
    generator: Any = None,
    out: Any = None,
    dtype: DType | None = None,
    layout: Any = None,
    device: Any = None,
    requires_grad: bool = False,
    pin_memory: bool = False,
    names: Any = None,
) -> Tensor:
    """Normal numbers of mean 0 and variance 1 (torch.randn)."""
    kind, shape = _floating(dtype), sizes(size or ((),))
    if out is not None:
        return _fitted(out, shape, dtype).normal_(generator=generator)

    def draw(s: tuple[int, ...], d: DType) -> Any:
        return random.normal(s, d, generator=generator)

    def whole(s: tuple[int, ...]) -> Any:
        return _complex(draw, s, kind, 0.5**0.5) if kind.is_complex else draw(s, kind)

    return _drawn(shape, whole, device, requires_grad)


def randint(
    *args: Any,
    low: int | None = None,
    high: int | None = None,
    size: Any = None,
    generator: Any = None,
    out: Any = None,
    dtype: DType | None = None,
    layout: Any = None,
    device: Any = None,
    requires_grad: bool = False,
    pin_memory: bool = False,
) -> Tensor:
    """Uniform integers in [low, high) (torch.randint)."""
    given = list(args)
    if (
        given
        and not isinstance(given[-1], (int, np.integer))
        and not (isinstance(given[-1], Tensor) and given[-1].ndim == 0)
    ):
        size = given.pop()
    numbers = [int(g) for g in given]
    if high is None:
        high = numbers.pop()
    if low is None:
        low = numbers.pop() if numbers else 0
    kind, shape = dtypes.asked(dtype) or dtypes.int64, sizes((size,))
    if out is not None:
        return _fitted(out, shape, dtype).random_(low, high, generator=generator)
    return _drawn(
        shape,
        lambda s: random.randint(s, low, high, kind, generator=generator),
        device,
        requires_grad,
    )


def randperm(
    n: int,
    *,
    generator: Any = None,
    out: Any = None,
    dtype: DType = dtypes.int64,
    layout: Any = None,
    device: Any = None,
    requires_grad: bool = False,
    pin_memory: bool = False,
) -> Tensor:
    """A random permutation of 0 … n - 1 (torch.randperm)."""
    dtype = dtypes.asked(dtype)

    def rows(shape: tuple[int, ...]) -> Any:
        """Permutations one after the other, where a mapped function draws one an example."""
        made = [
            random.randperm(int(n), dtype, generator=generator)
            for _ in range(math.prod(shape[:-1]))
        ]
        return np.stack(made).reshape(shape)

    return _drawn((int(n),), rows, device, requires_grad, out)


def _like(function: Any, name: str) -> Any:
    def like(
        input: Tensor,
        *args: Any,
        dtype: DType | None = None,
        device: Any = None,
        layout: Any = None,
        requires_grad: bool = False,
        memory_format: Any = None,
        **kw: Any,
    ) -> Tensor:
        shape = input._n.shape
        order = memory_order(input, memory_format) or tuple(range(len(shape)))
        kind, place = dtypes.asked(dtype) or input.dtype, device or input.device
        if function is randn and order != tuple(range(len(shape))) and not levels():
            # Out of order in memory, normal numbers are drawn one by one.
            steps = ordered(shape, order)
            array = random.normal(
                shape, kind, 0.0, 1.0, strides=steps, generator=kw.get("generator")
            )
            made = of_array(np.ascontiguousarray(array.transpose(order)), place)
        else:
            made = function(*args, tuple(shape[d] for d in order), dtype=kind, device=place, **kw)
        if order != tuple(range(len(shape))):  # drawn in the order of memory
            made = wrap(mv.permute(made.node, dims=mv.inverse_permutation(order)))
        return made.requires_grad_() if requires_grad else made

    like.__name__ = like.__qualname__ = name
    like.__doc__ = f"Random numbers shaped like the input (torch.{name})."
    return like


rand_like, randn_like = _like(rand, "rand_like"), _like(randn, "randn_like")
randint_like = _like(randint, "randint_like")
for _f in (rand, randn, randint, randperm, rand_like, randn_like, randint_like):
    PUBLIC[_f.__name__] = _f


def normal(
    mean: Any,
    std: Any = 1.0,
    size: Any = None,
    *,
    generator: Any = None,
    out: Any = None,
    dtype: DType | None = None,
    layout: Any = None,
    device: Any = None,
    pin_memory: bool = False,
    requires_grad: bool = False,
) -> Tensor:
    """Normal numbers with given means and standard deviations (torch.normal).

    Raises:
        NotImplementedError: ``out`` holds integers.
    """
    if out is not None and out.dtype.category < 2:
        raise NotImplementedError(f'"normal_kernel_cpu" not implemented for {out.dtype}')
    if out is not None:
        shapes = [x._n.shape for x in (mean, std) if isinstance(x, Tensor)]
        shape = broadcast_shapes(*shapes) if shapes else sizes((size,))
        if isinstance(mean, Tensor) and not isinstance(std, Tensor):
            shape = out._n.shape  # torch resizes for every other combination
        # In the order of its memory, whatever the order of the operands.
        drawn = _sized(out, shape).normal_(generator=generator)
        scaled: Tensor = drawn.mul_(std).add_(mean)
        return scaled
    if isinstance(mean, Tensor) or isinstance(std, Tensor):
        place = (mean if isinstance(mean, Tensor) else std).device
        if levels():
            shape = broadcast_shapes(*(x._n.shape for x in (mean, std) if isinstance(x, Tensor)))
            kind = (mean if isinstance(mean, Tensor) else std).dtype
            made: Tensor = randn(shape, generator=generator, dtype=kind) * std + mean
            return made
        arrays = [host(x) if isinstance(x, Tensor) else x for x in (mean, std)]
        made = _made(random.normal_like(*arrays, generator=generator), place, False, None)
        return _on_tape(made, mean, std)
    kind = _floating(dtype)
    return _drawn(
        sizes((size,)),
        lambda s: random.normal(s, kind, mean, std, generator=generator),
        device,
        requires_grad,
        None,
    )


def _sized(out: Tensor, shape: tuple[int, ...]) -> Tensor:
    return out if out._n.shape == tuple(shape) else out.resize_(shape)


PUBLIC["normal"] = normal


def _on_tape(drawn: Tensor, *operands: Any) -> Tensor:
    """Draws on the tape of the tensors that they depend on: their gradients are zero."""
    for x in operands:
        if isinstance(x, Tensor) and x.requires_grad and drawn.dtype.category >= 2:
            always = drawn.new_ones((), dtype=dtypes.bool)
            drawn = where(always, drawn, x)
    return drawn


@operator
def bernoulli(
    input: Tensor, p: float | None = None, *, generator: Any = None, out: Tensor | None = None
) -> Tensor:
    """1 with the probability that the input (or ``p``) gives, else 0 (torch.bernoulli)."""
    if out is not None:  # drawn in its dtype and in the order of its memory
        made: Tensor = _sized(out, input._n.shape).bernoulli_(
            input if p is None else p, generator=generator
        )
        return made
    if p is None:
        found = physical(input)
        if found is not None:
            return _of_batch(*found, lambda x: bernoulli(x, generator=generator))
    chance = host(input) if p is None else p
    made = _drawn(
        input._n.shape,
        lambda s: random.bernoulli(
            s, _repeated(chance, s, input.ndim), input.dtype, generator=generator
        ),
        input.device,
        False,
        None,
    )
    return _on_tape(made, input)


def _repeated(chance: Any, shape: tuple[int, ...], ndim: int) -> Any:
    same = not isinstance(chance, np.ndarray) or len(shape) == ndim
    return chance if same else np.ascontiguousarray(np.broadcast_to(chance, shape))


def _of_batch(batch: Tensor, level: Level, draw: Any) -> Tensor:
    """A random function of mapped numbers: drawn for the batch at once.

    Raises:
        RuntimeError: the function was not mapped with ``randomness="different"``.
    """
    if level.randomness != "different":
        raise RuntimeError(
            "vmap: a random function of mapped numbers draws for each example; use "
            "randomness='different'"
        )
    with left(level):
        whole = draw(batch)
    return wrap(level.lane(whole.node))


@operator(out=True, exact=True)
def multinomial(
    input: Tensor, num_samples: int, replacement: bool = False, *, generator: Any = None
) -> Tensor:
    """Positions drawn with the probabilities in each row (torch.multinomial); (C,) or (N, C)."""
    if input.ndim not in (1, 2):
        raise RuntimeError("prob_dist must be 1 or 2 dim")

    def draw(weights: Any) -> Any:
        rows = weights.reshape(-1, weights.shape[-1]) if weights.ndim > 2 else weights
        made = random.multinomial(rows, num_samples, replacement, generator=generator)
        return made.reshape(*weights.shape[:-1], num_samples)

    found = physical(input)
    if found is not None:
        return _of_batch(*found, lambda x: of_array(draw(host(x)), x.device))
    weights, width = host(input), input._n.shape[-1:]
    shape = (*input._n.shape[:-1], num_samples)
    return _drawn(
        shape,
        lambda s: draw(np.broadcast_to(weights, (*s[:-1], *width)) if levels() else weights),
        input.device,
        False,
    )


@operator
def poisson(input: Tensor, generator: Any = None) -> Tensor:
    """Poisson counts with the rates in the input (torch.poisson)."""
    found = physical(input)
    if found is not None:
        return _of_batch(*found, lambda x: poisson(x, generator=generator))
    rates = host(input)
    return _drawn(
        input._n.shape,
        lambda s: random.poisson(np.broadcast_to(rates, s), generator=generator),
        input.device,
        False,
    )


@operator(method=False)
def binomial(count: Tensor, prob: Tensor, generator: Any = None) -> Tensor:
    """Binomial counts (torch.binomial)."""
    return of_array(random.binomial(host(count), host(prob), generator=generator), count.device)


def _fill(name: str, draw: Any, doc: str, defaults: tuple[tuple[str, Any], ...]) -> None:
    """Attaches an in-place sampler to Tensor."""

    def method(self: Tensor, *args: Any, generator: Any = None, **kw: Any) -> Tensor:
        values = [kw.get(n, args[i] if i < len(args) else v) for i, (n, v) in enumerate(defaults)]
        return _filled(self, lambda x: draw(x, *values, generator=generator))

    method.__name__ = name
    method.__qualname__ = f"Tensor.{name}"
    method.__doc__ = doc
    setattr(Tensor, name, method)


def _filled(x: Tensor, draw: Any) -> Tensor:
    """Writes the array that ``draw(x)`` gives; inside mapped functions ``x`` may be a batch."""
    check_write(x)
    if levels():
        whole = drawn(x._n.shape, lambda s: of_array(draw(empty(s, x)), x.device))
        return x.assign(whole.node)
    return x.assign(_constant(draw(x), x))


def empty(shape: tuple[int, ...], like: Tensor) -> Tensor:
    """A tensor of which only shape, dtype and device matter."""
    return wrap(source.const(0, shape, like.dtype, like.device))


def _constant(array: Any, like: Tensor) -> Any:
    return of_array(np.ascontiguousarray(array).reshape(like._n.shape), like.device).node


def _layout(x: Tensor) -> Any:
    return strides(x) if x._storage is not None or x._n.order is not None else None


_fill(
    "uniform_",
    lambda x, a, b, generator: random.uniform(
        x._n.shape, x.dtype, a, b, strides=_layout(x), generator=generator
    ),
    "Fills with uniform numbers in [from, to).",
    (("from", 0.0), ("to", 1.0)),
)
_fill(
    "normal_",
    lambda x, a, b, generator: random.normal(
        x._n.shape, x.dtype, a, b, strides=_layout(x), generator=generator
    ),
    "Fills with normal numbers.",
    (("mean", 0.0), ("std", 1.0)),
)
_fill(
    "exponential_",
    lambda x, r, generator: random.exponential(
        x._n.shape, x.dtype, r, strides=_layout(x), generator=generator
    ),
    "Fills with exponential numbers.",
    (("lambd", 1.0),),
)
_fill(
    "cauchy_",
    lambda x, a, b, generator: random.cauchy(
        x._n.shape, x.dtype, a, b, strides=_layout(x), generator=generator
    ),
    "Fills with Cauchy numbers.",
    (("median", 0.0), ("sigma", 1.0)),
)
_fill(
    "geometric_",
    lambda x, p, generator: random.geometric(
        x._n.shape, x.dtype, p, strides=_layout(x), generator=generator
    ),
    "Fills with geometric numbers.",
    (("p", 0.5),),
)
_fill(
    "log_normal_",
    lambda x, a, b, generator: random.log_normal(
        x._n.shape, x.dtype, a, b, strides=_layout(x), generator=generator
    ),
    "Fills with log-normal numbers.",
    (("mean", 1.0), ("std", 2.0)),
)


def random_(self: Tensor, *args: Any, generator: Any = None, **kw: Any) -> Tensor:
    """Fills with integers: of the whole range, or in [from, to)."""
    low = kw.get("from", args[0] if len(args) == 2 else 0)
    high = kw.get("to", args[-1] if args else None)
    if high is None:
        return _filled(
            self,
            lambda x: random.random(x._n.shape, x.dtype, strides=_layout(x), generator=generator),
        )
    return _filled(
        self,
        lambda x: random.randint(
            x._n.shape, low, high, x.dtype, strides=_layout(x), generator=generator
        ),
    )


def bernoulli_(self: Tensor, p: Any = 0.5, *, generator: Any = None) -> Tensor:
    """Fills with 1 with probability ``p``, else 0."""
    chance = host(p) if isinstance(p, Tensor) else p
    return _filled(
        self,
        lambda x: random.bernoulli(
            x._n.shape,
            _repeated(chance, x._n.shape, self.ndim),
            x.dtype,
            strides=_layout(x),
            generator=generator,
        ),
    )


Tensor.random_, Tensor.bernoulli_ = random_, bernoulli_


def dropout_mask(input: Tensor, p: float, shape: tuple[int, ...] | None = None) -> Tensor:
    """0 with probability ``p``, else 1 / (1 - p): the factor of torch's dropout, from its stream.

    ``shape`` is that of the mask where features are dropped as a whole.
    """
    if p >= 1:
        return wrap(source.const(0, tuple(shape or input._n.shape), input.dtype, input.device))
    return _drawn(
        tuple(shape or input._n.shape),
        lambda s: random.dropout_noise(s, input.dtype, p),
        input.device,
        False,
        None,
    )


__all__ = [
    "Generator",
    "bernoulli",
    "dropout_mask",
    "multinomial",
    "normal",
    "rand",
    "randint",
    "randn",
    "randperm",
    "resolve",
]
