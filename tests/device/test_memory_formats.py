"""Strides after a change of memory format are torch's; values stay."""

from __future__ import annotations

import pytest
import torch

import cupola

FORMS = {
    "to": lambda lib, x, form: x.to(memory_format=form),
    "to a dtype": lambda lib, x, form: x.to(lib.float64, memory_format=form),
    "contiguous": lambda lib, x, form: x.contiguous(memory_format=form),
    "clone": lambda lib, x, form: x.clone(memory_format=form),
    "kept": lambda lib, x, form: x.to(memory_format=form).clone(),
    "back": lambda lib, x, form: x.to(memory_format=form).contiguous(),
    "cloned back": lambda lib, x, form: x.to(memory_format=form).clone(
        memory_format=lib.contiguous_format
    ),
    "a number added": lambda lib, x, form: x.to(memory_format=form) + 1,
    "in double": lambda lib, x, form: x.to(memory_format=form).double(),
    "transposed": lambda lib, x, form: x.to(memory_format=form).transpose(0, 1),
}


@pytest.mark.parametrize("name", FORMS)
@pytest.mark.parametrize(
    "shape", [(2, 3, 4, 5), (2, 1, 4, 5), (2, 3, 1, 1), (1, 3, 4, 5), (2, 3, 4, 5, 6)], ids=str
)
def test_strides(name, shape):
    form = "channels_last" if len(shape) == 4 else "channels_last_3d"
    found = []
    for lib in (torch, cupola):
        x = lib.arange(720.0)[: torch.Size(shape).numel()].reshape(shape)
        y = FORMS[name](lib, x, getattr(lib, form))
        contiguous = y.is_contiguous(), y.is_contiguous(memory_format=getattr(lib, form))
        found.append((tuple(y.stride()), contiguous, y.tolist()))
    assert found[0] == found[1]


def test_ranks_that_do_not_fit_are_refused():
    for lib in (torch, cupola):
        for change in ("clone", "contiguous", "to"):
            with pytest.raises(RuntimeError, match="required rank 4 tensor to use channels_last"):
                getattr(lib.zeros(3, 4), change)(memory_format=lib.channels_last)
        with pytest.raises(RuntimeError, match="preserve memory format is unsupported"):
            lib.zeros(3, 4).t().contiguous(memory_format=lib.preserve_format)


def test_a_model_made_channels_last():
    for lib in (torch, cupola):
        model = lib.nn.Conv2d(3, 8, 3).to(memory_format=lib.channels_last)
        assert tuple(model.weight.stride()) == (27, 1, 9, 3)
        assert model(lib.zeros(1, 3, 8, 8)).shape == (1, 8, 6, 6)
