"""Samples of Fourier transforms and windows."""

from cases import Case, F


def _parts(m, z):
    return m.view_as_real(m.resolve_conj(z)) if hasattr(m, "resolve_conj") else m.view_as_real(z)


def _complex(m, x, y):
    return m.complex(x, y)


_NAMES = "fft ifft fft2 ifft2 fftn ifftn".split()
CASES = [
    *[
        Case(
            f"fft.{n}",
            lambda m, x, y, n=n: _parts(m, getattr(m.fft, n)(_complex(m, x, y))),
            (F(3, 6), F(3, 6)),
        )
        for n in _NAMES
    ],
    *[
        Case(f"fft.{n}", lambda m, x, n=n: _parts(m, getattr(m.fft, n)(x)), (F(3, 7),))
        for n in "rfft rfft2 rfftn fft ihfft".split()
    ],
    *[
        Case(
            f"fft.{n}.{k}",
            lambda m, x, y, n=n, k=k: getattr(m.fft, n)(_complex(m, x, y), *k),
            (F(3, 5), F(3, 5)),
            tolerance=1e-4,
        )
        for n, k in (
            ("irfft", ()),
            ("irfft", (7,)),
            ("irfft2", ()),
            ("irfftn", ()),
            ("hfft", ()),
            ("irfft", (6, -1, "ortho")),
        )
    ],
    Case("fft.n", lambda m, x: _parts(m, m.fft.fft(x, 9, 0, "forward")), (F(5, 3),)),
    Case("fft.short", lambda m, x: _parts(m, m.fft.rfft(x, 4, 0, "ortho")), (F(5, 3),)),
    Case("fft.fftfreq", lambda m, x: m.fft.fftfreq(7, 0.5) * x, (F(7),)),
    Case("fft.rfftfreq", lambda m, x: m.fft.rfftfreq(6) * x, (F(4),)),
    Case("fft.fftshift", lambda m, x: m.fft.fftshift(x) + m.fft.ifftshift(x, 1), (F(5, 4),)),
    *[
        Case(f"{n}_window", lambda m, x, n=n: getattr(m, f"{n}_window")(9) * x, (F(9),))
        for n in ("hann", "hamming", "blackman", "bartlett", "kaiser")
    ],
    Case("hann_window.symmetric", lambda m, x: m.hann_window(9, periodic=False) * x, (F(9),)),
    Case(
        "stft",
        lambda m, x: m.stft(x, 16, 4, window=m.hann_window(16), return_complex=True).abs() ** 2,
        (F(2, 64),),
        tolerance=1e-4,
    ),
    Case(
        "stft.short_window",
        lambda m, x: m.view_as_real(
            m.stft(x, 16, 5, 10, m.hann_window(10), center=False, return_complex=True)
        ),
        (F(64),),
    ),
    Case(
        "istft",
        lambda m, x: m.istft(
            m.stft(x, 16, 4, window=m.hann_window(16), return_complex=True),
            16,
            4,
            window=m.hann_window(16),
        ),
        (F(2, 64),),
        tolerance=1e-4,
    ),
]
