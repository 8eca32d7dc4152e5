"""Layers, losses, initialisation and utilities (``torch.nn``)."""

from cupola.nn import attention, compiled, functional, grad, init, modules, parallel, utils
from cupola.nn.modules import *  # noqa: F403
from cupola.nn.modules import __all__ as _layers
from cupola.nn.parallel import DataParallel
from cupola.nn.parameter import Buffer, Parameter, UninitializedBuffer, UninitializedParameter

__all__ = [  # noqa: PLE0604
    *_layers,
    "Buffer",
    "DataParallel",
    "Parameter",
    "UninitializedBuffer",
    "UninitializedParameter",
    "attention",
    "compiled",
    "functional",
    "grad",
    "init",
    "modules",
    "parallel",
    "utils",
]
