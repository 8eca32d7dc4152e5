"""Which operators change the precision of their operands inside ``autocast``.

The lists are PyTorch's ("Autocast Op Reference" in its documentation), one for each device type.
Imported last: it wraps what the other families published. Inside a wrapped operator autocast is
off, so that one decides for all that it is made of.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from typing import Any

from cupola import dtypes
from cupola.functional._register import PUBLIC
from cupola.ir.mode import mode
from cupola.tensor import Tensor, protocol

_CONVOLUTIONS = (
    *("conv1d", "conv2d", "conv3d", "conv_tbc"),
    *("conv_transpose1d", "conv_transpose2d", "conv_transpose3d"),
)
_PRODUCTS = ("matmul", "mm", "bmm", "linear", "addmm", "addbmm", "baddbmm")

# In the region's dtype.
LOWER = {
    "cuda": (
        *_CONVOLUTIONS,
        *_PRODUCTS,
        *("mv", "addmv", "addr", "chain_matmul", "multi_dot", "prelu"),
        *("lstm_cell", "gru_cell", "rnn_tanh_cell", "rnn_relu_cell"),
        *("lstm", "gru", "rnn_tanh", "rnn_relu", "scaled_dot_product_attention"),
        *("vecdot", "matrix_power", "convolution"),
    ),
    "cpu": (
        *_CONVOLUTIONS,
        *_PRODUCTS,
        *("prelu", "vecdot", "chain_matmul", "multi_dot", "matrix_power"),
        "scaled_dot_product_attention",
    ),
}

_LOSSES = (
    *("poisson_nll_loss", "cosine_embedding_loss", "hinge_embedding_loss", "kl_div", "mse_loss"),
    *("margin_ranking_loss", "triplet_margin_loss", "binary_cross_entropy_with_logits"),
    *("nll_loss", "l1_loss", "smooth_l1_loss", "multilabel_margin_loss", "soft_margin_loss"),
    *("multi_margin_loss", "huber_loss", "cross_entropy"),
)
# In float32.
WIDE = {
    "cuda": (
        *_LOSSES,
        *("acos", "asin", "cosh", "erfinv", "exp", "expm1", "log", "log10", "log2", "log1p"),
        *("reciprocal", "rsqrt", "sinh", "tan", "pow", "softplus", "layer_norm", "group_norm"),
        *("norm", "cosine_similarity", "cdist", "dist", "pdist", "renorm", "logsumexp"),
        *("softmax", "log_softmax", "softmin", "cumprod", "cumsum", "prod", "sum", "nuclear_norm"),
        *("rms_norm", "vector_norm", "matrix_norm", "interpolate"),
    ),
    "cpu": (
        *_LOSSES,
        *("avg_pool3d", "binary_cross_entropy", "polar", "prod", "quantile", "nanquantile"),
        *("stft", "cdist", "trace", "view_as_complex", "cholesky", "cholesky_inverse"),
        *("cholesky_solve", "inverse", "lu_solve", "ormqr", "pinverse", "max_pool3d", "ctc_loss"),
        *("max_unpool1d", "max_unpool2d", "max_unpool3d", "adaptive_avg_pool3d", "pad"),
        *("adaptive_max_pool3d", "adaptive_max_pool3d_with_indices"),
        *("fractional_max_pool2d", "fractional_max_pool2d_with_indices"),
        *("fractional_max_pool3d", "fractional_max_pool3d_with_indices"),
        *("grid_sample", "grid_sampler", "fftn", "ifftn", "rfftn", "irfftn"),
        *("inv", "inv_ex", "solve", "solve_ex", "solve_triangular", "triangular_solve"),
        *("cholesky_ex", "qr", "svd", "svdvals", "eig", "eigh", "eigvals", "eigvalsh"),
        *("lstsq", "matrix_rank", "cond", "tensorinv", "tensorsolve", "householder_product"),
        *("orgqr", "geqrf", "_lu_with_info"),
    ),
}

# In the widest type among the operands.
WIDEST = {
    "cuda": (
        *("addcdiv", "addcmul", "atan2", "bilinear", "cross", "dot", "vdot", "grid_sample"),
        *("index_put", "scatter_add", "tensordot"),
    ),
    "cpu": ("stack", "cat", "index_copy"),
}

# Refused: half precision overflows where they meet probabilities.
BANNED = {"cuda": ("binary_cross_entropy",)}


def _argument(args: Any, kwargs: dict[str, Any], place: int, name: str, default: Any) -> Any:
    return args[place] if len(args) > place else kwargs.get(name, default)


Condition = Callable[[Any, dict[str, Any]], bool]
# Entries that are so for some arguments only: what the name stands for in PyTorch depends on them.
WHEN: dict[str, Condition] = {
    "pad": lambda args, kw: _argument(args, kw, 2, "mode", "") in ("reflect", "replicate"),
    "matrix_power": lambda args, kw: _argument(args, kw, 1, "n", 0) > 1,
    "max_pool3d": lambda args, kw: not _argument(args, kw, 6, "return_indices", False),
    "interpolate": lambda args, kw: _argument(args, kw, 3, "mode", "nearest") != "area",
}
# What another device type casts, and this one's composition decides.
_OPEN = {
    "cpu": (
        *("tensordot", "lstm_cell", "gru_cell", "rnn_tanh_cell", "rnn_relu_cell"),
        *("lstm", "gru", "rnn_tanh", "rnn_relu"),
    )
}
# Modules whose functions PyTorch composes of operators that it casts.
_COMPOSED = ("attention", "least_squares", "low_rank", "recurrent")


def _tensors(values: Any) -> list[Tensor]:
    found = []
    for v in values:
        if isinstance(v, Tensor):
            found.append(v)
        elif isinstance(v, tuple | list):
            found += _tensors(v)
    return found


def _parameter(value: Tensor, dtype: dtypes.dtype) -> Tensor:
    """A parameter cast once a region, so that its uses share one node and one gradient in the
    lower precision, as in PyTorch. What has been written in place is another node, cast anew.
    """
    cache = mode.cast_cache
    # A captured call computes its casts itself: one from outside would be a constant in it.
    if cache is None or not mode.cast_cached or mode.held:
        return value.to(dtype)
    node = value.node
    key = id(node), dtype, mode.grad
    found = cache.get(key)
    if found is None:
        found = cache[key] = node, value.to(dtype)
    return found[1]


def _converted(value: Any, dtype: dtypes.dtype, device: str) -> Any:
    """Tensors of the device in 16- or 32-bit floating point, in the given dtype."""
    if isinstance(value, Tensor):
        old = value.dtype
        fits = old.is_floating_point and old.itemsize <= 4 and value.device.type == device
        if not fits or old is dtype:
            return value
        if value.requires_grad and value.is_leaf and dtype.itemsize < old.itemsize:
            return _parameter(value, dtype)
        return value.to(dtype)
    if isinstance(value, tuple | list) and not hasattr(value, "_fields"):
        return type(value)([_converted(v, dtype, device) for v in value])
    return value


def _wrapped(
    f: Callable[..., Any],
    policies: dict[str, str],
    when: Condition | None = None,
) -> Callable[..., Any]:
    @functools.wraps(f)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        if mode.casts is None or when is not None and not when(args, kwargs):
            try:
                return f(*args, **kwargs)
            except (TypeError, AttributeError):
                return protocol.again(f, args, kwargs)
        if kwargs.get("out") is not None:
            return f(*args, **kwargs)  # results of a dtype that the caller chose
        tensors = _tensors((*args, *kwargs.values()))
        device = tensors[0].device.type if tensors else ""
        if f.__name__ in _OPEN.get(device, ()):
            return f(*args, **kwargs)
        dtype = _target(policies.get(device, ""), mode.casts.get(device), tensors, kwargs)
        casts, mode.casts = mode.casts, None
        try:
            if dtype is not None:
                args = tuple([_converted(v, dtype, device) for v in args])
                kwargs = {k: _converted(v, dtype, device) for k, v in kwargs.items()}
            return f(*args, **kwargs)
        finally:
            mode.casts = casts

    return wrapper


def _target(policy: str, low: Any, tensors: list[Tensor], kwargs: dict[str, Any]) -> Any:
    if low is None or not policy:
        return None
    if policy == "banned":
        raise RuntimeError(
            "binary_cross_entropy and BCELoss are unsafe to autocast: use "
            "binary_cross_entropy_with_logits or BCEWithLogitsLoss, which take what goes into the "
            "sigmoid."
        )
    if policy == "lower":
        return low
    if policy == "wide":
        return None if kwargs.get("dtype") is not None else dtypes.float32
    kinds = [t.dtype for t in tensors if t.dtype.is_floating_point]
    return functools.reduce(dtypes.promote_types, kinds) if kinds else None


_TABLE: dict[str, dict[str, str]] = {}
for _policy, _lists in (
    ("lower", LOWER),
    ("wide", WIDE),
    ("widest", WIDEST),
    ("banned", BANNED),
):
    for _device, _names in _lists.items():
        for _name in _names:
            _TABLE.setdefault(_name, {})[_device] = _policy


def listed(f: Callable[..., Any]) -> Callable[..., Any]:
    """Decorates a function outside this package that is on the lists by its own name."""
    return _wrapped(f, _TABLE[f.__name__], WHEN.get(f.__name__))


def _publish() -> None:
    modules = [m for n, m in list(sys.modules.items()) if n.startswith("cupola.functional.")]
    for name in _TABLE:
        faces: dict[int, Callable[..., Any]] = {}

        def once(f: Any, name: str = name, faces: Any = faces) -> Any:
            if id(f) not in faces:
                faces[id(f)] = _wrapped(f, _TABLE[name], WHEN.get(name))
            return faces[id(f)]

        for module in modules:
            f = vars(module).get(name)
            if callable(f) and getattr(f, "__module__", "") == module.__name__:
                face = once(f)
                setattr(module, name, face)
                for other in modules:
                    if other.__name__.endswith(_COMPOSED) and vars(other).get(name) is f:
                        setattr(other, name, face)
        if name in PUBLIC:
            PUBLIC[name] = once(PUBLIC[name])
        method = Tensor.__dict__.get(name)
        if method is not None:
            setattr(Tensor, name, once(method))
    for name, policy in (
        ("matmul", "lower"),
        ("rmatmul", "lower"),
        ("pow", "wide"),
        ("rpow", "wide"),
    ):
        own = f"__{name}__"
        lists = LOWER if policy == "lower" else WIDE
        devices = {d: policy for d in lists if name.removeprefix("r") in lists[d]}
        setattr(Tensor, own, _wrapped(Tensor.__dict__[own], devices))


_publish()
