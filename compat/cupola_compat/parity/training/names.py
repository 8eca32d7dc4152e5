"""Names for the parameters that an optimizer holds, from the modules that a script built."""

from __future__ import annotations

import weakref
from typing import Any

# Wrappers that one side may have and the other not; the layers below them have the same names.
WRAPPERS = ("module.", "_orig_mod.")


class Modules:
    """Remembers every module that is built, so that parameters can be named."""

    def __init__(self, base: type):
        self.made: list[weakref.ref] = []
        initialize, made = base.__init__, self.made

        def observed(module: Any, *args: Any, **kwargs: Any) -> None:
            made.append(weakref.ref(module))
            initialize(module, *args, **kwargs)

        base.__init__ = observed  # type: ignore[method-assign]

    def _roots(self) -> list[tuple[str, Any]]:
        """Modules with parameters that are in no other one, in the order in which they were built,
        each with the name of its class, numbered where several have the same.
        """
        alive = {id(m): m for m in (made() for made in self.made) if m is not None}
        inner = {id(child) for m in alive.values() for child in m.children()}
        roots, seen = [], {}
        for key, module in alive.items():
            if key not in inner and next(module.parameters(), None) is not None:
                kind = type(module).__name__
                seen[kind] = seen.get(kind, 0) + 1
                roots.append((kind if seen[kind] == 1 else f"{kind}#{seen[kind]}", module))
        return roots

    def names(self) -> dict[int, str]:
        """Names of all modules in those with parameters, by identity; the outermost has the name
        of its class.
        """
        roots = self._roots()
        found: dict[int, str] = {}
        for kind, root in roots:
            for name, module in root.named_modules():
                for wrapper in WRAPPERS:
                    name = name.removeprefix(wrapper)
                full = f"{kind}.{name}" if name and len(roots) > 1 else name or kind
                found.setdefault(id(module), full)
        return found

    def of(self, optimizer: Any) -> list[tuple[str, Any]]:
        """The optimizer's parameters with their names, in its own order.

        A name is the dotted name within the outermost module, after that module's class if the
        script has several; a parameter of no module is named by its place in the optimizer.
        """
        roots = self._roots()
        known: dict[int, str] = {}
        for kind, module in roots:
            for name, parameter in module.named_parameters():
                for wrapper in WRAPPERS:
                    name = name.removeprefix(wrapper)
                known.setdefault(id(parameter), f"{kind}.{name}" if len(roots) > 1 else name)
        return [
            (known.get(id(parameter), f"group {g}, parameter {p}"), parameter)
            for g, group in enumerate(optimizer.param_groups)
            for p, parameter in enumerate(group["params"])
        ]
