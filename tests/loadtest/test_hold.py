import json

import pytest

from loadtest import hold


def _run(tmp_path, service_command=None):
    arguments = ["--connections", "60", "--rooms", "3", "--repeat", "3", "--timeout", "1", "--output", str(tmp_path)]
    return hold.main(arguments, service_command=service_command)


def test_figures_are_written_and_everything_is_reconciled(tmp_path, capsys):
    assert _run(tmp_path) == 0
    result = json.loads((tmp_path / "hold.json").read_text())
    assert (result["receipts"], result["receipts_expected"], result["faults"]) == (60, 60, {})
    assert result["bytes_per_connection"] > 0
    assert len(result["broadcast_seconds"]) == 3
    assert min(result["broadcast_seconds"]) <= result["broadcast_p50_seconds"] <= result["broadcast_max_seconds"]
    table = (tmp_path / "hold.md").read_text()
    assert capsys.readouterr().out == table
    columns, line, row = table.splitlines()
    assert columns.count("|") == line.count("|") == row.count("|")
    assert "60 of 60" in row


@pytest.mark.parametrize(("wrong", "fault"), [("drop", "missing"), ("stray", "stray")])
def test_a_wrong_delivery_fails_the_run(tmp_path, standin_command, capsys, wrong, fault):
    assert _run(tmp_path, [*standin_command, "--wrong", wrong]) == 1
    assert json.loads((tmp_path / "hold.json").read_text())["faults"][fault] > 0
    assert "FAILED" in capsys.readouterr().err


def test_more_connections_than_descriptors_are_refused_in_one_line(capsys):
    assert hold.main(["--connections", "2000000000"]) == 2
    assert "file descriptors" in capsys.readouterr().err
