"""Functional forms that the layers do not reach, beside torch: values and gradients."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as TF

import cupola
from nn.twin import PAIR, agree, given, pull, same_gradients, seed


def numbers(*size, kind="normal"):
    rng = np.random.default_rng(sum(size))
    if kind == "grid":
        return rng.uniform(-1.3, 1.3, size).astype(np.float32)
    return rng.standard_normal(size).astype(np.float32)


IMAGE = numbers(2, 3, 6, 7)
CASES = [
    *[("interpolate", [IMAGE], {"size": size, "mode": mode, **more})
      for size in ((9, 4), (12, 14))
      for mode, more in [
          ("nearest", {}), ("nearest-exact", {}), ("area", {}), ("bilinear", {}), ("bicubic", {}),
          ("bilinear", {"align_corners": True}), ("bicubic", {"align_corners": True}),
          ("bilinear", {"antialias": True}), ("bicubic", {"antialias": True})]],
    ("interpolate", [IMAGE], {"scale_factor": 0.6, "mode": "bilinear",
                              "recompute_scale_factor": True}),
    ("interpolate", [IMAGE], {"scale_factor": (1.3, 2.7), "mode": "nearest"}),
    ("interpolate", [numbers(1, 2, 9)], {"size": 5, "mode": "linear"}),
    ("interpolate", [numbers(1, 2, 3, 4, 5)], {"scale_factor": 1.5, "mode": "trilinear"}),
    *[("grid_sample", [IMAGE, numbers(2, 4, 5, 2, kind="grid")],
       {"mode": mode, "padding_mode": padding, "align_corners": align})
      for mode in ("bilinear", "nearest", "bicubic")
      for padding in ("zeros", "border", "reflection") for align in (True, False)],
    ("grid_sample", [numbers(1, 2, 3, 4, 5), numbers(1, 2, 3, 4, 3, kind="grid")],
     {"align_corners": False}),
    ("affine_grid", [numbers(2, 2, 3), (2, 3, 4, 5)], {"align_corners": False}),
    ("affine_grid", [numbers(2, 3, 4), (2, 3, 4, 5, 3)], {"align_corners": True}),
    *[("pad", [IMAGE, (2, 1, 0, 3)], {"mode": mode})
      for mode in ("constant", "reflect", "replicate", "circular")],
    ("pad", [IMAGE, (-1, 2, 1, -2, 0, 1)], {"value": 2.5}),
    ("pad", [IMAGE, (-1, 2)], {"mode": "constant"}),
    ("scaled_dot_product_attention", [numbers(2, 3, 5, 4), numbers(2, 3, 6, 4),
                                      numbers(2, 3, 6, 7)], {}),
    ("scaled_dot_product_attention", [numbers(2, 3, 5, 4), numbers(2, 3, 5, 4),
                                      numbers(2, 3, 5, 4)], {"is_causal": True, "scale": 0.3}),
    ("scaled_dot_product_attention", [numbers(2, 4, 5, 4), numbers(2, 2, 6, 4),
                                      numbers(2, 2, 6, 4)], {"enable_gqa": True}),
    ("scaled_dot_product_attention", [numbers(2, 5, 4), numbers(2, 6, 4), numbers(2, 6, 4)],
     {"attn_mask": np.arange(30).reshape(5, 6) % 7 > 2}),
    ("gumbel_softmax", [numbers(4, 5)], {"hard": True, "tau": 0.5}),
    ("glu", [numbers(4, 6)], {"dim": 0}),
    ("softmax", [numbers(3, 4, 5)], {"dim": 0, "dtype": "float64"}),
    ("log_softmax", [numbers(3, 4)], {"dim": 1}),
    ("normalize", [IMAGE], {"p": 3.0, "dim": 2}),
    ("local_response_norm", [IMAGE, 2], {"alpha": 0.1}),
    ("pdist", [numbers(5, 3)], {}),
    ("cosine_similarity", [numbers(4, 1, 5), numbers(3, 5)], {"dim": -1}),
    ("one_hot", [np.array([0, 2, 1])], {"num_classes": 4}),
    ("conv_tbc", [numbers(6, 2, 3), numbers(3, 3, 4), numbers(4)], {"pad": 1}),
    ("feature_alpha_dropout", [IMAGE], {"training": True}),
    ("dropout2d", [IMAGE], {"p": 0.3}),
    ("multilabel_margin_loss", [numbers(5), np.array([3, 0, -1, 1, 2])], {}),
    ("smooth_l1_loss", [numbers(4), numbers(4) * 2], {"beta": 0.0}),
    ("kl_div", [numbers(4, 3), numbers(4, 3)], {"log_target": True, "reduction": "batchmean"}),
]  # fmt: skip


@pytest.mark.parametrize("row", range(len(CASES)), ids=lambda i: f"{i}-{CASES[i][0]}")
def test_function(row):
    name, args, kwargs = CASES[row]
    found = []
    seed()
    for lib in PAIR:
        tensors = [given(arg, lib, grad=True) for arg in args]
        options = {key: given(value, lib) for key, value in kwargs.items()}
        if "dtype" in options:
            options["dtype"] = getattr(lib, options["dtype"])
        result = getattr(lib.nn.functional, name)(*tensors, **options)
        pull(result)
        found.append((result, [t for t in tensors if isinstance(t, lib.Tensor)]))
    agree(found[0][0], found[1][0])
    for a, b in zip(found[0][1], found[1][1], strict=True):
        if b.grad is None and a.grad is not None:
            assert not a.grad.any()
        else:
            same_gradients([a], [b])


def test_max_unpool_undoes_max_pool():
    found = []
    for lib in PAIR:
        pooled, index = lib.nn.functional.max_pool2d(given(IMAGE, lib), 2, return_indices=True)
        found.append(lib.nn.functional.max_unpool2d(pooled, index, 2, output_size=(6, 7)))
    agree(*found)


def test_in_place_forms():
    for name in ("relu", "elu", "leaky_relu", "hardtanh", "silu", "dropout"):
        for lib in PAIR:
            x = given(IMAGE, lib)
            function = getattr(lib.nn.functional, name)
            seed()
            expected = function(given(IMAGE, lib))
            seed()
            assert function(x, inplace=True) is x
            assert lib.equal(x, expected)


ERRORS = [
    ("conv2d", [IMAGE, numbers(4, 2, 3, 3)], {}),
    ("conv2d", [IMAGE, numbers(4, 3, 9, 9)], {}),
    ("conv2d", [numbers(3, 4), numbers(4, 3, 3, 3)], {}),
    ("linear", [numbers(3, 4), numbers(5, 6)], {}),
    ("max_pool2d", [IMAGE, 3], {"padding": 2}),
    ("layer_norm", [IMAGE, (5,)], {}),
    ("group_norm", [IMAGE, 2], {}),
    ("batch_norm", [numbers(1, 3), None, None], {"training": True}),
    ("interpolate", [IMAGE], {}),
    ("interpolate", [IMAGE], {"size": 4, "mode": "linear"}),
    ("pad", [IMAGE, (9, 9)], {"mode": "reflect"}),
    ("cross_entropy", [numbers(4, 5), np.zeros((4, 5, 2), np.int64)], {}),
    ("mse_loss", [numbers(4), numbers(4)], {"reduction": "sometimes"}),
    ("dropout", [IMAGE], {"p": 1.5}),
    ("pixel_shuffle", [IMAGE, 2], {}),
    ("binary_cross_entropy", [numbers(4), numbers(5)], {}),
    ("grid_sample", [IMAGE, numbers(3, 4, 5, 2)], {"align_corners": False}),
    ("glu", [numbers(3, 5)], {}),
    ("embedding_bag", [np.array([1, 2]), numbers(4, 3)], {}),
]  # fmt: skip


@pytest.mark.parametrize("row", range(len(ERRORS)), ids=lambda i: f"{i}-{ERRORS[i][0]}")
def test_errors_have_torchs_type(row):
    name, args, kwargs = ERRORS[row]
    raised = []
    for lib in PAIR:
        with pytest.raises(Exception) as caught:  # noqa: B017, PT011 - compared below
            getattr(lib.nn.functional, name)(*[given(a, lib) for a in args], **kwargs)
        raised.append(caught.type)
    assert raised[0] is raised[1]


def test_every_public_function_exists():
    names = {
        n
        for n in dir(TF)
        if not n.startswith("_") and getattr(TF, n) is not None and callable(getattr(TF, n))
    }
    helpers = {"Callable", "DType", "Optional", "Tensor", "assert_int_or_pair", "boolean_dispatch"}
    kernels = {"ScalingType", "SwizzleType", "grouped_mm", "scaled_grouped_mm", "scaled_mm"}
    found = {n for n in names if hasattr(cupola.nn.functional, n)}
    rest = {n for n in names - found - helpers - kernels if "torch_function" not in n}
    assert not rest


def test_second_derivatives_flow_through_convolution_and_normalisation():
    found = []
    for lib, grad in ((torch, torch.autograd.grad), (cupola, cupola.autograd.grad)):
        x, w = given(numbers(2, 3, 5, 5), lib, True), given(numbers(4, 3, 3, 3), lib, True)
        y = lib.nn.functional.conv2d(x, w, padding=1)
        y = lib.nn.functional.layer_norm(y, (5, 5)).tanh()
        first = grad(y.square().sum(), [x, w], create_graph=True)
        second = grad(sum(g.square().sum() for g in first), [x, w])
        found.append(list(second))
    agree(*found, rtol=1e-3, atol=1e-2)


def test_gradients_of_convolutions_as_functions():
    x, w = numbers(2, 4, 6, 6), numbers(6, 2, 3, 3)
    found = []
    for lib in PAIR:
        y = lib.nn.functional.conv2d(given(x, lib), given(w, lib), None, 2, 1, 1, 2)
        found.append([
            lib.nn.grad.conv2d_input((2, 4, 6, 6), given(w, lib), y, 2, 1, 1, 2),
            lib.nn.grad.conv2d_weight(given(x, lib), (6, 2, 3, 3), y, 2, 1, 1, 2),
        ])  # fmt: skip
    agree(*found)


def test_half_precision_softmax_is_rounded_once():
    x = numbers(4, 300)
    for name in ("softmax", "log_softmax"):
        found = []
        for lib in PAIR:
            half = given(x, lib).to(lib.bfloat16)
            found.append(getattr(lib.nn.functional, name)(half, dim=1))
        agree(*found, rtol=1e-2)


@pytest.mark.parametrize("name", ["silu", "mish", "hardswish", "elu", "leaky_relu", "celu"])
def test_gradients_through_activations_in_place(name):
    found = []
    for lib in PAIR:
        x = given(numbers(4, 6), lib, True)
        y = getattr(lib.nn.functional, name)(x * 2, inplace=True)
        y.square().sum().backward()
        found.append([y, x.grad])
    agree(*found)
