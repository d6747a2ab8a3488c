import json

from loadtest import million


def test_all_are_held_and_reached(tmp_path, capsys):
    assert million.main(["--connections", "60", "--output", str(tmp_path)]) == 0
    report = json.loads((tmp_path / "million.json").read_text())
    assert report["outcomes"][0]["figures"]["held"] == 60
    assert "60 subscribed connections" in (tmp_path / "million.md").read_text()
    assert "million: " in capsys.readouterr().err


def test_a_crowd_that_is_not_reached_fails(tmp_path, standin_command, capsys):
    command = [*standin_command, "--wrong", "drop"]
    arguments = ["--connections", "60", "--receipt-timeout", "0.5", "--output", str(tmp_path)]
    assert million.main(arguments, service_command=command) == 1
    assert "FAILED {'missing'" in capsys.readouterr().err


def test_what_cannot_be_run_is_told_in_one_line(capsys):
    assert million.main([], service_command=["/nowhere/fanout"]) == 2
    assert "/nowhere/fanout" in capsys.readouterr().err
