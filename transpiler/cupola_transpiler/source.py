"""Bytes of a Python file to text and back: byte order mark, coding cookie, line ends."""

import codecs
import io
import tokenize
from dataclasses import dataclass


class SourceError(ValueError):
    """The bytes cannot be read as Python source; the message says why."""


@dataclass(frozen=True, slots=True)
class Source:
    """The decoded text of one file and what is needed to write it back as it was."""

    text: str
    encoding: str
    mark: bytes

    def encode(self, text: str) -> bytes:
        """The bytes of `text` in this file's encoding; SourceError if that cannot hold it."""
        try:
            return self.mark + text.encode(self.encoding)
        except UnicodeEncodeError as error:
            raise SourceError(
                f"the result cannot be written as {self.encoding}: {error}"
            ) from error


def decode(data: bytes) -> Source:
    """Decodes by byte order mark and coding cookie (PEP 263), keeping every line end as it is.

    Raises SourceError if the bytes are not what the cookie says, or would not come back unchanged.
    """
    mark = codecs.BOM_UTF8 if data.startswith(codecs.BOM_UTF8) else b""
    try:
        encoding, _ = tokenize.detect_encoding(io.BytesIO(data).readline)
        encoding = "utf-8" if mark else encoding
        text = data[len(mark) :].decode(encoding)
    except (SyntaxError, UnicodeDecodeError, LookupError) as error:
        raise SourceError(f"cannot be decoded: {error}") from error
    if "\0" in text:
        raise SourceError("holds NUL characters, so it is not Python source")
    source = Source(text, encoding, mark)
    if source.encode(text) != data:
        raise SourceError(f"would not come back byte for byte when written as {encoding}")
    return source
