"""Every layer: representation, initial weights, result, gradients and buffers are torch's."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import cupola
from nn.twin import PAIR, agree, given, pull, same_gradients, seed, values

ELEMENTWISE = [
    ("ReLU", ()), ("ReLU6", ()), ("LeakyReLU", (0.2,)), ("PReLU", (3,)), ("ELU", (0.7,)),
    ("SELU", ()), ("CELU", (1.3,)), ("GELU", ()), ("GELU", ("tanh",)), ("SiLU", ()), ("Mish", ()),
    ("Softplus", (2.0, 1.0)), ("Softsign", ()), ("Tanh", ()), ("Sigmoid", ()), ("LogSigmoid", ()),
    ("Hardtanh", (-0.5, 0.4)), ("Hardsigmoid", ()), ("Hardswish", ()), ("Hardshrink", (0.3,)),
    ("Softshrink", (0.3,)), ("Tanhshrink", ()), ("Threshold", (0.1, -1.0)), ("Softmax", (1,)),
    ("LogSoftmax", (-1,)), ("Softmin", (2,)), ("Identity", ()), ("Flatten", ()),
    ("Dropout", (0.4,)), ("AlphaDropout", (0.4,)), ("Dropout1d", (0.4,)), ("RReLU", (0.3, 0.3)),
]  # fmt: skip
# name, constructor's positional arguments, keyword arguments, sizes of the inputs
LAYERS = [(name, args, {}, [(2, 3, 6)]) for name, args in ELEMENTWISE] + [
    ("Linear", (5, 4), {}, [(3, 5)]),
    ("Linear", (5, 4, False), {}, [(2, 3, 5)]),
    ("Bilinear", (3, 4, 5), {}, [(6, 3), (6, 4)]),
    ("Conv1d", (4, 6, 3), {"padding": 1, "stride": 2}, [(2, 4, 9)]),
    ("Conv2d", (4, 6, 3), {"groups": 2, "dilation": 2}, [(2, 4, 9, 8)]),
    ("Conv2d", (4, 6, (3, 5)), {"padding": "same", "bias": False}, [(4, 9, 8)]),
    ("Conv2d", (4, 4, 3), {"padding": 1, "padding_mode": "reflect"}, [(2, 4, 6, 6)]),
    ("Conv2d", (4, 4, 3), {"padding": 1, "padding_mode": "circular"}, [(2, 4, 6, 6)]),
    ("Conv3d", (2, 3, 3), {"padding": 1}, [(1, 2, 4, 5, 6)]),
    ("ConvTranspose1d", (4, 6, 3), {"stride": 2}, [(2, 4, 5)]),
    ("ConvTranspose2d", (4, 6, 3), {"stride": 2, "padding": 1, "output_padding": 1},
     [(2, 4, 5, 5)]),
    ("ConvTranspose2d", (4, 6, 3), {"dilation": 3, "output_padding": 2}, [(2, 4, 5, 5)]),
    ("ConvTranspose3d", (2, 4, 2), {"groups": 2}, [(1, 2, 3, 3, 3)]),
    ("MaxPool1d", (3, 2), {"return_indices": True}, [(2, 3, 9)]),
    ("MaxPool2d", (3, 2, 1), {}, [(2, 3, 9, 8)]),
    ("MaxPool2d", (2,), {"ceil_mode": True, "dilation": 2, "return_indices": True}, [(2, 3, 9, 8)]),
    ("MaxPool3d", (2,), {}, [(2, 3, 4, 4, 5)]),
    ("AvgPool1d", (3, 2, 1), {}, [(2, 3, 9)]),
    ("AvgPool2d", (3, 2, 1, True, False), {}, [(2, 3, 9, 8)]),
    ("AvgPool2d", (3,), {"divisor_override": 4}, [(2, 3, 9, 8)]),
    ("AvgPool3d", (2,), {}, [(2, 3, 4, 4, 5)]),
    ("LPPool2d", (2.0, 3), {}, [(2, 3, 9, 8)]),
    ("AdaptiveAvgPool1d", (4,), {}, [(2, 3, 9)]),
    ("AdaptiveAvgPool2d", ((3, None),), {}, [(2, 3, 7, 8)]),
    ("AdaptiveAvgPool2d", (1,), {}, [(2, 3, 7, 8)]),
    ("AdaptiveAvgPool3d", (2,), {}, [(2, 3, 4, 4, 6)]),
    ("AdaptiveMaxPool1d", (4,), {"return_indices": True}, [(2, 3, 9)]),
    ("AdaptiveMaxPool2d", (3,), {}, [(2, 3, 7, 8)]),
    ("BatchNorm1d", (3,), {}, [(4, 3)]),
    ("BatchNorm2d", (3,), {"momentum": None}, [(4, 3, 5, 5)]),
    ("BatchNorm3d", (3,), {"affine": False}, [(4, 3, 2, 3, 4)]),
    ("BatchNorm2d", (3,), {"track_running_stats": False}, [(4, 3, 5, 5)]),
    ("InstanceNorm2d", (3,), {"affine": True, "track_running_stats": True}, [(4, 3, 5, 5)]),
    ("LayerNorm", ((4, 5),), {}, [(2, 3, 4, 5)]),
    ("RMSNorm", (5,), {}, [(2, 3, 5)]),
    ("GroupNorm", (2, 4), {}, [(3, 4, 5, 5)]),
    ("LocalResponseNorm", (3,), {}, [(2, 6, 4, 4)]),
    ("Upsample", (), {"scale_factor": 2}, [(2, 3, 4, 5)]),
    ("Upsample", (), {"size": (7, 9), "mode": "bilinear"}, [(2, 3, 4, 5)]),
    ("Upsample", (), {"scale_factor": 1.7, "mode": "bicubic"}, [(2, 3, 4, 5)]),
    ("UpsamplingBilinear2d", (), {"scale_factor": 2}, [(2, 3, 4, 5)]),
    ("ReflectionPad2d", ((1, 2, 3, 0),), {}, [(2, 3, 5, 5)]),
    ("ReplicationPad3d", (1,), {}, [(2, 3, 4, 4, 4)]),
    ("CircularPad1d", (2,), {}, [(2, 3, 5)]),
    ("ZeroPad2d", ((1, -1, 0, 2),), {}, [(2, 3, 5, 5)]),
    ("ConstantPad1d", (2, 3.5), {}, [(2, 3, 5)]),
    ("PixelShuffle", (2,), {}, [(2, 8, 3, 4)]),
    ("PixelUnshuffle", (2,), {}, [(2, 2, 4, 6)]),
    ("ChannelShuffle", (3,), {}, [(2, 6, 3, 3)]),
    ("Unflatten", (1, (2, 3)), {}, [(4, 6)]),
    ("Unfold", (3,), {"padding": 1, "stride": 2}, [(2, 3, 6, 7)]),
    ("Fold", ((6, 7), 3), {"padding": 1, "stride": 2}, [(2, 27, 12)]),
    ("CosineSimilarity", (), {}, [(4, 5), (4, 5)]),
    ("PairwiseDistance", (), {}, [(4, 5), (4, 5)]),
    ("RNN", (3, 4), {"nonlinearity": "relu", "bidirectional": True}, [(5, 2, 3)]),
    ("LSTM", (3, 4), {"num_layers": 2, "batch_first": True, "dropout": 0.5}, [(2, 5, 3)]),
    ("LSTM", (3, 4), {"bidirectional": True, "proj_size": 2}, [(5, 3)]),
    ("GRU", (3, 4), {"num_layers": 2, "bidirectional": True, "bias": False}, [(5, 2, 3)]),
    ("LSTMCell", (3, 4), {}, [(2, 3)]),
    ("GRUCell", (3, 4), {}, [(2, 3), (2, 4)]),
    ("RNNCell", (3, 4), {}, [(3,)]),
    ("MultiheadAttention", (8, 2), {"add_bias_kv": True, "add_zero_attn": True},
     [(4, 2, 8), (5, 2, 8), (5, 2, 8)]),
    ("MultiheadAttention", (8, 2), {"kdim": 3, "vdim": 4, "batch_first": True},
     [(2, 4, 8), (2, 5, 3), (2, 5, 4)]),
    ("TransformerEncoderLayer", (8, 2, 16, 0.0), {"norm_first": True}, [(4, 2, 8)]),
    ("TransformerDecoderLayer", (8, 2, 16, 0.1), {"activation": "gelu"}, [(4, 2, 8), (3, 2, 8)]),
    ("Transformer", (8, 2, 1, 1, 16, 0.0), {}, [(4, 2, 8), (3, 2, 8)]),
]  # fmt: skip


@pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])
@pytest.mark.parametrize(
    "name, args, kwargs, sizes", LAYERS, ids=[f"{i}-{row[0]}" for i, row in enumerate(LAYERS)]
)
def test_layer(name, args, kwargs, sizes, training):
    rng = np.random.default_rng(0)
    arrays = [rng.standard_normal(size).astype(np.float32) for size in sizes]
    seed(3)
    layers = [getattr(lib.nn, name)(*args, **kwargs).train(training) for lib in PAIR]
    theirs, ours = layers
    assert repr(ours) == repr(theirs)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    for key, value in theirs.state_dict().items():
        np.testing.assert_allclose(values(ours.state_dict()[key]), values(value), atol=1e-7)
    inputs = [[given(array, lib, grad=True) for array in arrays] for lib in PAIR]
    results = [layer(*xs) for layer, xs in zip(layers, inputs, strict=True)]
    agree(*results)
    for result in results:
        pull(result)
    same_gradients(*inputs)
    same_gradients(theirs.parameters(), ours.parameters())
    for a, b in zip(theirs.buffers(), ours.buffers(), strict=True):
        np.testing.assert_allclose(values(b), values(a), rtol=1e-5, atol=1e-6)


def test_embedding():
    index = np.array([[0, 2, 5], [5, 5, 1]])
    for options in ({}, {"padding_idx": 5}, {"scale_grad_by_freq": True}, {"max_norm": 1.0}):
        seed()
        layers = [lib.nn.Embedding(6, 4, **options) for lib in PAIR]
        assert repr(layers[1]) == repr(layers[0])
        results = [layer(given(index, lib)) for layer, lib in zip(layers, PAIR, strict=True)]
        agree(*results)
        for result in results:
            pull(result)
        same_gradients(*([layer.weight] for layer in layers))


@pytest.mark.parametrize("mode", ["sum", "mean", "max"])
def test_embedding_bag(mode):
    seed()
    layers = [lib.nn.EmbeddingBag(6, 4, mode=mode, padding_idx=2) for lib in PAIR]
    index, offsets = np.array([0, 2, 5, 5, 1, 3]), np.array([0, 2, 2])
    results = [
        layer(given(index, lib), given(offsets, lib))
        for layer, lib in zip(layers, PAIR, strict=True)
    ]
    agree(*results)
    for result in results:
        pull(result)
    same_gradients(*([layer.weight] for layer in layers))


def test_packed_sequences():
    rng = np.random.default_rng(0)
    rows = [rng.standard_normal((n, 3)).astype(np.float32) for n in (2, 5, 3)]
    for kind in ("LSTM", "GRU", "RNN"):
        seed()
        found = []
        for lib in PAIR:
            layer = getattr(lib.nn, kind)(3, 4, num_layers=2, bidirectional=True)
            tensors = [given(row, lib, grad=True) for row in rows]
            pack = lib.nn.utils.rnn.pack_sequence(tensors, enforce_sorted=False)
            output, state = layer(pack)
            padded, lengths = lib.nn.utils.rnn.pad_packed_sequence(output, batch_first=True)
            pull([padded, state])
            found.append((padded, lengths, state, tensors, list(layer.parameters())))
        agree(found[0][:3], found[1][:3])
        same_gradients(found[0][3], found[1][3])
        same_gradients(found[0][4], found[1][4])


@pytest.mark.parametrize("name, args, size", [
    ("LazyLinear", (4,), (2, 3)),
    ("LazyConv2d", (4, 3), (2, 3, 5, 5)),
    ("LazyConvTranspose1d", (4, 3), (2, 3, 5)),
    ("LazyBatchNorm2d", (), (2, 3, 4, 4)),
    ("LazyInstanceNorm1d", (), (2, 3, 4)),
])  # fmt: skip
def test_lazy_layers(name, args, size):
    array = np.random.default_rng(0).standard_normal(size).astype(np.float32)
    seed()
    layers = [getattr(lib.nn, name)(*args) for lib in PAIR]
    assert repr(layers[1]) == repr(layers[0])
    agree(*[layer(given(array, lib)) for layer, lib in zip(layers, PAIR, strict=True)])
    assert repr(layers[1]) == repr(layers[0])
    assert type(layers[1]).__name__ == type(layers[0]).__name__


def test_adaptive_softmax():
    seed()
    layers = [lib.nn.AdaptiveLogSoftmaxWithLoss(8, 20, [5, 12], div_value=2.0) for lib in PAIR]
    x = np.random.default_rng(0).standard_normal((6, 8)).astype(np.float32)
    y = np.array([0, 4, 7, 11, 15, 19])
    results = [m(given(x, lib), given(y, lib)) for m, lib in zip(layers, PAIR, strict=True)]
    agree(*results)
    agree(*[m.log_prob(given(x, lib)) for m, lib in zip(layers, PAIR, strict=True)])


def test_losses_by_class():
    rng = np.random.default_rng(0)
    x = rng.standard_normal((4, 5)).astype(np.float32)
    y = rng.standard_normal((4, 5)).astype(np.float32)
    index, weight = np.array([1, 0, 4, 2]), np.abs(y[0])
    cases = [
        ("MSELoss", {}, [x, y]), ("L1Loss", {}, [x, y]), ("SmoothL1Loss", {"beta": 0.5}, [x, y]),
        ("HuberLoss", {"delta": 0.5}, [x, y]), ("CrossEntropyLoss", {}, [x, index]),
        ("CrossEntropyLoss", {"label_smoothing": 0.1, "weight": weight}, [x, index]),
        ("CrossEntropyLoss", {"ignore_index": 4}, [x, index]), ("NLLLoss", {}, [x, index]),
        ("BCEWithLogitsLoss", {"pos_weight": weight}, [x, np.abs(y) / 4]),
        ("BCELoss", {}, [np.abs(np.tanh(x)), np.abs(np.tanh(y))]), ("SoftMarginLoss", {}, [x, y]),
        ("PoissonNLLLoss", {"full": True}, [x, np.abs(y) * 3]),
        ("MultiLabelSoftMarginLoss", {}, [x, np.abs(np.tanh(y))]),
        ("MultiMarginLoss", {"p": 2}, [x, index]),
        ("MultiLabelMarginLoss", {}, [x, np.array([[0, 3, -1, 1, 2]] * 4)]),
        ("HingeEmbeddingLoss", {}, [x, np.sign(y)]),
        ("MarginRankingLoss", {"margin": 0.1}, [x, y, np.sign(y)]),
        ("CosineEmbeddingLoss", {}, [x, y, np.array([1, -1, 1, -1])]),
        ("TripletMarginLoss", {"swap": True}, [x, y, x[::-1].copy()]),
        ("GaussianNLLLoss", {"full": True}, [x, y, np.abs(y) + 0.1]),
    ]  # fmt: skip
    for name, options, arrays in cases:
        for reduction in ("none", "mean", "sum"):
            found = []
            for lib in PAIR:
                settings = {key: given(value, lib) for key, value in options.items()}
                layer = getattr(lib.nn, name)(reduction=reduction, **settings)
                leaf = given(arrays[0], lib, grad=True)
                result = layer(leaf, *[given(array, lib) for array in arrays[1:]])
                pull(result)
                found.append((result, leaf))
            agree(found[0][0], found[1][0])
            same_gradients([found[0][1]], [found[1][1]])


def test_ctc_loss():
    rng = np.random.default_rng(0)
    logits = rng.standard_normal((12, 3, 6)).astype(np.float32)
    targets = rng.integers(1, 6, (3, 4))
    found = []
    for lib in PAIR:
        leaf = given(logits, lib, grad=True)
        loss = lib.nn.CTCLoss()(leaf.log_softmax(2), given(targets, lib), (12, 10, 9), (4, 2, 3))
        loss.backward()
        found.append((loss, leaf))
    agree(found[0][0], found[1][0])
    same_gradients([found[0][1]], [found[1][1]])


def test_every_public_layer_exists():
    names = {n for n in dir(torch.nn) if isinstance(getattr(torch.nn, n), type)}
    # Deprecated; settings of a fused kernel.
    expected = {"Container", "LinearCrossEntropyOptions"}
    missing = {n for n in names if not hasattr(cupola.nn, n)} - expected
    assert not missing
