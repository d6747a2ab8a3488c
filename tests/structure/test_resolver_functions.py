"""docs/resolvers.md tells of every function that resolvers are given, and each has a test."""

from __future__ import annotations

import re

import pytest

from fanout.resolvers.sandbox import PARTS
from tests.fanout.resolvers.running import list_functions
from tests.structure.sources import ROOT

TEXT = (ROOT / "docs/resolvers.md").read_text(encoding="utf-8")
TESTS = ROOT / "tests/fanout/resolvers/library"
# `util.x` or `util.x`, `util.y` | state | note | test
ROW = re.compile(
    r"^\| ((?:`(?:util|extensions|runtime|console)\.[\w.]+`(?:, )?)+) \| (\S[^|]*) \| ([^|]*)\|([^|]*)\|$", re.M
)
ROWS = {
    name: (match[2].strip(), match[3].strip(), match[4].strip().strip("`"))
    for match in ROW.finditer(TEXT)
    for name in re.findall(r"`([^`]+)`", match[1])
}


def test_the_table_and_the_library_have_the_same_functions() -> None:
    there = {name for name, (state, _, _) in ROWS.items() if state != "not there"}
    assert set(list_functions()) == there, "add or correct the rows below `## Functions` in docs/resolvers.md"


@pytest.mark.parametrize("name", ROWS)
def test_a_row_has_its_test_or_its_reason(name: str) -> None:
    state, note, test = ROWS[name]
    if state == "not there":
        assert note
        assert not test
        return
    assert state in {"full", "differs", "no-op"}
    text = (TESTS / test).read_text(encoding="utf-8")
    assert re.search(rf"\b{name.rpartition('.')[2]}\b", text), f"{test} does not speak of {name}"


@pytest.mark.parametrize("part", [part for part in PARTS if part != "lockdown"])
def test_every_part_of_the_library_has_its_test_file(part: str) -> None:
    assert (TESTS / f"test_{part}.py").is_file()
