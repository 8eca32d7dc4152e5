"""The inspection API."""

from __future__ import annotations

from typing import Any

from cupola import dtypes
from cupola.array_api.data_types import KINDS
from cupola.dtypes import dtype
from cupola.ir.device import device as Device
from cupola.ir.device import resolve


class NamespaceInfo:
    """What ``__array_namespace_info__()`` returns."""

    def capabilities(self) -> dict[str, Any]:
        """What the standard leaves open and this library has."""
        return {"boolean indexing": True, "data-dependent shapes": True, "max dimensions": 64}

    def default_device(self) -> Device:
        """Where new arrays are made."""
        return resolve(None)

    def default_dtypes(self, *, device: Any = None) -> dict[str, dtype]:
        """The dtypes of new arrays, by kind."""
        real = dtypes.get_default_dtype()
        return {
            "real floating": real,
            "complex floating": real.to_complex(),
            "integral": dtypes.int64,
            "indexing": dtypes.int64,
        }

    def dtypes(self, *, device: Any = None, kind: Any = None) -> dict[str, dtype]:
        """The dtypes of a kind, or of a tuple of kinds, by name; all by default.

        Raises:
            ValueError: an unknown kind.
        """
        if kind is None:
            return {**KINDS["bool"], **KINDS["numeric"]}
        found: dict[str, dtype] = {}
        for k in kind if isinstance(kind, tuple) else (kind,):
            if k not in KINDS:
                raise ValueError(f"dtypes: unknown kind {k!r}; kinds are {', '.join(KINDS)}")
            found.update(KINDS[k])
        return found

    def devices(self) -> list[Device]:
        """The devices that arrays can live on."""
        return [Device("cpu"), *(Device("cuda", k) for k in range(_gpus()))]


def _gpus() -> int:
    from cupola.cuda import device_count

    return int(device_count())


def __array_namespace_info__() -> NamespaceInfo:  # noqa: N807
    """Capabilities, devices and dtypes of this namespace."""
    return NamespaceInfo()


__all__ = ["NamespaceInfo", "__array_namespace_info__"]
