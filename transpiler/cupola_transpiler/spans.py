"""Where LibCST nodes lie in the text, as character offsets.

LibCST keeps no positions; they come from printing the tree and counting. Its own providers record
every node; only the few nodes that are to be rewritten are wanted here, which makes it three times
as fast.
"""

from collections.abc import Container
from contextlib import AbstractContextManager, nullcontext

import libcst as cst
from libcst._nodes.internal import CodegenState

Span = tuple[int, int]
_NOTHING = nullcontext()


class _Recorder(AbstractContextManager):
    """Notes where the node that is being printed starts and ends."""

    __slots__ = ("state", "key", "start")

    def __init__(self, state: "_CountingState", key: int):
        self.state, self.key = state, key

    def __enter__(self):
        self.start = self.state.position

    def __exit__(self, *_):
        self.state.spans[self.key] = (self.start, self.state.position)


class _CountingState(CodegenState):
    """Prints a module and counts characters; an expression's parentheses are not part of it."""

    def __init__(self, module: cst.Module, wanted: Container[int] | None):
        super().__init__(
            default_indent=module.default_indent, default_newline=module.default_newline
        )
        self.wanted = wanted
        self.spans: dict[int, Span] = {}
        self.position = 0

    def add_token(self, value: str) -> None:
        self.tokens.append(value)
        self.position += len(value)

    def add_indent_tokens(self) -> None:
        for token in self.indent_tokens:
            self.add_token(token)

    def record_syntactic_position(self, node, *, start_node=None, end_node=None):
        if self.wanted is None or id(node) in self.wanted:
            return _Recorder(self, id(node))
        return _NOTHING


def spans(module: cst.Module, text: str, wanted: Container[int] | None) -> dict[int, Span] | None:
    """Start and end of each node whose id() is in `wanted` (None: of every node that has one).

    Returns None if the tree does not print as `text`: then no offset can be trusted.
    """
    state = _CountingState(module, wanted)
    module._codegen(state)
    # LibCST forgets the last line end after a comment that ends in a backslash; what is before it
    # lies where it should, and the text itself is never printed from the tree.
    return state.spans if "".join(state.tokens).rstrip() == text.rstrip() else None
