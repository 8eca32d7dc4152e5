"""One file, resolved: what every name in it stands for. This is what the rules look at."""

import re
from collections.abc import Iterator
from functools import cached_property

import libcst as cst

from cupola_transpiler.annotations import comment_uses, has_type_comment, string_uses
from cupola_transpiler.layout import Local
from cupola_transpiler.link import Facts, Followed, Link, Target
from cupola_transpiler.scope import Anchor, Binding, Scope, Use, Variable
from cupola_transpiler.spans import Span, spans
from cupola_transpiler.syntax import argument, dotted_name, string_value
from cupola_transpiler.table import Table
from cupola_transpiler.walk import walk

WORD = "torch"  # every converted package has it in its name
# Calls that return the module whose name they are given; __import__ returns its first part.
IMPORTERS = frozenset({"importlib.import_module", "pytest.importorskip", "__import__"})
_TYPING = ("typing.", "typing_extensions.", "collections.abc.")
_BUILTIN_GENERICS = frozenset("list dict tuple set frozenset type".split())
_IGNORE = re.compile(r"#[ \t]*cupola:[ \t]*ignore(?:\[([\w\-, ]*)\])?")
_CANNOT_RENAME = frozenset({"param", "def", "class"})


class Module:
    """The names of one file. `qualify` is the question that rules ask."""

    def __init__(self, path: str, text: str, tree: cst.Module, table: Table, link: Link):
        self.path, self.text, self.tree, self.table, self.link = path, text, tree, table, link
        self.layout = link.layout
        self.walk = walk(tree, WORD)
        self.needs: set[Local] = set()
        self.by_node: dict[int, Use] = {}
        self._targets: dict[int, Target] = {}
        self._collect()

    # building

    def _collect(self) -> None:
        for scope in self.walk.scopes:
            for binding in scope.bindings:
                owner = scope.owner(binding.name) or scope
                variable = owner.variables.setdefault(binding.name, Variable(binding.name, owner))
                variable.bindings.append(binding)
        for scope in self.walk.scopes:
            for names in (scope.global_names, scope.nonlocal_names):
                for name, anchors in names.items():
                    owner = scope.owner(name)
                    if owner is not None and name in owner.variables:
                        owner.variables[name].declarations += anchors
        self.free: list[Use] = []
        self.uses: list[Use] = []
        for use in self.walk.uses:
            self.add_use(use)
        for scope, node, guard in self.walk.type_strings:
            if guard is None or self._is_typing(guard, scope):
                for use in string_uses(scope, node):
                    self.add_use(use)
        self._typed_calls()
        if has_type_comment(self.text, WORD):
            for use in comment_uses(self.text, WORD, self.walk.scopes, self.all_spans):
                self.add_use(use)

    def add_use(self, use: Use) -> None:
        """Takes in a use and finds its variable."""
        owner = use.scope.owner(use.chain[0], use.before_class_binding)
        use.variable = owner.variables.get(use.chain[0]) if owner is not None else None
        self.uses.append(use)
        if use.node is not None:
            self.by_node[id(use.node)] = use
        (use.variable.uses if use.variable is not None else self.free).append(use)

    def _is_typing(self, node: cst.CSTNode, scope: Scope) -> bool:
        name = self.qualname(node)
        return name is not None and (name.startswith(_TYPING) or name in _BUILTIN_GENERICS)

    def _typed_calls(self) -> None:
        """cast("torch.Tensor", x), TypeVar("T", bound="torch.Tensor"): strings that are types."""
        for scope, call in self.walk.calls:
            name = self.qualname(call.func) or ""
            if not name.startswith(_TYPING):
                continue
            kind = name.rpartition(".")[2]
            if kind == "cast":
                args = call.args[:1]
            elif kind in ("TypeVar", "NewType"):
                args = call.args[1:]
            else:
                continue
            for arg in args:
                if isinstance(arg.value, cst.SimpleString):
                    for use in string_uses(scope, arg.value):
                        self.add_use(use)

    @cached_property
    def all_spans(self) -> dict[int, Span]:
        """The place of every node (slow: only for files with type comments or ignore marks)."""
        return spans(self.tree, self.text, None) or {}

    # resolving

    def qualname(self, node: cst.CSTNode) -> str | None:
        """The dotted name that an expression stands for; builtins by their bare name."""
        use = self.by_node.get(id(node))
        return self.qualify(use) if use is not None else None

    def qualify(self, use: Use) -> str | None:
        """The dotted name that a use stands for: `F.relu` is `torch.nn.functional.relu`."""
        target = self.follow(use).target
        if use.variable is None and target is None:
            return use.chain[0] if len(use.chain) == 1 else None
        return target if isinstance(target, str) else None

    def follow(self, use: Use) -> Followed:
        """The target of a use, and which parts of its chain other files' conversion renames."""
        if use.followed is None:
            use.followed = self._follow_use(use)
        return use.followed

    def _follow_use(self, use: Use) -> Followed:
        rest = use.chain[1:]
        if use.variable is None:
            return self._follow_star(use)
        target = self.target(use.variable)
        if isinstance(target, str):
            return Followed(".".join((target, *rest)), {})
        if target is None:
            return Followed(None, {})
        followed = self.follow_local(Local(target.path, (*target.attributes, *rest)))
        shift = len(target.attributes)
        return Followed(
            followed.target, {i - shift + 1: n for i, n in followed.renamed.items() if i >= shift}
        )

    def follow_local(self, local: Local) -> Followed:
        """Follows attributes of a module of the tree, and notes that this file depends on it."""
        followed = self.link.follow(local)
        if followed.target is None:
            self.needs.add(local)
        return followed

    def _follow_star(self, use: Use) -> Followed:
        for star in reversed(self.stars):
            followed = self.follow_local(Local(star, use.chain))
            if followed.target is not None:
                return followed
        for package in reversed(self.stars_outside):
            if f"{package}.{use.chain[0]}" in self.table.rows:
                return Followed(".".join((package, *use.chain)), {})
        return Followed(None, {})

    @cached_property
    def stars(self) -> tuple[str, ...]:
        """Modules of the tree that are star-imported."""
        found = []
        for record in self.walk.imports:
            if isinstance(record.node, cst.ImportStar):
                local = self.source(record.statement)
                if isinstance(local, Local):
                    found.append(local.path)
        return tuple(found)

    @cached_property
    def stars_outside(self) -> tuple[str, ...]:
        """Modules outside the tree that are star-imported."""
        found = []
        for record in self.walk.imports:
            if isinstance(record.node, cst.ImportStar):
                outside = self.source(record.statement)
                if isinstance(outside, str):
                    found.append(outside)
        return tuple(found)

    def source(self, statement: cst.CSTNode) -> Target:
        """The module of a `from` import."""
        assert isinstance(statement, cst.ImportFrom)
        name = dotted_name(statement.module) if statement.module is not None else ""
        return self.module_target(name, len(statement.relative))

    def module_target(self, name: str, level: int = 0) -> Target:
        """What a module name means in this file: a module of the tree, or a dotted name."""
        root = self.table.root(name) if not level else None
        if root is not None and not self.layout.owns(root):
            return name
        local = self.layout.resolve(name, level, self.path)
        return local if local is not None else (name if not level else None)

    def target(self, variable: Variable) -> Target:
        """The one thing that a variable stands for, None where that is not certain."""
        key = id(variable)
        if key not in self._targets:
            self._targets[key] = None
            self._targets[key] = self._variable_target(variable)
        return self._targets[key]

    def _variable_target(self, variable: Variable) -> Target:
        if variable.name in self.table.roots and self._holds(variable):
            return variable.name
        found: set[Target] = set()
        unknown = imported = False
        for binding in variable.bindings:
            target = self.binding_target(binding)
            if target is not None:
                found.add(target)
                imported = imported or binding.kind in ("import", "from")
            elif binding.kind not in ("del",) and not _is_none(binding.value):
                unknown = True
        if len(found) == 1 and (imported or not unknown):
            return found.pop()
        return None

    def binding_target(self, binding: Binding) -> Target:
        """What one binding gives its variable."""
        if binding.kind == "import":
            assert binding.target is not None
            return self.module_target(binding.target)
        if binding.kind == "from":
            alias = binding.node
            assert isinstance(alias, cst.ImportAlias)
            source = self.source(binding.statement)  # type: ignore[arg-type]
            name = dotted_name(alias.name)
            if isinstance(source, Local):
                local = Local(source.path, (*source.attributes, name))
                followed = self.follow_local(local)
                return followed.target if followed.target is not None else local
            return f"{source}.{name}" if source is not None else None
        if binding.kind == "assign" and binding.value is not None:
            if isinstance(binding.value, cst.Call):
                return self.imported_by(binding.value)
            use = self.by_node.get(id(binding.value))
            if use is not None and use.variable is not None:
                return self.follow(use).target
        return None

    def imported_by(self, call: cst.Call) -> Target:
        """The module that `importlib.import_module("...")` and its like return."""
        if self.qualname(call.func) not in IMPORTERS:
            return None
        arg = argument(call, 0)
        name = string_value(arg.value) if arg is not None else None
        if not name or name.startswith("."):
            return None
        if self.qualname(call.func) == "__import__":
            name = name.partition(".")[0]
        return self.module_target(name)

    # renaming

    @cached_property
    def ignored(self) -> dict[int, frozenset[str] | None]:
        """Lines with `# cupola: ignore`, with the rules named there (None: every rule)."""
        if "cupola:" not in self.text:
            return {}
        found: dict[int, frozenset[str] | None] = {}
        for number, line in enumerate(self.text.splitlines(), 1):
            match = _IGNORE.search(line)
            if match is not None:
                names = frozenset(n.strip() for n in (match[1] or "").split(",") if n.strip())
                found[number] = names or None
        return found

    def is_ignored(self, anchor: Anchor, rule: str) -> bool:
        """Whether the line of a place asks to be left as it is."""
        if not self.ignored:
            return False
        at = anchor.start
        if anchor.node is not None:
            span = self.all_spans.get(id(anchor.node))
            if span is None:
                return False
            at += span[0]
        rules = self.ignored.get(self.text.count("\n", 0, at) + 1, frozenset())
        return rules is None or rule in rules

    @cached_property
    def can_rename(self) -> bool:
        """Whether variables may be renamed: not if code in strings could name them."""
        new = set(self.table.roots.values())
        for scope in self.walk.scopes:
            for name, variable in scope.variables.items():
                if name in new and any(self.binding_target(b) != name for b in variable.bindings):
                    return False
        for _, call in self.walk.calls:
            if self.qualname(call.func) in ("eval", "exec"):
                arg = argument(call, 0)
                literal = string_value(arg.value) if arg is not None else None
                if literal is None or WORD in literal:
                    return False
            if isinstance(call.func, cst.Attribute) and self._is_namespace(call.func.value):
                return False  # globals().get("torch")
        return not any(
            self._is_namespace(node)
            for node in (
                *(subscript.value for _, subscript in self.walk.subscripts),
                *(c.comparator for _, test in self.walk.comparisons for c in test.comparisons),
            )
        )

    def _is_namespace(self, node: cst.CSTNode) -> bool:
        """Whether an expression is a dict of variables, in which a string may name one."""
        if not isinstance(node, cst.Call):
            return False
        return self.qualname(node.func) in ("globals", "locals", "vars")

    def new_name(self, variable: Variable | None) -> str | None:
        """The new name of a variable that holds a converted package under its own name."""
        if variable is None:
            return None
        new = self.table.roots.get(variable.name)
        if new is None or "." in new or not self._holds(variable):
            return None
        return new if self._renameable(variable) else None

    def _holds(self, variable: Variable) -> bool:
        """Whether some binding of the variable is the package of its name."""
        return any(self.binding_target(b) == variable.name for b in variable.bindings)

    def _renameable(self, variable: Variable) -> bool:
        if not self.can_rename or variable.scope.kind == "class":
            return False
        for binding in variable.bindings:
            if binding.kind in _CANNOT_RENAME or (binding.kind == "import" and binding.aliased):
                return False
        return not self.ignored or not any(
            self.is_ignored(anchor, rule) for anchor, rule in _places_of(variable)
        )

    @cached_property
    def public_strings(self) -> list[cst.SimpleString]:
        """The strings of `__all__`, as far as they are written out."""
        variable = self.walk.root.variables.get("__all__")
        found: list[cst.SimpleString] = []
        for binding in variable.bindings if variable is not None else ():
            if isinstance(binding.value, (cst.List, cst.Tuple)):
                items = (e.value for e in binding.value.elements)
                found += [i for i in items if isinstance(i, cst.SimpleString)]
        return found

    def facts(self) -> Facts:
        """What other files may need to know of this one."""
        names: dict[str, Target] = {}  # of other packages, those that are what they are called
        renamed: dict[str, str] = {}
        roots = self.table.roots
        for name, variable in self.walk.root.variables.items():
            target = self.target(variable)
            if isinstance(target, str) and self.table.root(target) is None and target != name:
                target = None
            names[name] = target
            new = roots.get(name)
            if new is not None and "." not in new and self._renameable(variable):
                renamed[name] = new
        public = None
        if "__all__" in self.walk.root.variables:
            known = (string_value(node) for node in self.public_strings)
            public = frozenset(name for name in known if name is not None) or None
        return Facts(names, renamed, public, self.stars, frozenset(self._hands()))

    def _hands(self) -> Iterator[Local]:
        """Functions of other files that get the name of a converted module in a string."""
        for _, call in self.walk.calls:
            names = (string_value(arg.value) or "" for arg in call.args)
            use = self.by_node.get(id(call.func))
            if use is None or not any(map(self.table.root, names)):
                continue
            if use.variable is None:
                yield from (Local(star, use.chain) for star in self.stars)
            elif isinstance(target := self.target(use.variable), Local):
                yield Local(target.path, (*target.attributes, *use.chain[1:]))


def _places_of(variable: Variable) -> Iterator[tuple[Anchor, str]]:
    """Every place that renaming a variable would rewrite, with the rule that would do it."""
    for binding in variable.bindings:
        yield Anchor(binding.node), "import-module"
        if binding.anchor is not None:
            yield binding.anchor, "module-name"
    for use in variable.uses:
        yield use.anchors[0], "module-name"


def _is_none(node: cst.CSTNode | None) -> bool:
    return isinstance(node, cst.Name) and node.value == "None"
