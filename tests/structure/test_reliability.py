"""docs/reliability.md names the tests that hold each promise: they exist, by these names."""

from __future__ import annotations

import re

from tests.structure.sources import ROOT

TEXT = (ROOT / "docs/reliability.md").read_text(encoding="utf-8")
TEST_FILES = {path.name: path for path in (ROOT / "tests").rglob("*.py")}
TEST_NAMES = {
    name
    for path in (ROOT / "tests").rglob("*.py")
    for name in re.findall(r"^(?:async )?def (test_\w+)", path.read_text(encoding="utf-8"), re.MULTILINE)
}


def test_every_path_exists() -> None:
    paths = set(re.findall(r"\btests/[\w/]+(?:\.py)?", TEXT))
    assert len(paths) > 10
    assert [path for path in sorted(paths) if not (ROOT / path).exists()] == []


def test_every_test_exists() -> None:
    names = set(re.findall(r"(?<!/)\b(test_\w+)\b(?!\.py)", TEXT))
    assert len(names) > 2
    assert names <= TEST_NAMES
    assert set(re.findall(r"\b(test_\w+\.py)", TEXT)) <= TEST_FILES.keys()
