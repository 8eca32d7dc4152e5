"""Layers on batches of nothing: shapes, gradients of zeros, untouched statistics, as in torch."""

import pytest
import torch

import cupola

LAYERS = {
    "BatchNorm1d": (lambda nn: nn.BatchNorm1d(4), (0, 4)),
    "BatchNorm1d, length": (lambda nn: nn.BatchNorm1d(4), (0, 4, 3)),
    "BatchNorm2d": (lambda nn: nn.BatchNorm2d(4), (0, 4, 3, 3)),
    "BatchNorm2d, no space": (lambda nn: nn.BatchNorm2d(4), (2, 4, 0, 3)),
    "BatchNorm2d, average": (lambda nn: nn.BatchNorm2d(4, momentum=None), (0, 4, 3, 3)),
    "BatchNorm2d, untracked": (
        lambda nn: nn.BatchNorm2d(4, track_running_stats=False),
        (0, 4, 3, 3),
    ),
    "BatchNorm2d, plain": (lambda nn: nn.BatchNorm2d(4, affine=False), (0, 4, 3, 3)),
    "BatchNorm3d": (lambda nn: nn.BatchNorm3d(4), (0, 4, 3, 3, 3)),
    "GroupNorm": (lambda nn: nn.GroupNorm(2, 4), (0, 4, 3, 3)),
    "LayerNorm": (lambda nn: nn.LayerNorm(4), (0, 4)),
    "RMSNorm": (lambda nn: nn.RMSNorm(4), (0, 4)),
    "Linear": (lambda nn: nn.Linear(4, 3), (0, 2, 4)),
    "Conv1d": (lambda nn: nn.Conv1d(4, 3, 3), (0, 4, 5)),
    "Conv2d": (lambda nn: nn.Conv2d(4, 3, 3, padding=1), (0, 4, 5, 5)),
    "Conv3d": (lambda nn: nn.Conv3d(4, 3, 3), (0, 4, 5, 5, 5)),
    "ConvTranspose2d": (lambda nn: nn.ConvTranspose2d(4, 3, 3, stride=2), (0, 4, 5, 5)),
    "MaxPool2d": (lambda nn: nn.MaxPool2d(2), (0, 4, 5, 5)),
    "AvgPool2d": (lambda nn: nn.AvgPool2d(2), (0, 4, 5, 5)),
    "AdaptiveAvgPool2d": (lambda nn: nn.AdaptiveAvgPool2d(2), (0, 4, 5, 5)),
    "AdaptiveMaxPool2d": (lambda nn: nn.AdaptiveMaxPool2d(2), (0, 4, 5, 5)),
    "Upsample": (lambda nn: nn.Upsample(scale_factor=2, mode="bilinear"), (0, 4, 5, 5)),
    "PReLU": (lambda nn: nn.PReLU(4), (0, 4, 3)),
    "Dropout2d": (lambda nn: nn.Dropout2d(), (0, 4, 3, 3)),
    "TransformerEncoderLayer": (
        lambda nn: nn.TransformerEncoderLayer(4, 2, 8, batch_first=True),
        (0, 3, 4),
    ),
}


def results(lib, make, shape, training):
    lib.manual_seed(0)
    layer = make(lib.nn).train(training)
    x = lib.zeros(*shape, requires_grad=True)
    y = layer(x)
    y.sum().backward()
    gradients = {n: p.grad.tolist() for n, p in layer.named_parameters()}
    buffers = {n: b.tolist() for n, b in layer.named_buffers()}
    return tuple(y.shape), str(y.dtype), tuple(x.grad.shape), gradients, buffers


@pytest.mark.parametrize("training", (True, False))
@pytest.mark.parametrize("name", LAYERS)
def test_empty_batch(name, training):
    make, shape = LAYERS[name]
    want = results(torch, make, shape, training)
    assert results(cupola, make, shape, training) == want


def test_half_types_keep_theirs():
    for lib in (torch, cupola):
        x = lib.zeros(0, 4, 3, 3, dtype=lib.bfloat16)
        assert lib.nn.BatchNorm2d(4)(x).dtype == lib.bfloat16
