"""Packages whose names are imported when they are first used (PEP 562), so that starting is cheap.

What such a package imports under `if TYPE_CHECKING` is what it offers: written once, and known to type checkers.
"""

import ast
from collections.abc import Callable
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from typing import Any


def on_demand(package: str) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """Returns the `__getattr__` and the `__dir__` of a package.

    Args:
        package: Its `__name__`. None of the names may be that of a module in it, which would take its place.
    """

    def get(name: str) -> Any:
        if name not in _homes(package):
            raise AttributeError(f"module '{package}' has no attribute '{name}'")
        return getattr(import_module(_homes(package)[name]), name)

    def names() -> list[str]:
        return sorted({*vars(import_module(package)), *_homes(package)})

    return get, names


@cache
def _homes(package: str) -> dict[str, str]:
    """Returns the module of each name that a package imports for type checkers only."""
    loader: Any = getattr(find_spec(package), "loader", None)
    checked = (block for block in ast.parse(loader.get_source(package)).body if isinstance(block, ast.If))
    imports = (node for block in checked for node in block.body if isinstance(node, ast.ImportFrom))
    return {alias.name: str(node.module) for node in imports for alias in node.names}


def late(place: str) -> Callable[..., Any]:
    """Returns a function that imports the one at `place`, such as "undertow.points.job:start", when it is called."""
    module, _, name = place.partition(":")

    def call(*arguments: Any, **named: Any) -> Any:
        return getattr(import_module(module), name)(*arguments, **named)

    return call
