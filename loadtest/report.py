"""What a benchmark run says: rows with target and value, as JSON and as a Markdown table. Knows no scenario."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table: `is_met` is None where there is no target."""

    scenario: str
    what: str
    value: str
    target: str = ""
    is_met: bool | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one scenario measured: rows for people, all figures for machines, and what was wrong with deliveries."""

    scenario: str
    rows: list[Row]
    figures: dict[str, Any]
    faults: dict[str, int] = field(default_factory=dict)
    examples: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Report:
    """A run. `conditions` says under which it was made, in short sentences."""

    date: str
    machine: str
    conditions: list[str]
    seconds: float
    outcomes: list[Outcome]

    @property
    def is_good(self) -> bool:
        """Every delivery arrived as it has to; says nothing of targets."""
        return not any(outcome.faults for outcome in self.outcomes)

    def to_markdown(self) -> str:
        """The table with what is needed to read it."""
        lines = [f"{self.date}, {self.machine}. {' '.join(self.conditions)}", "", *_head()]
        for outcome in self.outcomes:
            lines.extend(_format_row(row) for row in outcome.rows)
        return "\n".join(lines) + "\n"

    def to_json(self) -> str:
        """Everything that was measured."""
        return json.dumps(asdict(self), indent=1) + "\n"


def judge(scenario: str, what: str, value: str, target: str, *, is_met: bool) -> Row:
    """A row with a target."""
    return Row(scenario, what, value, target, is_met)


def read_report(path: Path) -> Report:
    """Read what `to_json` wrote.

    Raises:
        OSError: it is not there.
        ValueError: it is something else.
    """
    try:
        data = json.loads(path.read_text())
        outcomes = [
            Outcome(**(outcome | {"rows": [Row(**row) for row in outcome["rows"]]})) for outcome in data["outcomes"]
        ]
        return Report(**(data | {"outcomes": outcomes}))
    except (KeyError, TypeError) as error:
        raise ValueError(f"{path} is no report of a benchmark: {error}") from None


def write_report(report: Report, folder: Path, name: str) -> None:
    """Write `name.json` and `name.md` into a folder, which is made, and print the table."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.json").write_text(report.to_json())
    (folder / f"{name}.md").write_text(report.to_markdown())
    print(report.to_markdown(), end="", flush=True)


def write_between_marks(document: Path, name: str, table: str) -> None:
    """Replace what a document holds between `<!-- NAME: begin -->` and `<!-- NAME: end -->` by a table.

    Raises:
        ValueError: the document has no such marks.
    """
    begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
    before, found, rest = document.read_text().partition(begin)
    _, found_end, after = rest.partition(end)
    if not found or not found_end:
        raise ValueError(f"{document} has no place between {begin} and {end}")
    document.write_text(f"{before}{begin}\n\n{table}\n{end}{after}")


def _head() -> Sequence[str]:
    return ("| scenario | what | measured | target | met |", "|---|---|---|---|---|")


def _format_row(row: Row) -> str:
    met = {True: "yes", False: "**no**", None: ""}[row.is_met]
    return f"| {row.scenario} | {row.what} | {row.value} | {row.target} | {met} |"
