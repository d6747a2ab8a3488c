"""The programs beside these tests can be started: nothing else would notice that what one of them imports is gone."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest

PROGRAMS = sorted(path.stem for path in Path(__file__).parent.glob("[dm]*_*.py"))


@pytest.mark.parametrize("name", PROGRAMS)
def test_every_program_can_be_started(name: str) -> None:
    assert callable(importlib.import_module(f"tests.bench.{name}").main)
