"""Small facts about LibCST nodes: which fields can hold a name, and what a dotted name says."""

import dataclasses

import libcst as cst

# Fields that hold punctuation and whitespace: never a name.
_NOT_CODE = (
    "whitespace lpar rpar lbracket rbracket lbrace rbrace comma semicolon colon header footer"
    " leading_lines lines_after dot equal operator trailing_ leading_ indent newline comment"
    " first_colon second_colon asynchronous separator posonly_ind encoding default_"
    " has_trailing conversion"
).split()


def _children(kind: type) -> tuple[str, ...]:
    return tuple(
        f.name
        for f in dataclasses.fields(kind)
        if not f.name.startswith("_") and not any(f.name.startswith(word) for word in _NOT_CODE)
    )


_LEAVES = (
    cst.Integer, cst.Float, cst.Imaginary, cst.Ellipsis, cst.Pass, cst.Break, cst.Continue,
    cst.FormattedStringText, cst.MatchSingleton, cst.Comma, cst.Comment, cst.SimpleWhitespace,
    cst.ParenthesizedWhitespace, cst.Newline, cst.NotEqual,
)  # fmt: skip

# For each node class that can hold names, the fields to visit.
CHILDREN: dict[type, tuple[str, ...]] = {
    kind: _children(kind)
    for kind in vars(cst).values()
    if isinstance(kind, type)
    and issubclass(kind, cst.CSTNode)
    and dataclasses.is_dataclass(kind)
    and _children(kind)
    and not issubclass(kind, _LEAVES)
}


def attribute_chain(node: cst.CSTNode) -> list[cst.CSTNode]:
    """The parts of a dotted expression, outermost last; the first is whatever the dots hang on."""
    parts = []
    while isinstance(node, cst.Attribute):
        parts.append(node.attr)
        node = node.value
    parts.append(node)
    return parts[::-1]


def dotted_name(node: cst.CSTNode) -> str:
    """`a.b.c` for the name of an import."""
    return ".".join(part.value for part in attribute_chain(node))


def parameter_list(params: cst.Parameters) -> list[cst.Param]:
    """Every parameter, `*args` and `**kwargs` among them."""
    stars = [p for p in (params.star_arg, params.star_kwarg) if isinstance(p, cst.Param)]
    return [*params.posonly_params, *params.params, *params.kwonly_params, *stars]


def string_value(node: cst.CSTNode | None) -> str | None:
    """The value of a plain string literal (not bytes, not an f-string), else None."""
    if isinstance(node, (cst.SimpleString, cst.ConcatenatedString)):
        value = node.evaluated_value
        return value if isinstance(value, str) else None
    return None


def literal_offset(node: cst.SimpleString) -> int | None:
    """How many characters precede the contents of a literal; None if its contents are escaped."""
    if node.raw_value != node.evaluated_value:
        return None
    return len(node.prefix) + len(node.quote)


def argument(call: cst.Call, position: int, keyword: str | None = None) -> cst.Arg | None:
    """The argument at a position or with a keyword; None if missing or behind a star."""
    for index, arg in enumerate(call.args):
        if arg.star:
            return None
        if arg.keyword is not None:
            if keyword is not None and arg.keyword.value == keyword:
                return arg
        elif index == position:
            return arg
    return None
