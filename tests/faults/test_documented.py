"""docs/operations.md has a row for every fault test, and every test that it names exists."""

from __future__ import annotations

import re
from pathlib import Path

FAULTS = Path(__file__).parent
TABLE = (
    Path("docs/operations.md").read_text(encoding="utf-8").partition("## When something fails")[2].partition("\n## ")[0]
)


def list_tests(path: Path) -> set[str]:
    return set(re.findall(r"^async def (test_\w+)", path.read_text(encoding="utf-8"), re.MULTILINE))


def test_the_table_and_the_tests_agree() -> None:
    named = set(re.findall(r"`(test_\w+)`", TABLE))
    files = [path for path in sorted(FAULTS.glob("test_*.py")) if path.stem not in ("test_chaos", "test_documented")]
    written = set[str]().union(*map(list_tests, files))
    assert named == written


def test_folders_that_the_table_names_exist() -> None:
    folders = set(re.findall(r"`(tests/[\w/]+)`", TABLE))
    assert folders
    assert [folder for folder in folders if not Path(folder).is_dir()] == []
