"""The seven models on the GPU, compared with torch on the CPU."""

import dataclasses

import pytest

import seven

each = pytest.mark.parametrize("name", seven.SEVEN)
# Dropout draws other masks on a GPU than on a CPU: it is off where gradients are compared.
undropped = {"dropout": 0.0}


def without_dropout(name):
    model = seven.SEVEN[name]
    if model.residual:
        return model
    return dataclasses.replace(model, arguments=(*model.arguments, *undropped.items()))


@each
def test_forward(name, original, converted):
    seven.check_forward(seven.SEVEN[name], original, converted)


@each
def test_gradients(name, original, converted):
    seven.check_gradients(without_dropout(name), original, converted)


@each
def test_ten_training_steps(name, original, converted):
    seven.check_training(without_dropout(name), original, converted)


@each
def test_parameters_are_on_the_gpu(name, converted):
    module = converted.build(seven.SEVEN[name])
    assert {p.device.type for p in module.parameters()} == {"cuda"}
