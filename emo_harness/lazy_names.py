"""Lazy names: what a package offers, imported from its modules when it is first asked for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any


def lazy_names(package: str, module_of: Mapping[str, str]) -> Callable[[str], Any]:
    """A package's `__getattr__`, so that importing the package imports none of its modules.

    Args:
        package: its `__name__`.
        module_of: by name the module below the package that has it. A name that is a module's too
            cannot be among them: importing the module would replace it.
    """

    def get(name: str) -> Any:
        if name not in module_of:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return getattr(import_module(f"{package}.{module_of[name]}"), name)

    return get
