"""Log lines of resolvers: their own place, one line each, no more than enough."""

from __future__ import annotations

import logging

import pytest

from fanout.resolvers.data_sources import DataSourceError
from fanout.resolvers.definitions import Module
from fanout.resolvers.log import ResolverLog, escape
from fanout.resolvers.sandbox import LINES_BEFORE_BODY

MODULE = Module("Query.a.js", "imports\none\ntwo\nthree\nreturn", mentions_selection=False)


def test_lines_hold_what_happened_and_stay_one_line(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "fanout.resolvers")
    log = ResolverLog()
    log.note_lines(MODULE, [["log", "one\nERROR forged"], ["error", "two"], ["warn", "three"], ["debug", "four"]])
    log.note_failure(MODULE, "TypeError: x", f"at request (<input>:{LINES_BEFORE_BODY + 1}:2)")
    log.note_source("Query.a.js", "orders", DataSourceError("It is down.", "x"))
    assert [(record.levelname, record.getMessage()) for record in caplog.records] == [
        ("INFO", "Query.a.js: one\\nERROR forged"),
        ("ERROR", "Query.a.js: two"),
        ("WARNING", "Query.a.js: three"),
        ("ERROR", "Query.a.js:1:2: TypeError: x"),
        ("WARNING", "Query.a.js: data source orders: It is down."),
    ]


def test_failures_cannot_fill_the_log(caplog: pytest.LogCaptureFixture) -> None:
    log = ResolverLog()
    for _ in range(1000):
        log.note_failure(MODULE, "TypeError: x")
    assert 1 <= len(caplog.records) <= 120


def test_control_characters_are_shown() -> None:
    assert escape("a\r\n\x1b[31m\u2028ü") == "a\\r\\n\\x1b[31m\\u2028ü"
