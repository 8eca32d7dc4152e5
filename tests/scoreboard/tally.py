"""How samples are counted, and what surrounds each: seeds, silence, words for errors."""

from __future__ import annotations

import random
import traceback
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import torch

from cupola.errors import UnsupportedError
from scoreboard.translate import Missing, Skipped, exception

# What a check says of a result that lies nearer to torch's in double precision than torch's does.
NEARER = "nearer to torch's result in double precision than torch's own"


@dataclass
class Tally:
    """Samples of one kind: how many were run, how many of them failed, and how; and in how many of
    those that failed torch is the less exact side.
    """

    run: int = 0
    failed: int = 0
    skipped: int = 0
    nearer: int = 0
    reasons: dict[str, int] = field(default_factory=dict)

    def add(self, reason: str | None) -> None:
        """Counts a sample; None means that it passed."""
        self.run += 1
        self.nearer += reason == NEARER
        if reason is not None:
            self.failed += 1
            self.reasons[reason[:200]] = self.reasons.get(reason[:200], 0) + 1


@dataclass(frozen=True)
class Options:
    """What a run was asked for.

    Attributes:
        dtypes: forward samples are drawn in these dtypes, as far as an entry lists them.
        samples: how many for each entry, kind and dtype at most; 0: all.
        kinds: what is compared, of KINDS.
        further: dtypes that forward samples are drawn in as well; nothing else is.
    """

    dtypes: tuple[str, ...] = ("float32",)
    samples: int = 0
    kinds: tuple[str, ...] = ()
    further: tuple[str, ...] = ()

    def wants(self, kind: str) -> bool:
        """Whether this kind of comparison was asked for."""
        return not self.kinds or kind in self.kinds


# What is compared; each is a column of the page.
KINDS = ("forward", "gradient", "second", "forward_ad", "method", "inplace", "out", "errors")
MODULE_KINDS = ("initial", "forward", "gradient", "state", "repr")
OPTIMIZER_KINDS = ("steps", "groups", "resumed", "errors")


def tally(samples: Iterable[Any], check: Callable[[Any], str | None]) -> dict[str, Any]:
    """Checks each sample and counts the answers."""
    out = Tally()
    for sample in samples:
        try:
            out.add(check(sample))
        except Skipped:
            out.skipped += 1
    return asdict(out)


def seed(text: str) -> None:
    """Starts all of torch's and NumPy's random streams at a number drawn from a text."""
    number = zlib.crc32(text.encode())
    random.seed(number)
    np.random.seed(number)
    torch.manual_seed(number)


def some(samples: list[Any], limit: int) -> list[Any]:
    """At most ``limit`` of the samples, evenly spread, the first one included."""
    if not limit or len(samples) <= limit:
        return samples
    return [samples[k * len(samples) // limit] for k in range(limit)]


def listed(make: Callable[..., Iterable[Any]], *args: Any, **kwargs: Any) -> list[Any]:
    """All samples; none where their making needs what this machine does not have."""
    try:
        return list(make(*args, **kwargs))
    except Exception:  # samples that need a GPU, or another package
        return []


def describe(error: BaseException) -> str:
    """The error's class, where in cupola it was raised, and the start of its message."""
    if isinstance(error, Missing):
        return f"missing name {error}"
    frames = traceback.extract_tb(error.__traceback__)
    place = next((f for f in reversed(frames) if "/cupola/" in f.filename), None)
    where = f" in {place.name}" if place else ""
    first = (str(error).strip().splitlines() or [""])[0]
    return f"raised {type(error).__name__}{where}: {first}"


def guarded(check: Callable[[], str | None]) -> str | None:
    """What a check says; any error of cupola's is a failure with its description."""
    try:
        return check()
    except Skipped:
        raise
    except Exception as error:
        return describe(error)


def torch_only(call: Callable[[], Any]) -> Any:
    """torch's result.

    Raises:
        Skipped: torch itself does not run this here, so there is nothing to compare with.
    """
    try:
        return call()
    except Skipped:
        raise
    except Exception:
        raise Skipped("torch does not run this sample on this machine") from None


def raised(theirs: Callable[[], Any], ours: Callable[[], Any]) -> str | None:
    """Whether a call raises the type of error that torch raises for it.

    Raises:
        Skipped: torch raises nothing.
    """
    error = error_of(theirs)
    if error is None:
        raise Skipped("torch raises nothing here")
    return raises(exception(type(error)), ours)


def error_of(call: Callable[[], Any]) -> Exception | None:
    """What a call raises."""
    try:
        call()
    except Exception as error:
        return error
    return None


def raises(want: type[BaseException], ours: Callable[[], Any]) -> str | None:
    """Whether a call to cupola raises an error of this type."""
    error = error_of(ours)
    if error is None:
        return f"no {want.__name__} raised"
    if isinstance(error, Skipped):
        raise error
    if isinstance(error, (Missing, UnsupportedError)):
        return describe(error)
    return None if isinstance(error, want) else f"{describe(error)} ({want.__name__} expected)"


@contextmanager
def quiet() -> Iterator[None]:
    """No warnings."""
    import warnings

    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        yield
