"""Limited-memory BFGS."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from cupola.functional.joining import cat
from cupola.optim.line_search import strong_wolfe
from cupola.optim.optimizer import Optimizer, check_range, number
from cupola.tensor import Tensor, enable_grad, no_grad

__all__ = ["LBFGS"]


class LBFGS(Optimizer):
    """Quasi-Newton steps from a short history (Nocedal, 1980); one parameter group only.

    ``line_search_fn`` is None or ``"strong_wolfe"``. ``step`` needs a closure.
    """

    def __init__(
        self,
        params: Any,
        lr: float | Tensor = 1,
        max_iter: int = 20,
        max_eval: int | None = None,
        tolerance_grad: float = 1e-7,
        tolerance_change: float = 1e-9,
        history_size: int = 100,
        line_search_fn: str | None = None,
    ) -> None:
        check_range("learning rate", lr)
        if line_search_fn not in (None, "strong_wolfe"):
            raise RuntimeError("only 'strong_wolfe' is supported")
        defaults = {
            "lr": lr,
            "max_iter": max_iter,
            "max_eval": max_iter * 5 // 4 if max_eval is None else max_eval,
            "tolerance_grad": tolerance_grad,
            "tolerance_change": tolerance_change,
            "history_size": history_size,
            "line_search_fn": line_search_fn,
        }
        super().__init__(params, defaults)
        if len(self.param_groups) != 1:
            raise ValueError("LBFGS doesn't support per-parameter options (parameter groups)")
        self._params = self.param_groups[0]["params"]

    def _saved(self, state: dict[str, Any], param: Any) -> dict[str, Any]:
        """The state as PyTorch has it: numbers that were computed are 0-dim tensors."""
        like = self._params[0]

        def one(value: Any) -> Any:
            return like.new_tensor(value) if isinstance(value, float) else value

        out = dict(state)
        for name in ("al", "ro"):
            if name in out:
                out[name] = [one(v) for v in out[name]]
        if "H_diag" in out:
            out["H_diag"] = one(out["H_diag"])
        return out

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self._params = self.param_groups[0]["params"]

    def _gradient(self) -> Tensor:
        parts = [
            (p.new_zeros(p.numel()) if p.grad is None else p.grad.detach().reshape(-1))
            for p in self._params
        ]
        return cat(parts, 0)

    def _move(self, step: float, direction: Tensor) -> None:
        start = 0
        for param in self._params:
            count = param.numel()
            part = direction[start : start + count].reshape(param.shape)
            param.add_(part, alpha=step)
            start += count

    def step(self, closure: Callable[[], Any]) -> Any:
        """Up to ``max_iter`` iterations; returns the loss at the start."""
        with no_grad():
            return self._minimize(closure)

    def _minimize(self, closure: Callable[[], Any]) -> Any:
        group = self.param_groups[0]
        lr = number(group["lr"])
        tolerance_change = group["tolerance_change"]

        def evaluate() -> Any:
            with enable_grad():
                return closure()

        state = self.state[self._params[0]]
        state.setdefault("func_evals", 0)
        state.setdefault("n_iter", 0)
        first_loss = evaluate()
        loss = float(first_loss)
        evaluations = 1
        state["func_evals"] += 1
        gradient = self._gradient()
        if float(gradient.abs().max()) <= group["tolerance_grad"]:
            return first_loss
        direction, size = state.get("d"), number(state.get("t"))
        old_dirs = state.get("old_dirs") or []
        old_steps = state.get("old_stps") or []
        factors = [number(f) for f in state.get("ro") or []]
        scale = number(state.get("H_diag", 1))
        shares: list[Any] | None = state.get("al")
        previous, previous_loss = state.get("prev_flat_grad"), state.get("prev_loss")
        iterations = 0
        while iterations < group["max_iter"]:
            iterations += 1
            state["n_iter"] += 1
            if state["n_iter"] == 1:
                direction, old_dirs, old_steps, factors, scale = -gradient, [], [], [], 1
            else:
                change, moved = gradient - previous, direction * size
                curvature = float(change.dot(moved))
                if curvature > 1e-10:
                    if len(old_dirs) == group["history_size"]:
                        for history in (old_dirs, old_steps, factors):
                            history.pop(0)
                    old_dirs.append(change)
                    old_steps.append(moved)
                    factors.append(1.0 / curvature)
                    scale = curvature / float(change.dot(change))
                direction, found_shares = _two_loop(gradient, old_dirs, old_steps, factors, scale)
                shares = found_shares + [None] * (group["history_size"] - len(found_shares))
            previous, previous_loss = gradient.clone(), loss
            if state["n_iter"] == 1:
                size = min(1.0, 1.0 / float(gradient.abs().sum())) * lr
            else:
                size = lr
            slope = float(gradient.dot(direction))
            if slope > -tolerance_change:
                break
            used = 0
            if group["line_search_fn"] is not None:
                start = [p.clone() for p in self._params]

                def probe(t: float, direction: Tensor = direction, start: Any = start) -> Any:
                    self._move(t, direction)
                    value = float(evaluate())
                    found = self._gradient()
                    for param, old in zip(self._params, start, strict=True):
                        param.copy_(old)
                    return value, found

                loss, gradient, size, used = strong_wolfe(
                    probe, size, direction, loss, gradient, slope, tolerance_change
                )
                self._move(size, direction)
                converged = float(gradient.abs().max()) <= group["tolerance_grad"]
            else:
                self._move(size, direction)
                converged = False
                if iterations != group["max_iter"]:
                    loss = float(evaluate())
                    gradient = self._gradient()
                    converged = float(gradient.abs().max()) <= group["tolerance_grad"]
                    used = 1
            evaluations += used
            state["func_evals"] += used
            if iterations == group["max_iter"] or evaluations >= group["max_eval"] or converged:
                break
            if float((direction * size).abs().max()) <= tolerance_change:
                break
            if abs(loss - previous_loss) < tolerance_change:
                break
        if shares is not None:
            state["al"] = shares
        state.update(
            d=direction,
            t=group["lr"] if isinstance(group["lr"], Tensor) and size == lr else size,
            old_dirs=old_dirs,
            old_stps=old_steps,
            ro=factors,
            H_diag=scale,
            prev_flat_grad=previous,
            prev_loss=previous_loss,
        )
        return first_loss


def _two_loop(
    gradient: Tensor, old_dirs: list, old_steps: list, factors: list, scale: float
) -> tuple[Tensor, list[Any]]:
    """The quasi-Newton direction from the history, and how much of each old step is in it."""
    q = -gradient
    weights = [0.0] * len(old_dirs)
    for i in reversed(range(len(old_dirs))):
        weights[i] = float(old_steps[i].dot(q)) * factors[i]
        q = q - old_dirs[i] * weights[i]
    result = q * scale
    for i in range(len(old_dirs)):
        correction = float(old_dirs[i].dot(result)) * factors[i]
        result = result + old_steps[i] * (weights[i] - correction)
    return result, weights
