"""Compiled kernels on disk."""


class DiskCache:
    def __init__(self, kind: str) -> None:
        self.items: dict[str, bytes] = {}

    def get(self, key: str) -> bytes | None:
        return self.items.get(key)

    def put(self, key: str, value: bytes) -> None:
        self.items[key] = value
