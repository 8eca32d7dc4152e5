"""Optimizers and learning-rate schedules (``torch.optim``)."""

from cupola.optim import lr_scheduler, swa_utils
from cupola.optim.adam import Adam, AdamW
from cupola.optim.adaptive import Adadelta, Adagrad, Adamax, RMSprop
from cupola.optim.lbfgs import LBFGS
from cupola.optim.matrix import Adafactor, Muon, SparseAdam
from cupola.optim.momentum import ASGD, NAdam, RAdam, Rprop
from cupola.optim.optimizer import Optimizer
from cupola.optim.sgd import SGD

__all__ = [
    "ASGD",
    "LBFGS",
    "SGD",
    "Adadelta",
    "Adafactor",
    "Adagrad",
    "Adam",
    "AdamW",
    "Adamax",
    "Muon",
    "NAdam",
    "Optimizer",
    "RAdam",
    "RMSprop",
    "Rprop",
    "SparseAdam",
    "lr_scheduler",
    "swa_utils",
]
