"""Logging as the processes set it up; workers themselves are shown in tests/system/test_serving.py."""

from __future__ import annotations

import logging
import subprocess
import sys

PROGRAM = """
import logging
from fanout.supervisor import configure_logging
configure_logging({level!r})
logging.getLogger("fanout.x").info("ours")
logging.getLogger("uvicorn.error").info("theirs")
logging.getLogger("uvicorn.error").warning("their warning")
"""


def run(level: str) -> str:
    return subprocess.run(
        [sys.executable, "-c", PROGRAM.format(level=level)], capture_output=True, text=True, check=True, timeout=60
    ).stderr


def test_lines_go_to_stderr_and_libraries_only_warn() -> None:
    lines = run("info").splitlines()
    assert [line.split(": ", 1)[1] for line in lines] == ["ours", "their warning"]
    assert "INFO fanout.x" in lines[0]


def test_the_level_is_kept_for_all() -> None:
    assert run("error") == ""
    assert logging.getLevelName("ERROR") == logging.ERROR
