"""Samples of what layers are made of: convolution, pooling, normalisation, attention, losses."""

from cases import Case, F, I, In


def f(m):
    return m.nn.functional


_IMAGE, _WIDE = F(2, 4, 7, 9), F(2, 3, 12)
CASES = [
    Case("conv1d", lambda m, x, w: f(m).conv1d(x, w, stride=2, padding=1), (_WIDE, F(5, 3, 3))),
    Case("conv2d", lambda m, x, w, b: f(m).conv2d(x, w, b), (_IMAGE, F(6, 4, 3, 3), F(6))),
    Case(
        "conv2d.grouped",
        lambda m, x, w: f(m).conv2d(x, w, stride=(2, 1), padding=(1, 2), dilation=2, groups=2),
        (F(2, 4, 9, 9), F(6, 2, 3, 3)),
    ),
    Case("conv2d.same", lambda m, x, w: f(m).conv2d(x, w, padding="same"), (_IMAGE, F(2, 4, 3, 4))),
    Case(
        "conv3d",
        lambda m, x, w: f(m).conv3d(x, w, padding=1),
        (F(1, 2, 4, 5, 6), F(3, 2, 3, 3, 3)),
    ),
    Case(
        "conv_transpose2d",
        lambda m, x, w: f(m).conv_transpose2d(x, w, stride=2, padding=1, output_padding=1),
        (F(2, 4, 5, 6), F(4, 3, 3, 3)),
    ),
    Case("max_pool2d", lambda m, x: f(m).max_pool2d(x, 3, 2, ceil_mode=True), (_IMAGE,)),
    Case("max_pool2d.padded", lambda m, x: f(m).max_pool2d(x, 3, 1, 1), (_IMAGE,)),
    Case("avg_pool2d", lambda m, x: f(m).avg_pool2d(x, 3, 2, 1), (_IMAGE,)),
    Case("adaptive_avg_pool2d", lambda m, x: f(m).adaptive_avg_pool2d(x, (3, 4)), (_IMAGE,)),
    Case("batch_norm", lambda m, x: f(m).batch_norm(x, None, None, training=True), (_IMAGE,)),
    Case("layer_norm", lambda m, x, w: f(m).layer_norm(x, (9,), w), (_IMAGE, F(9))),
    Case("group_norm", lambda m, x: f(m).group_norm(x, 2), (_IMAGE,)),
    Case("softmax", lambda m, x: f(m).softmax(x, 1), (_IMAGE,)),
    Case("log_softmax", lambda m, x: f(m).log_softmax(x, -1), (_IMAGE,)),
    Case("gelu", lambda m, x: f(m).gelu(x) + f(m).gelu(x, approximate="tanh"), (F(5, 7),)),
    Case("silu", lambda m, x: f(m).silu(x) + f(m).softplus(x) + f(m).elu(x), (F(5, 7),)),
    Case("prelu", lambda m, x, w: f(m).prelu(x, w), (_IMAGE, F(4))),
    Case("cross_entropy", lambda m, x, t: f(m).cross_entropy(x, t), (F(5, 4), I(5, low=0, high=4))),
    Case("mse_loss", lambda m, x, y: f(m).mse_loss(x, y), (F(5, 4), F(5, 4))),
    Case(
        "bce",
        lambda m, x, y: f(m).binary_cross_entropy_with_logits(x, y),
        (F(5, 4), F(5, 4, low=0, high=1, grad=False)),
    ),
    Case("embedding", lambda m, i, w: f(m).embedding(i, w), (I(3, 5, low=0, high=7), F(7, 4))),
    Case(
        "attention",
        lambda m, q, k, v: f(m).scaled_dot_product_attention(q, k, v, is_causal=True),
        (F(2, 3, 5, 4), F(2, 3, 5, 4), F(2, 3, 5, 4)),
    ),
    Case(
        "interpolate",
        lambda m, x: f(m).interpolate(x, scale_factor=2, mode="bilinear"),
        (_IMAGE,),
    ),
    Case("interpolate.area", lambda m, x: f(m).interpolate(x, size=(3, 5), mode="area"), (_IMAGE,)),
    Case(
        "pad",
        lambda m, x: f(m).pad(x, (1, 2, 0, 1)) + f(m).pad(x, (2, 1, 1, 0), value=3),
        (_IMAGE,),
    ),
    Case("unfold.images", lambda m, x: f(m).unfold(x, 3, padding=1), (_IMAGE,)),
    Case("fold.images", lambda m, x: f(m).fold(x, (5, 6), 2), (F(2, 8, 20),)),
    Case("as_strided.write", lambda m, x: _strided_write(x), (F(4, 4),)),
    Case(
        "complex",
        lambda m, a, b: (m.complex(a, b) * m.complex(b, a).conj()).abs(),
        (F(3, 4), F(3, 4)),
    ),
    Case("bits", lambda m, x: x.view(m.int32), (In((4,), grad=False),), grad=False),
]


def _strided_write(x):
    y = x.clone()
    y.diagonal().mul_(2)
    return y
