"""docs/operations.md has a row for every fault test, and every test that it names exists."""

from __future__ import annotations

import re
from pathlib import Path

FAULTS = Path(__file__).parent
TABLE = (
    Path("docs/operations.md").read_text(encoding="utf-8").partition("## When something fails")[2].partition("\n## ")[0]
)


def list_fault_tests(path: Path) -> set[str]:
    text = path.read_text(encoding="utf-8")
    if not re.search(r"^pytestmark = pytest.mark.faults$", text, re.MULTILINE):
        return set()  # of what fault tests are made of
    return set(re.findall(r"^async def (test_\w+)", text, re.MULTILINE))


def test_the_table_and_the_tests_agree() -> None:
    named = set(re.findall(r"`(test_\w+)`", TABLE))
    assert named == set[str]().union(*map(list_fault_tests, FAULTS.glob("test_*.py")))


def test_folders_that_the_table_names_exist() -> None:
    folders = set(re.findall(r"`(tests/[\w/]+)`", TABLE))
    assert folders
    assert [folder for folder in folders if not Path(folder).is_dir()] == []
