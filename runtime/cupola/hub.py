"""Files that programs fetch (torch.hub)."""

from __future__ import annotations

import os
import pathlib
import re
from typing import Any

from cupola.errors import UnsupportedError

__all__ = ["download_url_to_file", "get_dir", "load", "load_state_dict_from_url", "set_dir"]

HASH_REGEX = re.compile(r"-([a-f0-9]*)\.")
_folder: str | None = None


class _Faketqdm:
    """A progress bar that shows nothing, for where tqdm is not installed."""

    def __init__(
        self, iterable: Any = None, *args: Any, total: float | None = None, **kwargs: Any
    ) -> None:
        self.iterable, self.total, self.n = iterable, total, 0

    def __iter__(self) -> Any:
        return iter(self.iterable if self.iterable is not None else ())

    def update(self, n: float = 1) -> None:
        """Counts."""
        self.n += n

    def set_description(self, *args: Any, **kwargs: Any) -> None:
        """Does nothing."""

    set_postfix = close = write = set_description

    def __enter__(self) -> Any:
        return self

    def __exit__(self, *exc: object) -> None:
        pass


def __getattr__(name: str) -> Any:
    """``tqdm``, imported when it is asked for: that takes a while."""
    if name != "tqdm":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        from tqdm import tqdm
    except ImportError:
        return _Faketqdm
    return tqdm


def _get_torch_home() -> str:
    """TORCH_HOME, or a folder in the user's cache; torchvision and others look for it here."""
    cache = os.getenv("XDG_CACHE_HOME", "~/.cache")
    return os.path.expanduser(os.getenv("TORCH_HOME", os.path.join(cache, "torch")))


def get_dir() -> str:
    """The folder of downloads: TORCH_HOME/hub, or the user's cache."""
    return os.path.join(_get_torch_home(), "hub") if _folder is None else _folder


def set_dir(d: str | os.PathLike[str]) -> None:
    """Chooses the folder of downloads."""
    global _folder
    _folder = os.path.expanduser(d)


def download_url_to_file(
    url: str, dst: str, hash_prefix: str | None = None, progress: bool = True
) -> None:
    """Fetches a file; it appears under its name only when it is whole.

    Raises:
        RuntimeError: the SHA-256 does not start with ``hash_prefix``.
    """
    import hashlib
    import tempfile
    import urllib.request

    target = pathlib.Path(os.path.expanduser(dst))
    target.parent.mkdir(parents=True, exist_ok=True)
    digest = hashlib.sha256()
    with tempfile.NamedTemporaryFile(dir=target.parent, delete=False) as part:
        try:
            with urllib.request.urlopen(url) as response:
                while block := response.read(1 << 20):
                    part.write(block)
                    digest.update(block)
            part.close()
            found = digest.hexdigest()
            if hash_prefix and not found.startswith(hash_prefix):
                raise RuntimeError(
                    f'invalid hash value (expected "{hash_prefix}", got "{found}"): fetch it again'
                )
            os.replace(part.name, target)
        finally:
            pathlib.Path(part.name).unlink(missing_ok=True)


def load_state_dict_from_url(
    url: str,
    model_dir: str | None = None,
    map_location: Any = None,
    progress: bool = True,
    check_hash: bool = False,
    file_name: str | None = None,
    weights_only: bool = True,
) -> Any:
    """Reads a checkpoint, and fetches it if it is not there
    (torch.hub.load_state_dict_from_url).
    """
    from urllib.parse import urlparse

    from cupola.io import load as read

    folder = model_dir or os.path.join(get_dir(), "checkpoints")
    name = file_name or os.path.basename(urlparse(url).path)
    path = os.path.join(folder, name)
    if not os.path.exists(path):
        match = HASH_REGEX.search(name) if check_hash else None
        download_url_to_file(url, path, match.group(1) if match else None, progress)
    return read(path, map_location=map_location)


def load(repo_or_dir: str, model: str, *args: Any, source: str = "github", **kwargs: Any) -> Any:
    """Calls an entry point of a folder's hubconf.py; nothing is fetched.

    Raises:
        UnsupportedError: ``source`` is not "local": code that is fetched would not be converted.
    """
    if source != "local":
        raise UnsupportedError(
            "hub.load", "clone the repository, convert it, and pass source='local'"
        )
    import importlib.util
    import sys

    sys.path.insert(0, str(repo_or_dir))
    try:
        spec = importlib.util.spec_from_file_location(
            "hubconf", os.path.join(repo_or_dir, "hubconf.py")
        )
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return getattr(module, model)(*args, **kwargs)
    finally:
        sys.path.remove(str(repo_or_dir))
