"""Conditions that programs state with PyTorch's own functions (torch._check and its kin)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from cupola.functional._register import PUBLIC


def _assert(condition: Any, message: str) -> None:
    """``assert`` as a function.

    Raises:
        AssertionError: the condition does not hold.
    """
    assert condition, message


def _checker(name: str, error: type[Exception]) -> Callable[..., None]:
    def check(cond: Any, message: Callable[[], Any] | None = None) -> None:
        if not isinstance(cond, bool):
            raise TypeError(f"cond must be a bool, but got {type(cond)}")
        if cond:
            return
        if message is None:
            raise error("Expected cond to be True, but got False")
        if not callable(message):
            raise TypeError("message must be a callable")
        raise error(str(message()))

    check.__name__ = name
    check.__doc__ = f"Raises {error.__name__}, with what ``message()`` says, unless ``cond``."
    return check


_CHECKS = {
    "_check": RuntimeError,
    "_check_index": IndexError,
    "_check_value": ValueError,
    "_check_type": TypeError,
    "_check_not_implemented": NotImplementedError,
}
PUBLIC["_assert"] = _assert
PUBLIC.update((name, _checker(name, error)) for name, error in _CHECKS.items())


def same_rows(input: Any, source: Any, dim: int) -> None:
    """Raises RuntimeError where tensors differ in another dimension than the given one."""
    ours, theirs = list(input.shape), list(source.shape)
    if ours and theirs and ours[:dim] + ours[dim + 1 :] != theirs[:dim] + theirs[dim + 1 :]:
        raise RuntimeError(
            "source tensor shape must match self tensor shape, excluding the specified dimension. "
            f"Got self.shape = {ours} source.shape = {theirs}"
        )


def _assert_async(condition: Any, assert_msg: str | None = None) -> None:
    """Raises RuntimeError unless a tensor of one element is true (torch._assert_async).

    PyTorch lets a GPU find out later; here it is read now, so that the error names the right line.
    """
    if condition.numel() != 1:
        raise RuntimeError("Boolean value of Tensor with more than one value is ambiguous")
    if not bool(condition):
        raise RuntimeError(assert_msg or "Expected Tensor with single nonzero value, but got zero")


def _check_is_size(i: Any, message: Callable[[], str] | None = None, *, max: Any = None) -> None:
    """Raises RuntimeError unless a number can be a size: not negative, at most ``max``."""
    PUBLIC["_check"](bool(i >= 0), message)
    if max is not None:
        PUBLIC["_check"](bool(i <= max), message)


def _check_tensor_all(cond: Any, message: Callable[[], str] | None = None) -> None:
    """Raises RuntimeError unless every element of a tensor of bools is true."""
    PUBLIC["_check"](bool(cond.all()), message)


for _function in (_assert_async, _check_is_size, _check_tensor_all):
    PUBLIC[_function.__name__] = _function
