"""One pass over a LibCST tree: which scope binds which name, and where each name is read.

LibCST's own ScopeProvider costs four times the parse and resolves neither star imports nor the
inside of quoted annotations; this pass visits only the fields that can hold a name, and writes
down what the rules ask for.
"""

from dataclasses import dataclass, field
from typing import NamedTuple

import libcst as cst

from cupola_transpiler.scope import Anchor, Binding, Scope, Use
from cupola_transpiler.syntax import CHILDREN, attribute_chain, dotted_name, parameter_list

# Calls that rules look at even when no argument is a literal that names a framework.
WATCHED_CALLS = frozenset(
    "import_module __import__ find_spec importorskip eval exec getattr hasattr setattr delattr"
    " cast TypeVar NewType version setup load_inline RawKernel RawModule".split()
)


class ImportRecord(NamedTuple):
    """One alias of an import statement; for a star import, `node` is the ImportStar."""

    scope: Scope
    statement: cst.Import | cst.ImportFrom
    node: cst.CSTNode
    binding: Binding | None


@dataclass
class Walk:
    """What one pass over a file found."""

    root: Scope
    scopes: list[Scope] = field(default_factory=list)
    uses: list[Use] = field(default_factory=list)
    imports: list[ImportRecord] = field(default_factory=list)
    calls: list[tuple[Scope, cst.Call]] = field(default_factory=list)
    subscripts: list[tuple[Scope, cst.Subscript]] = field(default_factory=list)
    comparisons: list[tuple[Scope, cst.Comparison]] = field(default_factory=list)
    # Strings that may be annotations: where, the string, and the generic that must be one of
    # typing's.
    type_strings: list[tuple[Scope, cst.SimpleString, cst.CSTNode | None]] = field(
        default_factory=list
    )
    strings: list[tuple[Scope, cst.SimpleString]] = field(default_factory=list)


