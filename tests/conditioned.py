"""Weights and statistics for comparing models: as initialised they say little, or amplify rounding.

Some outputs are zero or do not depend on the picture, thousands of boxes have one score; and in a
deep network that normalises each layer with the statistics of two small pictures, torch's own
float32 results are 1e-3 to 1 away from its float64 results. Every torch model is made over in the
same ways, none by its name, and cupola's gets its weights. (What the seed gives is compared
before.)
"""

from __future__ import annotations

import contextlib
import math

# Trained networks have small weights at the ends of their residual branches (training even starts
# from zeros: Goyal et al., Accurate, Large Minibatch SGD, 2017). With the initial ones, each of a
# hundred branches is as large as the first, and differences grow from block to block.
BRANCH = 0.25


def enliven(detector) -> None:
    """Makes what a torch detector finds differ from box to box, so that it has an order.

    As initialised, thousands of boxes have the same score to eight digits, and rounding decides
    which of them are kept: the heads are drawn anew. Those that move boxes are drawn smaller, for
    trained ones move a box by a part of its size, not by several times that.
    """
    import torch

    generator = torch.Generator().manual_seed(5)
    for name, weight in detector.named_parameters():
        if weight.dim() > 1 and not name.startswith("backbone"):
            inputs = weight[0].numel()
            drawn = torch.randn(weight.shape, generator=generator) * math.sqrt(2 / inputs)
            weight.data.copy_(drawn * (BRANCH if "bbox" in name else 1.0))


def fill(model) -> None:
    """Draws the weights of a torch model that are initialised with zeros (vision transformers'
    heads): behind them all outputs, and before them all gradients, are zero.
    """
    import torch

    generator = torch.Generator().manual_seed(6)
    for weight in model.parameters():
        if weight.dim() > 1 and not weight.any():
            drawn = torch.randn(weight.shape, generator=generator)
            weight.data.copy_(drawn / math.sqrt(weight[0].numel()))


def norms(model) -> list:
    """Returns a torch model's batch normalisations."""
    from torch.nn.modules.batchnorm import _BatchNorm

    return [module for module in model.modules() if isinstance(module, _BatchNorm)]


def shorten(model, run) -> None:
    """Gives each batch normalisation at the end of a residual branch the weight BRANCH.

    `run` returns the outputs as torch tensors. In their graph such a normalisation is added to
    something that is not itself normalised.
    """
    import torch

    if not norms(model):
        return
    kept = {name: buffer.clone() for name, buffer in model.named_buffers()}
    # Branches that chance leaves out would not be in the graph.
    with stilled(model), torch.random.fork_rng():
        model.train()
        waiting, seen = [output.grad_fn for output in run()], set()
    while waiting:
        node = waiting.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        before = [function for function, _ in node.next_functions]
        waiting += before
        ends = [n for n in before if n is not None and "BatchNorm" in n.name()]
        if node.name().startswith("AddBackward") and len(ends) == 1:
            for function, _ in ends[0].next_functions[1:2]:  # picture, weight, bias
                function.variable.data.fill_(BRANCH)
    for name, buffer in model.named_buffers():
        buffer.copy_(kept[name])


def settle(model, run) -> None:
    """Gives the batch normalisations of a torch model the statistics of what `run` runs it on.

    As initialised, they divide by one in evaluation mode: in deep models features vanish beside the
    last bias, and the outputs would agree whatever comes before it.
    """
    import torch

    momenta = [norm.momentum for norm in norms(model)]
    if not momenta:
        return
    for norm in norms(model):
        norm.momentum = 1.0
    # Blocks that chance leaves out in training are there in evaluation mode.
    with stilled(model), torch.no_grad():
        model.train()
        run()
    for norm, momentum in zip(norms(model), momenta):
        norm.momentum = momentum


def still(model) -> None:
    """Takes chance out of a model: on a GPU torch draws from a generator of that GPU's own."""
    for module in chances(model):
        module.p = 0.0


def chances(model) -> list:
    """Returns a model's dropouts and stochastic depths."""
    return [module for module in model.modules() if isinstance(getattr(module, "p", None), float)]


@contextlib.contextmanager
def stilled(model):
    """Takes chance out of a model for a while."""
    before = [(module, module.p) for module in chances(model)]
    still(model)
    try:
        yield
    finally:
        for module, chance in before:
            module.p = chance
