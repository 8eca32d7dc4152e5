"""torchvision's Python face on cupola, for converted code that imports it.

What is not supported keeps its name and raises `cupola.UnsupportedError` where it is called.
"""

from cupola_compat.torchvision import _unsupported

_unsupported.install()

from cupola_compat.torchvision import (  # noqa: E402
    datasets,
    io,
    models,
    ops,
    transforms,
    tv_tensors,
    utils,
)

__version__ = "0.28.0"

__all__ = ["datasets", "io", "models", "ops", "transforms", "tv_tensors", "utils"]


def set_image_backend(backend: str) -> None:
    """Accepts "PIL", the only image backend.

    Raises:
        ValueError: any other backend.
    """
    if backend != "PIL":
        raise ValueError(f"image backend {backend!r} is not supported: use 'PIL'")


def get_image_backend() -> str:
    """Returns "PIL"."""
    return "PIL"


def disable_beta_transforms_warning() -> None:
    """Does nothing: there is no such warning."""


__getattr__ = _unsupported.module_getattr("")