class Walker:
    """Visits a tree; `walk(module)` is the way in."""

    def __init__(self, module: cst.Module, word: str):
        self.word = word
        self.scope = Scope("module", None, module)
        self.found = Walk(self.scope, [self.scope])
        self.annotation = False
        self.handlers = {
            kind: getattr(self, "visit_" + kind.__name__, self.generic) for kind in CHILDREN
        }

    def visit(self, node: cst.CSTNode) -> None:
        handler = self.handlers.get(type(node))
        if handler is not None:
            handler(node)

    def generic(self, node: cst.CSTNode) -> None:
        for name in CHILDREN[type(node)]:
            child = getattr(node, name)
            if isinstance(child, (list, tuple)):
                for item in child:
                    self.visit(item)
            elif child is not None:
                self.visit(child)

    # scopes and bindings

    def push(self, kind: str, node: cst.CSTNode) -> Scope:
        self.scope = Scope(kind, self.scope, node)
        self.found.scopes.append(self.scope)
        return self.scope

    def pop(self) -> None:
        assert self.scope.parent is not None
        self.scope = self.scope.parent

    def bind(
        self, kind: str, name: str, anchor: Anchor | None, node: cst.CSTNode, **more
    ) -> Binding:
        scope = self.scope.module if name in self.scope.global_names else self.scope
        binding = Binding(kind, name, anchor, node, **more)
        scope.bindings.append(binding)
        scope.names.add(name)
        return binding

    def bind_target(self, target: cst.CSTNode, kind: str = "other", value=None) -> None:
        """Binds the names of an assignment target; what a target reads (a.b, c[d]) is visited."""
        if isinstance(target, cst.Name):
            self.bind(kind, target.value, Anchor(target), target, value=value)
        elif isinstance(target, (cst.Tuple, cst.List)):
            for element in target.elements:
                self.bind_target(element.value, kind)
        elif isinstance(target, cst.StarredElement):
            self.bind_target(target.value, kind)
        else:
            self.visit(target)

    def use(self, chain, anchors, node) -> None:
        scope = self.scope
        early = scope.kind == "class" and chain[0] not in scope.names
        self.found.uses.append(Use(scope, chain, anchors, node, early))

    # names

    def visit_Name(self, node: cst.Name) -> None:
        self.use((node.value,), (Anchor(node),), node)

    def visit_Attribute(self, node: cst.Attribute) -> None:
        parts = attribute_chain(node)
        if isinstance(parts[0], cst.Name):
            self.use(tuple(p.value for p in parts), tuple(Anchor(p) for p in parts), node)
        else:
            self.visit(parts[0])

    def visit_SimpleString(self, node: cst.SimpleString) -> None:
        if self.word in node.value:
            if self.annotation:
                self.found.type_strings.append((self.scope, node, None))
            else:
                self.found.strings.append((self.scope, node))

    def visit_Expr(self, node: cst.Expr) -> None:
        if not isinstance(node.value, cst.SimpleString):  # a docstring is prose
            self.visit(node.value)

    # annotations

    def visit_annotation(self, node: cst.CSTNode) -> None:
        before, self.annotation = self.annotation, True
        self.visit(node)
        self.annotation = before

    def visit_Annotation(self, node: cst.Annotation) -> None:
        self.visit_annotation(node.annotation)

    def visit_Subscript(self, node: cst.Subscript) -> None:
        self.visit(node.value)
        parts = attribute_chain(node.value)
        generic = parts[-1].value if isinstance(parts[-1], cst.Name) else None
        before = self.annotation
        for index, element in enumerate(node.slice):
            inner = element.slice.value if isinstance(element.slice, cst.Index) else None
            if isinstance(inner, cst.SimpleString) and self.word in inner.value:
                self.found.subscripts.append((self.scope, node))
            self.annotation = (
                before and generic != "Literal" and not (generic == "Annotated" and index)
            )
            if not self.annotation and isinstance(parts[0], cst.Name) and generic != "Literal":
                self.guarded_strings(inner, node.value)
            self.visit(element.slice)
        self.annotation = before

    def guarded_strings(self, node: cst.CSTNode | None, guard: cst.CSTNode) -> None:
        """Strings that are annotations if `guard` turns out to be one of typing's generics."""
        if isinstance(node, cst.SimpleString) and self.word in node.value:
            self.found.type_strings.append((self.scope, node, guard))
        elif isinstance(node, (cst.List, cst.Tuple)):  # Callable[["a"], "b"]
            for element in node.elements:
                self.guarded_strings(element.value, guard)

    def visit_Call(self, node: cst.Call) -> None:
        self.visit(node.func)
        before, self.annotation = self.annotation, False
        last = node.func.attr if isinstance(node.func, cst.Attribute) else node.func
        named = isinstance(last, cst.Name) and last.value in WATCHED_CALLS
        for arg in node.args:
            value = arg.value
            named = named or (isinstance(value, cst.SimpleString) and self.word in value.value)
            self.visit(value)
        if named:
            self.found.calls.append((self.scope, node))
        self.annotation = before

    def visit_Comparison(self, node: cst.Comparison) -> None:
        self.generic(node)
        sides = [node.left, *(c.comparator for c in node.comparisons)]
        if any(isinstance(s, cst.SimpleString) and self.word in s.value for s in sides):
            self.found.comparisons.append((self.scope, node))

    # statements that bind

    def visit_Import(self, node: cst.Import) -> None:
        for alias in node.names:
            name = dotted_name(alias.name)
            if alias.asname is not None:
                own = alias.asname.name
                binding = self.bind(
                    "import",
                    own.value,
                    Anchor(own),
                    alias,
                    target=name,
                    statement=node,
                    aliased=True,
                )
            else:
                top = name.partition(".")[0]
                binding = self.bind("import", top, None, alias, target=top, statement=node)
            self.found.imports.append(ImportRecord(self.scope, node, alias, binding))

    visit_LazyImport = visit_Import

    def visit_ImportFrom(self, node: cst.ImportFrom) -> None:
        if isinstance(node.names, cst.ImportStar):
            self.found.imports.append(ImportRecord(self.scope, node, node.names, None))
            return
        for alias in node.names:
            own = alias.asname.name if alias.asname is not None else alias.name
            binding = self.bind(
                "from", own.value, Anchor(own), alias, statement=node,
                aliased=alias.asname is not None,
            )  # fmt: skip
            self.found.imports.append(ImportRecord(self.scope, node, alias, binding))

    visit_LazyImportFrom = visit_ImportFrom

    def visit_Assign(self, node: cst.Assign) -> None:
        self.visit(node.value)
        for target in node.targets:
            self.bind_target(target.target, "assign", node.value)

    def visit_AnnAssign(self, node: cst.AnnAssign) -> None:
        self.visit(node.annotation)
        kind = attribute_chain(node.annotation.annotation)[-1]
        if node.value is not None:
            is_alias = isinstance(kind, cst.Name) and kind.value == "TypeAlias"
            (self.visit_annotation if is_alias else self.visit)(node.value)
        self.bind_target(node.target, "assign", node.value)

    def visit_AugAssign(self, node: cst.AugAssign) -> None:
        self.visit(node.value)
        self.visit(node.target)
        if isinstance(node.target, cst.Name):
            value = node.value
            self.bind("assign", node.target.value, Anchor(node.target), node.target, value=value)

    def visit_NamedExpr(self, node: cst.NamedExpr) -> None:
        self.visit(node.value)
        inner = self.scope
        while self.scope.kind == "comprehension" and self.scope.parent is not None:
            self.scope = self.scope.parent
        self.bind_target(node.target, "assign", node.value)
        self.scope = inner

    def visit_Del(self, node: cst.Del) -> None:
        self.bind_target(node.target, "del")

    def visit_For(self, node: cst.For) -> None:
        self.visit(node.iter)
        self.bind_target(node.target)
        self.visit(node.body)
        if node.orelse is not None:
            self.visit(node.orelse)

    def visit_AsName(self, node: cst.AsName) -> None:
        self.bind_target(node.name)

    def visit_MatchAs(self, node: cst.MatchAs) -> None:
        if node.pattern is not None:
            self.visit(node.pattern)
        if node.name is not None:
            self.bind_target(node.name)

    def visit_MatchStar(self, node: cst.MatchStar) -> None:
        if node.name is not None:
            self.bind_target(node.name)

    def visit_MatchMapping(self, node: cst.MatchMapping) -> None:
        for element in node.elements:
            self.visit(element)
        if node.rest is not None:
            self.bind_target(node.rest)

    def visit_MatchKeywordElement(self, node: cst.MatchKeywordElement) -> None:
        self.visit(node.pattern)

    def visit_Global(self, node: cst.Global) -> None:
        for item in node.names:
            if self.scope.kind != "module":
                self.scope.global_names.setdefault(item.name.value, []).append(Anchor(item.name))

    def visit_Nonlocal(self, node: cst.Nonlocal) -> None:
        for item in node.names:
            self.scope.nonlocal_names.setdefault(item.name.value, []).append(Anchor(item.name))

    # nested scopes

    def type_parameters(self, node) -> bool:
        if node.type_parameters is None:
            return False
        self.push("typeparams", node)
        for item in node.type_parameters.params:
            self.bind_target(item.param.name)
            if getattr(item.param, "bound", None) is not None:
                self.visit_annotation(item.param.bound)
            if item.default is not None:
                self.visit_annotation(item.default)
        return True

    def visit_TypeAlias(self, node: cst.TypeAlias) -> None:
        self.bind_target(node.name)
        generic = self.type_parameters(node)
        self.visit_annotation(node.value)
        if generic:
            self.pop()

    def visit_FunctionDef(self, node: cst.FunctionDef) -> None:
        for decorator in node.decorators:
            self.visit(decorator.decorator)
        self.bind("def", node.name.value, Anchor(node.name), node)
        generic = self.type_parameters(node)
        params = parameter_list(node.params)
        self.defaults(params)
        if node.returns is not None:
            self.visit(node.returns)
        self.push("function", node)
        for param in params:
            self.bind("param", param.name.value, Anchor(param.name), param)
        self.visit(node.body)
        self.pop()
        if generic:
            self.pop()

    def visit_Lambda(self, node: cst.Lambda) -> None:
        params = parameter_list(node.params)
        self.defaults(params)
        self.push("function", node)
        for param in params:
            self.bind("param", param.name.value, Anchor(param.name), param)
        self.visit(node.body)
        self.pop()

    def defaults(self, params: list[cst.Param]) -> None:
        for param in params:
            if param.annotation is not None:
                self.visit(param.annotation)
            if param.default is not None:
                self.visit(param.default)

    def visit_ClassDef(self, node: cst.ClassDef) -> None:
        for decorator in node.decorators:
            self.visit(decorator.decorator)
        generic = self.type_parameters(node)
        for arg in (*node.bases, *node.keywords):
            self.visit(arg.value)
        self.push("class", node)
        self.visit(node.body)
        self.pop()
        if generic:
            self.pop()
        self.bind("class", node.name.value, Anchor(node.name), node)

    def comprehension(self, node: cst.CSTNode, results: tuple[cst.CSTNode, ...]) -> None:
        clause = node.for_in
        self.visit(clause.iter)
        self.push("comprehension", node)
        while clause is not None:
            self.bind_target(clause.target)
            for test in clause.ifs:
                self.visit(test.test)
            clause = clause.inner_for_in
            if clause is not None:
                self.visit(clause.iter)
        for result in results:
            self.visit(result)
        self.pop()

    def visit_ListComp(self, node) -> None:
        self.comprehension(node, (node.elt,))

    visit_SetComp = visit_GeneratorExp = visit_ListComp

    def visit_DictComp(self, node: cst.DictComp) -> None:
        self.comprehension(node, (node.key, node.value))


def walk(module: cst.Module, word: str = "torch") -> Walk:
    """Scopes, bindings and uses of a module; only strings that hold `word` are noted."""
    walker = Walker(module, word)
    for statement in module.body:
        walker.visit(statement)
    return walker.found
