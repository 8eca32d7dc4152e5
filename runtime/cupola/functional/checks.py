"""Conditions that programs state with PyTorch's own functions (torch._check and its kin)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from cupola import dtypes
from cupola.functional._register import PUBLIC
from cupola.tensor import Tensor


def _assert(condition: Any, message: str) -> None:
    """``assert`` as a function.

    Raises:
        AssertionError: the condition does not hold.
    """
    assert condition, message


def _check_with(error_type: type[Exception], cond: Any, message: Callable[[], Any] | None) -> None:
    """Raises an error of this type, with what ``message()`` says, unless ``cond``.

    Raises:
        TypeError: the condition is no bool, or the message no function.
    """
    if not isinstance(cond, bool):
        raise TypeError(f"cond must be a bool, but got {type(cond)}")
    if cond:
        return
    if message is None:
        raise error_type("Expected cond to be True, but got False")
    if not callable(message):
        raise TypeError("message must be a callable")
    raise error_type(str(message()))


def _checker(name: str, error: type[Exception]) -> Callable[..., None]:
    def check(cond: Any, message: Callable[[], Any] | None = None) -> None:
        _check_with(error, cond, message)

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


def _check_tensor_all_with(
    error_type: type[Exception], cond: Any, message: Callable[[], Any] | None = None
) -> None:
    """Raises an error of this type unless every element of a tensor of bools is true.

    Raises:
        TypeError: the condition is no tensor of bools.
    """
    if not isinstance(cond, Tensor):
        raise TypeError(f"cond must be a tensor, but got {type(cond)}")
    if cond.dtype is not dtypes.bool:
        raise TypeError(f"cond tensor must have dtype torch.bool, but got {cond.dtype}")
    _check_with(error_type, bool(cond.all()), message)  # type: ignore[attr-defined]


def _check_tensor_all(cond: Any, message: Callable[[], Any] | None = None) -> None:
    """Raises RuntimeError unless every element of a tensor of bools is true."""
    _check_tensor_all_with(RuntimeError, cond, message)


for _function in (
    _assert_async, _check_is_size, _check_tensor_all, _check_tensor_all_with, _check_with
):  # fmt: skip
    PUBLIC[_function.__name__] = _function
