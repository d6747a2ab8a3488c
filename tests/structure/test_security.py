"""docs/security.md names a test for each threat: they exist, in the files and by the names that it gives."""

from __future__ import annotations

import re

from tests.structure.sources import ROOT

TEXT = (ROOT / "docs/security.md").read_text(encoding="utf-8")
ROW = re.compile(r"^\| (?P<who>[^|]+) \| (?P<what>[^|]+) \| (?P<stops>[^|]+) \| (?P<tests>[^|]+) \|$", re.MULTILINE)
NAMED = re.compile(r"`(tests/[\w/]+\.py)::(test_\w+)`")
ROWS = [row for row in ROW.finditer(TEXT) if row["who"] != "who" and not row["who"].startswith("-")]


def test_every_threat_has_a_test() -> None:
    assert len(ROWS) > 30
    assert [row["what"] for row in ROWS if not NAMED.search(row["tests"])] == []


def test_every_test_is_where_it_is_said_to_be() -> None:
    missing = []
    for path, name in sorted(set(NAMED.findall(TEXT))):
        file = ROOT / path
        if not file.is_file() or not re.search(
            rf"^\s*(?:async )?def {name}\(", file.read_text(encoding="utf-8"), re.MULTILINE
        ):
            missing.append(f"{path}::{name}")
    assert missing == []


def test_nothing_else_stands_where_a_test_is_expected() -> None:
    rest = [NAMED.sub("", row["tests"]).replace(",", "").strip() for row in ROWS]
    assert [text for text in rest if text] == []
