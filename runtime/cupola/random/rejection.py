"""Distributions drawn by rejection: poisson, binomial, gamma, Dirichlet.

How many uniforms a number takes depends on the numbers, so each is drawn in a loop, in index order.
Constants and the order of operations are those that decide torch's acceptances; float32 arguments
are combined in float32 where torch does so.
"""

from __future__ import annotations

from collections.abc import Callable
from math import ceil, cos, exp, floor, inf, isnan, lgamma, log, log1p, nan, pi, sin, sqrt

import numpy as np

from cupola import dtypes

from .generator import CPUGenerator, drawing
from .rounding import narrow
from .stream import ReadAhead

# Single-precision literals of the gamma sampler.
_THIRD = float(np.float32(1) / np.float32(3))
_SQUEEZE = float(np.float32(0.0331))

# log(k!) minus Stirling's approximation, for k = 0 … 9 (Hormann 1993).
_STIRLING_TAIL = (
    0.0810614667953272, 0.0413406959554092, 0.0276779256849983, 0.02079067210376509,
    0.0166446911898211, 0.0138761288230707, 0.0118967099458917, 0.0104112652619720,
    0.00925546218271273, 0.00833056343336287,
)  # fmt: skip


def poisson(rate: np.ndarray, *, generator: CPUGenerator | None = None) -> np.ndarray:
    """Counts with the given means (torch.poisson).

    Multiplied uniforms below a mean of 10 (Knuth), transformed rejection from there on (Hormann
    1993, doi:10.1016/0167-6687(93)90997-4). Shapes and dtype: those of ``rate``.
    Raises RuntimeError for a negative or undefined rate.
    """
    rates = rate.astype(np.float64)
    if not (rates >= 0).all():
        raise RuntimeError("invalid Poisson rate, expected rate to be non-negative")
    with drawing(generator) as source, ReadAhead(source.stream) as ahead:
        drawn = [_poisson(value, ahead.uniform) for value in rates.ravel().tolist()]
    return _like(drawn, rate)


def _poisson(rate: float, uniform: Callable[[], float]) -> int:
    if rate == 0.0:
        return 0
    if rate < 10.0:
        limit, product, count = exp(-rate), uniform(), 0
        while product > limit:
            count += 1
            product *= uniform()
        return count
    root, log_rate = sqrt(rate), log(rate)
    b = 0.931 + 2.53 * root
    a = -0.059 + 0.02483 * b
    inverse_alpha = 1.1239 + 1.1328 / (b - 3.4)
    inside = 0.9277 - 3.6224 / (b - 2.0)
    while True:
        u = uniform() - 0.5
        v = uniform()
        us = 0.5 - abs(u)
        # Python divides by zero with an error where C makes an infinity; u of -1/2 is rejected.
        if us == 0.0:
            continue
        k = floor((2.0 * a / us + b) * u + rate + 0.43)
        if us >= 0.07 and v <= inside:
            return k
        if k < 0 or (us < 0.013 and v > us):
            continue
        left = _log(v) + log(inverse_alpha) - log(a / (us * us) + b)
        if left <= -rate + k * log_rate - lgamma(k + 1.0):
            return k


def binomial(
    count: np.ndarray, prob: np.ndarray, *, generator: CPUGenerator | None = None
) -> np.ndarray:
    """Successes in ``count`` trials (torch.binomial).

    Sums of geometric gaps while the mean is below 10, else transformed rejection (BTRS, Hormann
    1993). Shapes: count and prob alike. Dtype: count's; undefined where prob is.
    """
    count, prob = np.broadcast_arrays(count, prob)
    kind = _single_or_double(count, "binomial_cpu")
    counts, probs = count.ravel(), prob.astype(kind).ravel()
    one = kind(1)
    rarer = np.where(probs <= 0.5, probs, (1.0 - probs.astype(np.float64)).astype(kind))
    with np.errstate(divide="ignore", invalid="ignore"):
        columns = (
            counts,
            probs,
            rarer,
            counts * rarer,
            np.sqrt(counts * rarer * (one - rarer)),
            rarer / (one - rarer),
            np.floor((counts + one) * rarer),
            np.log1p(-rarer),
        )
    # Whole numbers this small are exact in float32 too; others are rounded to it step by step.
    exact = kind is np.float64 or bool(
        (counts == np.floor(counts)).all() and (counts < 2**23).all()
    )
    step = float if exact else lambda value: float(np.float32(value))
    with drawing(generator) as source, ReadAhead(source.stream) as ahead:
        drawn = [
            _binomial(*row, step, ahead.uniform)
            for row in zip(*(column.tolist() for column in columns))
        ]
    return _like(drawn, count)


def _binomial(
    count: float,
    prob: float,
    rarer: float,
    mean: float,
    deviation: float,
    odds: float,
    mode: float,
    log_failure: float,
    step: Callable[[float], float],
    uniform: Callable[[], float],
) -> float:
    if count <= 0.0 or prob <= 0.0:
        return 0.0
    if prob >= 1.0:
        return count
    if isnan(prob) or isnan(count):
        return nan
    if mean >= 10.0:
        successes = _rejected_binomial(count, rarer, mean, deviation, odds, mode, step, uniform)
    else:
        successes = _summed_binomial(count, log_failure, uniform)
    return successes if prob <= 0.5 else count - successes


