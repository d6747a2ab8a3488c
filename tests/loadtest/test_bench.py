import json

import pytest

from loadtest import bench
from loadtest.processes import ProcessError
from loadtest.report import Outcome


def test_results_are_written_and_put_into_the_docs(tmp_path, capsys, monkeypatch):
    assert bench.main(["--quick", "--only", "latency", "--output", str(tmp_path / "out")]) == 0
    report = json.loads((tmp_path / "out" / "bench.json").read_text())
    assert [outcome["scenario"] for outcome in report["outcomes"]] == ["latency"]
    table = (tmp_path / "out" / "bench.md").read_text()
    shown = capsys.readouterr()
    assert shown.out == table
    assert "latency: " in shown.err

    monkeypatch.chdir(tmp_path)
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "performance.md").write_text("<!-- bench: begin -->\n<!-- bench: end -->\n")
    assert bench.main(["--write-docs", "--output", str(tmp_path / "out")]) == 0
    assert table in (tmp_path / "docs" / "performance.md").read_text()
    assert json.loads((tmp_path / "docs" / "performance" / "bench.json").read_text()) == report


@pytest.mark.parametrize(("wrong", "fault"), [("drop", "missing"), ("duplicate", "duplicate or out of order")])
def test_a_wrong_delivery_fails_the_run(tmp_path, standin_command, capsys, wrong, fault):
    arguments = ["--quick", "--only", "burst", "--timeout", "0.5", "--output", str(tmp_path)]
    assert bench.main(arguments, service_command=[*standin_command, "--wrong", wrong]) == 1
    assert json.loads((tmp_path / "bench.json").read_text())["outcomes"][0]["faults"][fault] > 0
    assert "burst FAILED" in capsys.readouterr().err


def test_what_cannot_be_run_is_told_in_one_line(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert bench.main(["--write-docs", "--output", str(tmp_path), "--million", str(tmp_path)]) == 2
    assert bench.main(["--only", "burst"], service_command=["/nowhere/fanout"]) == 2
    assert "/nowhere/fanout" in capsys.readouterr().err


def test_a_scenario_that_cannot_be_run_leaves_the_others(tmp_path, monkeypatch):
    def fail(setting):
        raise ProcessError("no such thing\nhere")

    def succeed(setting):
        return Outcome("rooms", [], {})

    monkeypatch.setattr(bench, "SCENARIOS", {"wide": fail, "rooms": succeed})
    assert bench.main(["--output", str(tmp_path)]) == 1
    wide, rooms = json.loads((tmp_path / "bench.json").read_text())["outcomes"]
    assert (wide["rows"][0]["value"], rooms["faults"]) == ("no such thing here", {})
