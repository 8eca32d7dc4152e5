"""Runs a training script in this process and reports its backward passes and optimizer steps.

Started by `cupola parity train`, once a side: `observe FRAMEWORK PIPE STEPS SEED SHIM LAYERS --
COMMAND`; of step LAYERS the outputs of all layers are sent as well (0: of none).
The script is not edited: `backward()` is wrapped, and an optimizer's step is seen by its hooks.
Records are pickled into the pipe; a full pipe makes the script wait until they have been read.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import os
import pathlib
import pickle
import random
import runpy
import sys
import traceback
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO

import numpy as np

from cupola_compat.parity.side import is_tensor, to_numpy
from cupola_compat.parity.training.layers import Recorder
from cupola_compat.parity.training.names import Modules


class Enough(BaseException):
    """Ends the script after the last step wanted; no handler of Exception stops it."""


class Observer:
    """Watches one framework and writes a record a step."""

    def __init__(self, framework: str, sink: BinaryIO, steps: int, layers: int = 0):
        self.framework, self.sink, self.wanted = importlib.import_module(framework), sink, steps
        self.modules = Modules(self.framework.nn.Module)
        self.layers, self.recorder = layers, Recorder(self.modules)
        self.steps = self.backwards = 0
        self.losses: list[float] = []
        self.optimizers: dict[int, tuple[int, Any, list[tuple[str, Any]]]] = {}
        self.before: dict[str, np.ndarray] | None = None
        self.inside = False

    def install(self) -> None:
        """Wraps what a training script calls; what it would compile runs as it is written."""
        framework = self.framework
        framework.Tensor.backward = self._backward(framework.Tensor.backward)
        framework.autograd.backward = self._backward(framework.autograd.backward)
        framework.compile = _as_written
        framework.nn.Module.compile = lambda module, *args, **kwargs: None
        if self.layers:
            modules = importlib.import_module(f"{framework.__name__}.nn.modules.module")
            modules.register_module_forward_hook(self._forward)
        hooks = importlib.import_module(f"{framework.__name__}.optim.optimizer")
        hooks.register_optimizer_step_pre_hook(self._pre)
        hooks.register_optimizer_step_post_hook(self._post)

    def write(self, **record: Any) -> None:
        """Sends one record."""
        pickle.dump(record, self.sink, pickle.HIGHEST_PROTOCOL)
        self.sink.flush()

    def _backward(self, original: Callable) -> Callable:
        @functools.wraps(original)
        def backward(tensors: Any, *args: Any, **kwargs: Any) -> Any:
            if self.inside:  # the method calls the function
                return original(tensors, *args, **kwargs)
            self.inside = True
            try:
                result = original(tensors, *args, **kwargs)
            finally:
                self.inside = False
            self.backwards += 1
            roots = [tensors] if is_tensor(tensors) else tensors
            self.losses.append(float(sum(to_numpy(t).astype(np.float64).sum() for t in roots)))
            return result

        return backward

    def _forward(self, module: Any, args: Any, output: Any) -> None:
        if self.steps == self.layers - 1:
            self.recorder(module, args, output)

    def _pre(self, optimizer: Any, args: Any, kwargs: Any) -> None:
        self.before = None
        if id(optimizer) not in self.optimizers:
            named = self.modules.of(optimizer)
            self.optimizers[id(optimizer)] = (len(self.optimizers), optimizer, named)
            self.before = {name: to_numpy(p) for name, p in named}

    def _post(self, optimizer: Any, args: Any, kwargs: Any) -> None:
        number, _, named = self.optimizers[id(optimizer)]
        if self.backwards:  # steps before the first backward() change nothing
            self.write(
                kind="step",
                optimizer=number,
                losses=self.losses,
                rates=[float(group["lr"]) for group in optimizer.param_groups if "lr" in group],
                settings=[_settings(optimizer, group) for group in optimizer.param_groups],
                before=self.before,
                gradients={n: None if p.grad is None else _dense(p.grad) for n, p in named},
                weights={name: to_numpy(p) for name, p in named},
                outputs=self.recorder.calls,
            )
            self.losses = []
            self.steps += 1
            if self.steps >= self.wanted:
                raise Enough


# How a step is carried out, not what it computes, and what is recorded apart.
_APART = {"params", "lr", "initial_lr", "foreach", "fused", "capturable", "differentiable"}


def _settings(optimizer: Any, group: dict[str, Any]) -> dict[str, Any]:
    """The numbers that a group is stepped with, and the kind of optimizer."""
    found: dict[str, Any] = {"kind of optimizer": type(optimizer).__name__}
    for key, value in group.items():
        parts = value if isinstance(value, (tuple, list)) else (value,)
        if key in _APART or not all(isinstance(v, (int, float)) or is_tensor(v) for v in parts):
            continue
        if all(not is_tensor(v) or v.numel() == 1 for v in parts):
            found[key] = [float(v) for v in parts]
    return found


def _dense(gradient: Any) -> np.ndarray:
    return to_numpy(gradient.to_dense() if getattr(gradient, "is_sparse", False) else gradient)


def _as_written(model: Any = None, *args: Any, **kwargs: Any) -> Any:
    """Stands for `compile`: gives back what it was given, also as a decorator with options."""
    return model if model is not None else lambda function: function


@contextlib.contextmanager
def _program(command: list[str]) -> Iterator[Callable[[], Any]]:
    """Sets sys.argv and sys.path as the interpreter would, and gives what runs the program."""
    if command[0] == "-m":
        sys.argv = command[1:]
        sys.path.insert(0, "")
        yield lambda: runpy.run_module(command[1], run_name="__main__", alter_sys=True)
    else:
        sys.argv = command
        sys.path.insert(0, str(pathlib.Path(command[0]).resolve().parent))
        yield lambda: runpy.run_path(command[0], run_name="__main__")


def _own_lines(error: BaseException) -> str:
    """The traceback without the frames of this file and of runpy, which the script did not call."""
    kept = traceback.TracebackException.from_exception(error)
    hidden = {__file__, runpy.__file__, "<frozen runpy>"}
    kept.stack = traceback.StackSummary.from_list(
        [frame for frame in kept.stack if frame.filename not in hidden]
    )
    return "".join(kept.format())


def main(argv: list[str]) -> int:
    """Runs one side; the exit code is 0 also if the script failed, which its last record says."""
    framework, pipe, steps, seed, shim, layers, _, *command = argv
    os.set_inheritable(int(pipe), False)
    sys.path.pop(0)  # the folder in which `-m` was called
    if shim == "shim":
        importlib.import_module("cupola_compat.shim").install()
    with os.fdopen(int(pipe), "wb") as sink:
        observer = Observer(framework, sink, int(steps), int(layers))
        observer.install()
        random.seed(int(seed))
        np.random.seed(int(seed))
        observer.framework.manual_seed(int(seed))
        failure, end = "", "finished"
        try:
            with _program(command) as run:
                run()
        except Enough:
            end = "enough"
        except SystemExit as error:
            if error.code not in (None, 0):
                end, failure = "failed", f"the script called sys.exit({error.code!r})\n"
        except BaseException as error:  # the script's own failure is what is reported
            end, failure = "failed", _own_lines(error)
        observer.write(
            kind="end",
            end=end,
            failure=failure,
            steps=observer.steps,
            backwards=observer.backwards,
            torch=framework == "cupola" and shim != "shim" and "torch" in sys.modules,
        )
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
