"""What both backends say about sources that users wrote."""

from __future__ import annotations


class Rejected(Exception):
    """A compiler rejects a text; the log is its own, with the line markers of the text."""

    def __init__(self, log: str, compiler: str) -> None:
        super().__init__(log)
        self.log = log
        self.compiler = compiler