def _summed_binomial(count: float, log_failure: float, uniform: Callable[[], float]) -> float:
    total, successes = 0.0, 0
    while True:
        total += ceil(_log(uniform()) / log_failure) if log_failure else inf
        if total > count:
            return float(successes)
        successes += 1


def _rejected_binomial(
    count: float,
    prob: float,
    mean: float,
    deviation: float,
    odds: float,
    mode: float,
    step: Callable[[float], float],
    uniform: Callable[[], float],
) -> float:
    b = 1.15 + 2.53 * deviation
    a = -0.0873 + 0.0248 * b + 0.01 * prob
    c = mean + 0.5
    inside = 0.92 - 4.2 / b
    alpha = (2.83 + 5.1 / b) * deviation
    while True:
        u = uniform() - 0.5
        v = uniform()
        us = 0.5 - abs(u)
        if us == 0.0:
            continue
        k = step(floor((2.0 * a / us + b) * u + c))
        if k < 0.0 or k > count:
            continue
        if us >= 0.07 and v <= inside:
            return k
        left = _log(v * alpha / (a / (us * us) + b))
        above = step(step(count - k) + 1.0)  # failures + 1
        bound = (
            (mode + 0.5) * log((mode + 1.0) / (odds * (count - mode + 1.0)))
            + step(count + 1.0) * log((count - mode + 1.0) / above)
            + (k + 0.5) * log(odds * above / step(k + 1.0))
            + _stirling(mode)
            + _stirling(count - mode)
            - _stirling(k)
            - _stirling(count - k)
        )
        if left <= bound:
            return k


def _stirling(k: float) -> float:
    if k <= 9.0:
        return _STIRLING_TAIL[int(k)]
    square = (k + 1.0) * (k + 1.0)
    return (1.0 / 12 - (1.0 / 360 - 1.0 / 1260 / square) / square) / (k + 1.0)


def standard_gamma(alpha: np.ndarray, *, generator: CPUGenerator | None = None) -> np.ndarray:
    """Gamma numbers of scale 1 (torch._standard_gamma).

    Marsaglia and Tsang 2000, doi:10.1145/358407.358414. Shapes and dtype: those of ``alpha``;
    never below the dtype's smallest normal number.
    """
    kind = _single_or_double(alpha, "gamma_cpu")
    if (alpha < 0).any():
        raise RuntimeError("standard_gamma expects every concentration to be non-negative")
    with drawing(generator) as source, ReadAhead(source.stream) as ahead:
        drawn = [_gamma(value, kind, source, ahead) for value in alpha.astype(kind).ravel()]
    smallest = np.finfo(kind).tiny
    return _like(np.maximum(np.array(drawn, np.float64).astype(kind), smallest), alpha)


def dirichlet(alpha: np.ndarray, *, generator: CPUGenerator | None = None) -> np.ndarray:
    """Points of the simplex (torch._sample_dirichlet): gamma numbers over their sum.

    Shapes and dtype: those of ``alpha``; the last dimension sums to 1.
    """
    _single_or_double(alpha, "dirichlet")
    gammas = standard_gamma(alpha.astype(np.float64), generator=generator)
    shares = narrow(
        gammas / gammas.sum(axis=-1, keepdims=True), dtypes.from_numpy_dtype(alpha.dtype)
    )
    info = np.finfo(alpha.dtype)
    return np.clip(shares, info.tiny, np.nextafter(alpha.dtype.type(1), alpha.dtype.type(0)))


def _gamma(
    alpha: np.floating, kind: type[np.floating], source: CPUGenerator, ahead: ReadAhead
) -> float:
    scale = 1.0
    if alpha < 1.0:
        if alpha == 0.0:
            return 0.0
        scale = (1.0 - ahead.uniform()) ** float(kind(1) / alpha)
        alpha = alpha + kind(1)
    d = float(alpha - kind(_THIRD))
    c = 1.0 / sqrt(9.0 * d)
    while True:
        y = 0.0
        while not y > 0.0:
            x = _next_normal(source, ahead)
            y = 1.0 + c * x
            if isnan(y):
                return nan
        v = y * y * y
        u = 1.0 - ahead.uniform()
        square = x * x
        if u < 1.0 - _SQUEEZE * square * square:
            return scale * d * v
        if log(u) < 0.5 * square + d * (1.0 - v + log(v)):
            return scale * d * v


def _next_normal(source: CPUGenerator, ahead: ReadAhead) -> float:
    kept = source.next_double_normal
    if kept is not None:
        source.next_double_normal = None
        return kept
    first, second = ahead.uniform(), ahead.uniform()
    radius = sqrt(-2.0 * log1p(-second))
    angle = 2.0 * pi * first
    source.next_double_normal = radius * sin(angle)
    return radius * cos(angle)


def _single_or_double(values: np.ndarray, function: str) -> type[np.floating]:
    if values.dtype not in (np.float32, np.float64):
        raise NotImplementedError(
            f'"{function}" not implemented for {values.dtype}; use float32 or float64'
        )
    return values.dtype.type


def _log(value: float) -> float:
    return log(value) if value > 0.0 else -inf


def _like(drawn: list[float] | np.ndarray, model: np.ndarray) -> np.ndarray:
    values = np.asarray(drawn, dtype=np.float64).reshape(model.shape)
    return narrow(values, dtypes.from_numpy_dtype(model.dtype))
