"""Tests mirror the tree: every source file has its test file."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.structure.sources import ROOT, list_modules

# Programs, tested as such, and what holds nothing that runs.
WITHOUT = {
    Path("fanout/__main__.py"): "one line; tests/system starts it",
    Path("fanout/resolvers/data_sources.py"): "a protocol and its errors; tested with a resolver and a source",
    Path("loadtest/locustfile.py"): "locust loads it; tests/loadtest runs it headless",
}


@pytest.mark.parametrize("path", [path for path in list_modules() if path.name != "__init__.py"], ids=str)
def test_every_source_file_has_its_test_file(path: Path) -> None:
    if path in WITHOUT:
        return
    test = ROOT / "tests" / path.parent / f"test_{path.name}"
    assert test.is_file(), f"write {test.relative_to(ROOT)}"
