"""The project's own source files and what they import, read as text."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGES = ("filters", "fanout", "loadtest")


def list_modules() -> Iterator[Path]:
    """Every Python file of the packages, relative to the root."""
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            yield path.relative_to(ROOT)


def list_imports(path: Path) -> Iterator[str]:
    """Full names of what a file imports, also inside functions and for type checking."""
    for node in ast.walk(ast.parse((ROOT / path).read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            for name in node.names:
                yield name.name
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            assert node.module is not None
            for name in node.names:
                yield f"{node.module}.{name.name}"
