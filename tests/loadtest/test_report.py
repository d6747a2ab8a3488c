import pytest

from loadtest.report import Outcome, Report, Row, judge, read_report, write_between_marks, write_report

ROWS = [
    Row("wide", "sends/s", "1,000"),
    judge("wide", "ratio", "0.70", ">= 0.65", is_met=True),
    judge("wide", "times", "2.0", ">= 3", is_met=False),
]
REPORT = Report("2026-01-01", "a machine", ["Pinned.", "C."], 12.5, [Outcome("wide", ROWS, {"a": [1, 2]})])


def test_the_table_has_targets_beside_values():
    assert REPORT.to_markdown().splitlines() == [
        "2026-01-01, a machine. Pinned. C.",
        "",
        "| scenario | what | measured | target | met |",
        "|---|---|---|---|---|",
        "| wide | sends/s | 1,000 |  |  |",
        "| wide | ratio | 0.70 | >= 0.65 | yes |",
        "| wide | times | 2.0 | >= 3 | **no** |",
    ]


def test_missed_targets_are_no_faults_and_faults_are():
    assert REPORT.is_good
    assert not Report("", "", [], 0, [Outcome("wide", [], {}, {"missing": 1})]).is_good


def test_a_report_is_written_and_read_back(tmp_path, capsys):
    write_report(REPORT, tmp_path / "new", "bench")
    path = tmp_path / "new" / "bench.json"
    assert read_report(path) == REPORT
    assert capsys.readouterr().out == path.with_suffix(".md").read_text() == REPORT.to_markdown()
    path.write_text('{"date": "x"}')
    with pytest.raises(ValueError, match="no report of a benchmark"):
        read_report(path)


def test_only_what_is_between_the_marks_is_replaced(tmp_path):
    document = tmp_path / "performance.md"
    document.write_text("before\n<!-- x: begin -->\nold\n<!-- x: end -->\nafter\n")
    write_between_marks(document, "x", "new\n")
    write_between_marks(document, "x", "newer\n")
    assert document.read_text() == "before\n<!-- x: begin -->\n\nnewer\n\n<!-- x: end -->\nafter\n"
    with pytest.raises(ValueError, match="no place between <!-- y: begin -->"):
        write_between_marks(document, "y", "new")
