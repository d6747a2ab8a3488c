"""The programs beside these tests can be started: nothing else would notice that what one of them uses is gone."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.bench import measure_modules

PROGRAMS = sorted(path.stem for path in Path(__file__).parent.glob("[dm]*_*.py"))


@pytest.mark.parametrize("name", PROGRAMS)
def test_every_program_can_be_started(name: str) -> None:
    assert callable(importlib.import_module(f"tests.bench.{name}").main)


def test_everything_that_is_measured_of_the_hot_modules_can_be_done(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    done: list[object] = []

    def do_once(call: Callable[[], object], number: int = 0) -> float:
        del number
        done.append(call())
        return 1.0

    monkeypatch.setattr(measure_modules, "measure", do_once)
    monkeypatch.setattr(measure_modules, "SUBSCRIBERS", 100)
    measure_modules.main()
    assert capsys.readouterr().out.count(" |\n") == len(done) + 1
