"""Scopes, variables, bindings and uses: what the walk over one file writes down."""

from dataclasses import dataclass, field
from typing import Any, NamedTuple

import libcst as cst


class Anchor(NamedTuple):
    """A place in the text: a node or characters start:end of it; without one, of the file."""

    node: cst.CSTNode | None
    start: int = 0
    end: int | None = None


@dataclass(slots=True, eq=False)
class Binding:
    """One place where a variable gets its value.

    kind: import, from, assign, del, param, def, class, or other (loops, with, except, match, ...).
    target: the dotted name an import or a dynamic import stands for; a value decides otherwise.
    """

    kind: str
    name: str
    anchor: Anchor | None
    node: cst.CSTNode
    target: str | None = None
    value: cst.BaseExpression | None = None
    statement: cst.CSTNode | None = None
    aliased: bool = False


@dataclass(slots=True, eq=False)
class Use:
    """A name that is read, with the attributes that follow it (`torch.nn.Linear`).

    chain: its parts, (torch, nn, Linear); anchors: one place for each of them.
    """

    scope: "Scope"
    chain: tuple[str, ...]
    anchors: tuple[Anchor, ...]
    node: cst.CSTNode | None
    before_class_binding: bool = False
    variable: "Variable | None" = None
    followed: Any = None  # what it stands for, once asked (a link.Followed)


@dataclass(slots=True, eq=False)
class Variable:
    """A name in the scope that owns it."""

    name: str
    scope: "Scope"
    bindings: list[Binding] = field(default_factory=list)
    uses: list[Use] = field(default_factory=list)
    declarations: list[Anchor] = field(default_factory=list)  # in `global` and `nonlocal`


@dataclass(slots=True, eq=False)
class Scope:
    """A module, function, class, lambda, comprehension or type-parameter scope."""

    kind: str
    parent: "Scope | None"
    node: cst.CSTNode | None
    bindings: list[Binding] = field(default_factory=list)
    names: set[str] = field(default_factory=set)
    global_names: dict[str, list[Anchor]] = field(default_factory=dict)
    nonlocal_names: dict[str, list[Anchor]] = field(default_factory=dict)
    variables: dict[str, Variable] = field(default_factory=dict)

    @property
    def module(self) -> "Scope":
        """The module scope this one lies in."""
        scope = self
        while scope.parent is not None:
            scope = scope.parent
        return scope

    def owner(self, name: str, skip_own: bool = False) -> "Scope | None":
        """The scope whose variable `name` means here; None if no scope binds it."""
        scope: Scope | None = self
        if name in self.global_names:
            return self.module if name in self.module.names else None
        if name in self.nonlocal_names or skip_own:
            scope = self.parent
        first = scope is self
        while scope is not None:
            if (first or scope.kind != "class") and name in scope.names:
                if name in scope.global_names:
                    return scope.module
                if name not in scope.nonlocal_names:
                    return scope
            first = False
            scope = scope.parent
        return None
