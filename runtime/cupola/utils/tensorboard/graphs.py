"""A model's layers and what flows between them, as TensorBoard's graph."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tensorboard.compat.proto.attr_value_pb2 import AttrValue
from tensorboard.compat.proto.graph_pb2 import GraphDef
from tensorboard.compat.proto.node_def_pb2 import NodeDef
from tensorboard.compat.proto.versions_pb2 import VersionDef

from cupola.nn.modules.module import Module
from cupola.tensor import Tensor, no_grad
from cupola.utils.tensorboard.summary import shape_of


def _tensors(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, dict):
        yield from _tensors(list(value.values()))
    elif isinstance(value, (list, tuple)):
        for part in value:
            yield from _tensors(part)


class _Recorder:
    """Nodes in the order of the calls; a tensor comes from the last call that returned it."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self._sources: dict[int, str] = {}
        self._kept: list[Tensor] = []
        self._calls: dict[str, int] = {}

    def add(self, name: str, kind: str, inputs: Any, outputs: Any) -> None:
        """A node for a call."""
        count = self._calls[name] = self._calls.get(name, 0) + 1
        name = name if count == 1 else f"{name}_{count - 1}"
        sources = [self._sources[id(t)] for t in _tensors(inputs) if id(t) in self._sources]
        shapes = AttrValue.ListValue(shape=[shape_of(t.shape) for t in _tensors(outputs)])
        attributes = {"_output_shapes": AttrValue(list=shapes)}
        self.nodes.append(NodeDef(name=name, op=kind, input=sources, attr=attributes))
        for tensor in _tensors(outputs):
            self._sources[id(tensor)] = name
            self._kept.append(tensor)


def graph(model: Module, inputs: Any) -> Any:
    """Calls the model once and returns the layers that have no layers inside, with their inputs.

    What functions do between two layers is not a node: the layer behind it has no edge there.
    """
    given = tuple(inputs) if isinstance(inputs, (list, tuple)) else (inputs,)
    recorder = _Recorder()
    for i, value in enumerate(given):
        recorder.add(f"input/{i}", "IO Node", (), value)
    root = type(model).__name__
    handles = []
    for name, module in model.named_modules():
        if next(module.children(), None) is not None:
            continue
        path = "/".join((root, *filter(None, name.split("."))))

        def seen(layer: Module, args: Any, out: Any, path: str = path) -> None:
            recorder.add(path, type(layer).__name__, args, out)

        handles.append(module.register_forward_hook(seen))
    try:
        with no_grad():
            out = model(*given)
    finally:
        for handle in handles:
            handle.remove()
    recorder.add("output", "IO Node", out, ())
    return GraphDef(node=recorder.nodes, versions=VersionDef(producer=22))
