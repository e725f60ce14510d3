"""Do something as soon as a library is imported, and not before.

``import sunalign`` gives maps and cubes a method, but need not be what makes a program wait for maps and cubes: listing
plugins or undoing a correction does without either. The standard library has no such hook; this is the part of the
import system that there is (:pep:`451`), for one call.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable, Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

__all__ = ["when_imported"]


def when_imported(names: Sequence[str], call: Callable[[], Any]) -> None:
    """Call once, when the first of some modules has been imported; now, if one has been.

    Parameters
    ----------
    names : sequence of `str`
        Full names of modules, such as ``"sunpy.map"``.
    call : callable
        Takes nothing.
    """
    if any(name in sys.modules for name in names):
        call()
    else:
        sys.meta_path.insert(0, _Watch(tuple(names), call))


class _Watch(MetaPathFinder):
    """Finds nothing itself: has the import system's other finders do so, and listens."""

    def __init__(self, names: tuple[str, ...], call: Callable[[], Any]) -> None:
        self.names, self.call = names, call
        self.asking: set[str] = set()

    def find_spec(self, name: str, path: Any, target: ModuleType | None = None) -> ModuleSpec | None:
        if name not in self.names or name in self.asking:
            return None
        self.asking.add(name)
        try:
            spec = importlib.util.find_spec(name)
        finally:
            self.asking.discard(name)
        loader = None if spec is None else spec.loader
        if loader is None:  # Not installed, or a namespace without code.
            return spec
        execute = loader.exec_module

        def exec_module(module: ModuleType) -> None:
            # Nothing is left there; and of two that watch the same module the inner one finds nothing to remove.
            vars(loader).pop("exec_module", None)
            execute(module)
            if self in sys.meta_path:
                sys.meta_path.remove(self)
                self.call()

        # Whoever only asks where a module is does not come to this.
        loader.exec_module = exec_module  # type: ignore[method-assign]
        return spec
