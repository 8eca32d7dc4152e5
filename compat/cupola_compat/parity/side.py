"""One side of a comparison: a module of torch or of cupola, run on NumPy inputs and watched."""

from __future__ import annotations

import contextlib
import dataclasses
import importlib
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np


@dataclasses.dataclass
class Trace:
    """What one run of a module produced, as NumPy arrays, in the order of execution."""

    submodules: list[tuple[str, np.ndarray]] = dataclasses.field(default_factory=list)
    outputs: list[tuple[str, np.ndarray]] = dataclasses.field(default_factory=list)
    gradients: list[tuple[str, np.ndarray | None]] = dataclasses.field(default_factory=list)
    input_gradients: list[tuple[str, np.ndarray | None]] = dataclasses.field(default_factory=list)


def is_tensor(value: Any) -> bool:
    """Tells whether a value is a tensor of either framework."""
    return hasattr(value, "detach") and hasattr(value, "dtype") and hasattr(value, "backward")


def to_numpy(value: Any) -> np.ndarray:
    """Returns a copy of a tensor of either framework as an array; bfloat16 becomes float32."""
    value = value.detach().cpu()
    if str(value.dtype) == "torch.bfloat16":
        value = value.float()
    return np.array(value.numpy())


def tensors(value: Any, place: str = "") -> Iterator[tuple[str, Any]]:
    """Yields the tensors in nested tuples, lists, mappings and dataclasses, each with its place."""
    if is_tensor(value):
        yield place or "output", value
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from tensors(item, f"{place}[{key!r}]")
    elif isinstance(value, (tuple, list)):
        fields = getattr(value, "_fields", None)
        for number, item in enumerate(value):
            key = f".{fields[number]}" if fields else f"[{number}]"
            yield from tensors(item, place + key)
    elif dataclasses.is_dataclass(value):
        for field in dataclasses.fields(value):
            yield from tensors(getattr(value, field.name), f"{place}.{field.name}")


class Side:
    """A module together with its framework, `torch` or `cupola`."""

    def __init__(self, framework: str, module: Any):
        self.framework = importlib.import_module(framework)
        self.module = module

    def state(self) -> dict[str, np.ndarray]:
        """Returns the state_dict as arrays."""
        return {k: to_numpy(v) for k, v in self.module.state_dict().items() if is_tensor(v)}

    def is_float32(self) -> bool:
        """Whether every floating parameter and buffer is float32."""
        return all(v.dtype == np.float32 for v in self.state().values() if v.dtype.kind in "fc")

    def load(self, state: Mapping[str, np.ndarray]) -> None:
        """Copies arrays into the parameters and buffers of the same names."""
        own = self.module.state_dict()
        with self.framework.no_grad():
            for name, value in state.items():
                if name in own:
                    mine = own[name]
                    value = self.framework.from_numpy(value.copy())
                    mine.copy_(value.to(device=mine.device, dtype=mine.dtype))

    def _device(self) -> Any:
        first = next(iter(self.module.parameters()), None)
        return None if first is None else first.device

    def _inputs(self, arrays: tuple, kwargs: Mapping) -> tuple[list, dict, list[tuple[str, Any]]]:
        """Returns the arguments as tensors, and those that can have a gradient, by place."""
        device, leaves = self._device(), []

        def lift(value: Any, place: str) -> Any:
            if not isinstance(value, np.ndarray):
                return value
            tensor = self.framework.from_numpy(value.copy())
            if device is not None:
                tensor = tensor.to(device)
            if value.dtype.kind in "fc":
                tensor.requires_grad_()
                leaves.append((place, tensor))
            return tensor

        args = [lift(a, f"input[{i}]") for i, a in enumerate(arrays)]
        named = {k: lift(v, f"input[{k!r}]") for k, v in kwargs.items()}
        return args, named, leaves

    @contextlib.contextmanager
    def _watched(self, trace: Trace) -> Iterator[None]:
        handles, calls = [], {}

        def watch(name: str) -> Any:
            def hook(module: Any, inputs: Any, output: Any) -> None:
                count = calls[name] = calls.get(name, 0) + 1
                label = name if count == 1 else f"{name} (call {count})"
                for place, tensor in tensors(output):
                    where = "" if place == "output" else place
                    trace.submodules.append((label + where, to_numpy(tensor)))

            return hook

        try:
            for name, module in self.module.named_modules():
                if name:
                    handles.append(module.register_forward_hook(watch(name)))
            yield
        finally:
            for handle in handles:
                handle.remove()

    def run(
        self, arrays: tuple, kwargs: Mapping, *, train: bool, seed: int, backward: bool
    ) -> Trace:
        """Runs forward, and backward from outputs weighted by fixed numbers."""
        trace = Trace()
        self.module.train(train)
        self.module.zero_grad()
        self.framework.manual_seed(seed)
        args, named, leaves = self._inputs(arrays, kwargs)
        with self._watched(trace):
            result = self.module(*args, **named)
        found = list(tensors(result))
        trace.outputs = [(place, to_numpy(t)) for place, t in found]
        if not backward:
            return trace
        loss = self._weighted([t for _, t in found if t.requires_grad], seed)
        if loss is None:
            return trace
        loss.backward()
        # The walk goes from the output to the input: the last parameters get their gradient first.
        named_parameters = list(self.module.named_parameters())
        for name, parameter in reversed(named_parameters):
            trace.gradients.append((name, _gradient(parameter)))
        trace.input_gradients = [(place, _gradient(t)) for place, t in leaves]
        return trace

    def _weighted(self, outputs: list, seed: int) -> Any:
        """Returns the sum of the outputs times fixed random numbers: every element matters."""
        rng, loss = np.random.default_rng(seed), None
        for tensor in outputs:
            weights = rng.standard_normal(tuple(tensor.shape)).astype(np.float32)
            weights = self.framework.from_numpy(np.asarray(weights))
            term = (tensor * weights.to(device=tensor.device, dtype=tensor.dtype)).sum()
            loss = term if loss is None else loss + term
        return loss


def _gradient(tensor: Any) -> np.ndarray | None:
    return None if tensor.grad is None else to_numpy(tensor.grad)
