"""Samples of reductions and normalizations that leave elements out."""

from cases import Case, F

_REDUCTIONS = "sum prod amax amin mean var std norm logsumexp".split()


def _mask(m, x):
    return (m.arange(x.numel()) % 3 != 1).reshape(x.shape)


CASES = [
    *[
        Case(
            f"masked.{n}",
            lambda m, x, n=n: getattr(m.masked, n)(x, dim=1, mask=_mask(m, x)),
            (F(4, 6),),
        )
        for n in _REDUCTIONS
    ],
    *[
        Case(
            f"masked.{n}",
            lambda m, x, n=n: getattr(m.masked, n)(x, 1, mask=_mask(m, x)),
            (F(4, 6),),
        )
        for n in ("softmax", "softmin", "cumsum", "cumprod", "median")
    ],
    Case(
        "masked.log_softmax",
        lambda m, x: m.masked.log_softmax(x, 0, mask=_mask(m, x)[:, 0][:, None]).exp(),
        (F(4, 6),),
    ),
    Case(
        "masked.normalize", lambda m, x: m.masked.normalize(x, 2.0, 1, mask=_mask(m, x)), (F(4, 6),)
    ),
    Case(
        "masked.argmax",
        lambda m, x: (
            m.masked.argmax(x, 1, mask=_mask(m, x)),
            m.masked.argmin(x, 1, mask=_mask(m, x)),
        ),
        (F(4, 6),),
        grad=False,
    ),
    Case(
        "masked.logaddexp",
        lambda m, x, y: m.masked.logaddexp(x, y, input_mask=_mask(m, x)),
        (F(4, 6), F(4, 6)),
    ),
]
