"""JSON with the places of its strings, so that one can be replaced and all else stays."""

import json
import json.decoder
import json.scanner
from typing import Any


class Placed(str):
    """A string value; start and end are those of its characters between the quotes."""

    start: int
    end: int


def read(text: str) -> Any:
    """The value of a JSON text, in which every string value is a Placed.

    Raises ValueError if it is not JSON.
    """
    decoder = json.JSONDecoder()

    def parse_string(source: str, at: int, strict: bool = True) -> tuple[Placed, int]:
        value, end = json.decoder.scanstring(source, at, strict)
        placed = Placed(value)
        placed.start, placed.end = at, end - 1
        return placed, end

    decoder.parse_string = parse_string  # type: ignore[method-assign]
    decoder.scan_once = json.scanner.py_make_scanner(decoder)  # type: ignore[attr-defined]
    return decoder.decode(text)


def places(text: str, value: Placed) -> tuple[list[int], list[int]]:
    """Start and end in the text of each character of a string."""
    starts, ends, at = [], [], value.start
    while at < value.end:
        length = 1
        if text[at] == "\\":
            length = 6 if text[at + 1] == "u" else 2
            high = length == 6 and text[at + 2 : at + 4].lower() in ("d8", "d9", "da", "db")
            if high and text[at + 6 : at + 9].lower() in ("\\ud",):
                length = 12
        starts.append(at)
        ends.append(at + length)
        at += length
    return starts, ends


def escaped(text: str) -> str:
    """A text as it is written between the quotes of a JSON string."""
    return json.dumps(text, ensure_ascii=False)[1:-1]
