"""What must never be heard while clients misbehave: warnings, tracebacks, errors of the event loop."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


class Witness(logging.Handler):
    """Collects every log record from WARNING on, each record with a traceback, and what the event loop complains of."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.heard: list[str] = []
        self._format = logging.Formatter()

    def emit(self, record: logging.LogRecord) -> None:
        if record.exc_info or record.levelno >= logging.WARNING:
            self.heard.append(self._format.format(record))

    def hear_loop(self, loop: asyncio.AbstractEventLoop) -> None:
        def complain(_: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
            self.heard.append(f"event loop: {context}")

        loop.set_exception_handler(complain)


@contextmanager
def nothing_heard() -> Iterator[Witness]:
    """Fails at the end of the block if anything was logged that tells of a defect."""
    witness = Witness()
    root = logging.getLogger()
    root.addHandler(witness)
    try:
        yield witness
    finally:
        root.removeHandler(witness)
    assert witness.heard == []
