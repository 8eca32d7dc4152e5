"""``torch.nn.functional``: stateless forms of the layers."""

from __future__ import annotations

from cupola.functional.activation import (
    celu,
    elu,
    gelu,
    glu,
    gumbel_softmax,
    hardshrink,
    hardsigmoid,
    hardswish,
    hardtanh,
    leaky_relu,
    log_softmax,
    logsigmoid,
    mish,
    prelu,
    relu,
    relu6,
    rrelu,
    selu,
    sigmoid,
    silu,
    softmax,
    softmin,
    softplus,
    softshrink,
    softsign,
    tanh,
    tanhshrink,
    threshold,
)
from cupola.functional.adaptive_pooling import (
    adaptive_avg_pool1d,
    adaptive_avg_pool2d,
    adaptive_avg_pool3d,
    adaptive_max_pool1d,
    adaptive_max_pool1d_with_indices,
    adaptive_max_pool2d,
    adaptive_max_pool2d_with_indices,
    adaptive_max_pool3d,
    adaptive_max_pool3d_with_indices,
    fractional_max_pool2d,
    fractional_max_pool2d_with_indices,
    fractional_max_pool3d,
    fractional_max_pool3d_with_indices,
    max_unpool1d,
    max_unpool2d,
    max_unpool3d,
)
from cupola.functional.attention import (
    multi_head_attention_forward,
    scaled_dot_product_attention,
)
from cupola.functional.classification_loss import (
    cross_entropy,
    ctc_loss,
    linear_cross_entropy,
    multi_margin_loss,
    multilabel_margin_loss,
    multilabel_soft_margin_loss,
    nll_loss,
)
from cupola.functional.convolution import (
    bilinear,
    conv1d,
    conv2d,
    conv3d,
    conv_tbc,
    conv_transpose1d,
    conv_transpose2d,
    conv_transpose3d,
    linear,
)
from cupola.functional.distance import cosine_similarity, one_hot, pairwise_distance, pdist
from cupola.functional.dropout import (
    alpha_dropout,
    dropout,
    dropout1d,
    dropout2d,
    dropout3d,
    feature_alpha_dropout,
)
from cupola.functional.embedding import embedding, embedding_bag
from cupola.functional.grouped import grouped_mm
from cupola.functional.interpolation import (
    interpolate,
    upsample,
    upsample_bilinear,
    upsample_nearest,
)
from cupola.functional.loss import (
    binary_cross_entropy,
    binary_cross_entropy_with_logits,
    cosine_embedding_loss,
    gaussian_nll_loss,
    hinge_embedding_loss,
    huber_loss,
    kl_div,
    l1_loss,
    margin_ranking_loss,
    mse_loss,
    poisson_nll_loss,
    smooth_l1_loss,
    soft_margin_loss,
    triplet_margin_loss,
    triplet_margin_with_distance_loss,
)
from cupola.functional.normalization import (
    batch_norm,
    group_norm,
    instance_norm,
    layer_norm,
    local_response_norm,
    normalize,
    rms_norm,
)
from cupola.functional.padding import pad
from cupola.functional.pooling import (
    avg_pool1d,
    avg_pool2d,
    avg_pool3d,
    lp_pool1d,
    lp_pool2d,
    lp_pool3d,
    max_pool1d,
    max_pool1d_with_indices,
    max_pool2d,
    max_pool2d_with_indices,
    max_pool3d,
    max_pool3d_with_indices,
)
from cupola.functional.vision import (
    affine_grid,
    channel_shuffle,
    fold,
    grid_sample,
    native_channel_shuffle,
    pixel_shuffle,
    pixel_unshuffle,
    unfold,
)
from cupola.overrides import (
    handle_torch_function,
    has_torch_function,
    has_torch_function_unary,
    has_torch_function_variadic,
)
from cupola.tensor import protocol as _protocol

__all__ = [name for name in dir() if not name.startswith("_") and name != "annotations"]


def _inplace(function, name):
    def inplace(input, *args, **kwargs):
        return function(input, *args, inplace=True, **kwargs)

    inplace.__name__ = inplace.__qualname__ = name
    inplace.__doc__ = f"``{function.__name__}`` that writes its result into ``input``."
    return inplace


celu_ = _inplace(celu, "celu_")
elu_ = _inplace(elu, "elu_")
hardtanh_ = _inplace(hardtanh, "hardtanh_")
leaky_relu_ = _inplace(leaky_relu, "leaky_relu_")
relu_ = _inplace(relu, "relu_")
rrelu_ = _inplace(rrelu, "rrelu_")
selu_ = _inplace(selu, "selu_")
threshold_ = _inplace(threshold, "threshold_")

# Functions that PyTorch has apart from those of the same name in ``torch``: who takes over
# operators (``__torch_function__``) is told which of the two was called.
for _name in """
adaptive_max_pool1d alpha_dropout batch_norm binary_cross_entropy_with_logits celu
cosine_embedding_loss ctc_loss dropout embedding embedding_bag feature_alpha_dropout group_norm
hinge_embedding_loss instance_norm kl_div layer_norm log_softmax margin_ranking_loss max_pool1d
max_pool2d max_pool3d poisson_nll_loss relu rms_norm rrelu selu softmax threshold
triplet_margin_loss
""".split():
    globals()[_name] = _protocol.apart(globals()[_name], _name)
_protocol.publish("nn.functional", {name: globals()[name] for name in __all__})
