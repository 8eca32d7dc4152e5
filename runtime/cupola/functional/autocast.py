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
from cupola.tensor import Tensor

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
    ),
    "cpu": (*_CONVOLUTIONS, *_PRODUCTS, "prelu", "vecdot", "scaled_dot_product_attention"),
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
    ),
    "cpu": (
        *_LOSSES,
        *("avg_pool3d", "binary_cross_entropy", "polar", "prod", "quantile", "nanquantile"),
        *("stft", "cdist", "trace", "view_as_complex", "cholesky", "cholesky_inverse"),
        *("cholesky_solve", "inverse", "lu_solve", "ormqr", "pinverse", "max_pool3d", "ctc_loss"),
        *("max_unpool2d", "max_unpool3d", "adaptive_avg_pool3d", "grid_sampler"),
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


def _tensors(values: Any) -> list[Tensor]:
    found = []
    for v in values:
        if isinstance(v, Tensor):
            found.append(v)
        elif isinstance(v, tuple | list):
            found += _tensors(v)
    return found


def _converted(value: Any, dtype: dtypes.dtype, device: str) -> Any:
    """Tensors of the device in 16- or 32-bit floating point, in the given dtype."""
    if isinstance(value, Tensor):
        old = value.dtype
        fits = old.is_floating_point and old.itemsize <= 4 and value.device.type == device
        return value.to(dtype) if fits and old is not dtype else value
    if isinstance(value, tuple | list) and not hasattr(value, "_fields"):
        return type(value)([_converted(v, dtype, device) for v in value])
    return value


def _wrapped(f: Callable[..., Any], policies: dict[str, str]) -> Callable[..., Any]:
    @functools.wraps(f)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        if mode.casts is None:
            return f(*args, **kwargs)
        tensors = _tensors((*args, *kwargs.values()))
        device = tensors[0].device.type if tensors else ""
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
    if policy == "lower":
        return low
    if policy == "wide":
        return None if kwargs.get("dtype") is not None else dtypes.float32
    kinds = [t.dtype for t in tensors if t.dtype.is_floating_point]
    return functools.reduce(dtypes.promote_types, kinds) if kinds else None


def _publish() -> None:
    table: dict[str, dict[str, str]] = {}
    for policy, lists in (("lower", LOWER), ("wide", WIDE), ("widest", WIDEST)):
        for device, names in lists.items():
            for name in names:
                table.setdefault(name, {})[device] = policy
    modules = [m for n, m in list(sys.modules.items()) if n.startswith("cupola.functional.")]
    for name, policies in table.items():
        faces: dict[int, Callable[..., Any]] = {}

        def once(f: Any, policies: dict[str, str] = policies, faces: Any = faces) -> Any:
            if id(f) not in faces:
                faces[id(f)] = _wrapped(f, policies)
            return faces[id(f)]

        for module in modules:
            f = vars(module).get(name)
            if callable(f) and getattr(f, "__module__", "") == module.__name__:
                setattr(module, name, once(f))
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
