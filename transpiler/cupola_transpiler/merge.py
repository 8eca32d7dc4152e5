"""Three-way merge of texts, line by line."""

from collections.abc import Sequence
from difflib import SequenceMatcher
from typing import NamedTuple


class Merged(NamedTuple):
    """A merge. conflicts: first lines (from 1, of ours) of hunks that both sides changed."""

    text: str
    conflicts: tuple[int, ...]


def merge(base: str, ours: str, theirs: str) -> Merged:
    """What both sides made of `base`; where they disagree, ours stands and is named a conflict.

    >>> merge("a\\nb\\nc\\n", "A\\nb\\nc\\n", "a\\nb\\nC\\n").text
    'A\\nb\\nC\\n'
    >>> merge("a\\n", "x\\n", "y\\n")
    Merged(text='x\\n', conflicts=(1,))
    """
    old, a, b = (text.splitlines(keepends=True) for text in (base, ours, theirs))
    out: list[str] = []
    conflicts = []
    at = [0, 0, 0]
    for start, end in [*_stable(old, a, b), (len(old), len(old))]:
        in_a, in_b = _image(old, a, start), _image(old, b, start)
        if start == end:
            in_a, in_b = len(a), len(b)
        was, one, two = old[at[0] : start], a[at[1] : in_a], b[at[2] : in_b]
        if one == two or two == was:
            out += one
        elif one == was:
            out += two
        else:
            conflicts.append(at[1] + 1)
            out += one
        out += old[start:end]
        at = [end, in_a + end - start, in_b + end - start]
    return Merged("".join(out), tuple(conflicts))


def _matches(old: Sequence[str], new: Sequence[str]) -> list[tuple[int, int, int]]:
    return [tuple(m) for m in SequenceMatcher(None, old, new, autojunk=False).get_matching_blocks()]


def _image(old: Sequence[str], new: Sequence[str], line: int) -> int:
    """Where a line of the base, that the new text has unchanged, is in it."""
    for i, j, size in _matches(old, new):
        if i <= line < i + size:
            return j + line - i
    return len(new)


def _stable(old: Sequence[str], a: Sequence[str], b: Sequence[str]) -> list[tuple[int, int]]:
    """Runs of lines of the base that both sides keep."""
    kept = [[False] * len(old) for _ in range(2)]
    jumps = [[0] * len(old) for _ in range(2)]
    for side, new in enumerate((a, b)):
        for i, j, size in _matches(old, new):
            for k in range(size):
                kept[side][i + k], jumps[side][i + k] = True, j - i
    runs: list[tuple[int, int]] = []
    for line in range(len(old)):
        if not (kept[0][line] and kept[1][line]):
            continue
        joins = (
            runs
            and runs[-1][1] == line
            and all(jumps[side][line] == jumps[side][line - 1] for side in range(2))
        )
        if joins:
            runs[-1] = (runs[-1][0], line + 1)
        else:
            runs.append((line, line + 1))
    return runs
