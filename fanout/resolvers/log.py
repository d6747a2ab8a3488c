"""What of resolvers is logged: what they write with `console`, how they fail, and which sources fail them.

A request may run many resolvers and there are many requests: lines are limited, and held in one line each.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Sequence
from typing import Final

from fanout.log_limit import LogLimit, tell_held_back
from fanout.resolvers.data_sources import DataSourceError
from fanout.resolvers.definitions import Module
from fanout.resolvers.sandbox import find_place

logger = logging.getLogger("fanout.resolvers")

_FAILURES_PER_MINUTE: Final = 60
# A developer wants to see what a resolver writes; a busy service must not fill its disk with it.
_LINES_PER_MINUTE: Final = 1_000
_LEVELS: Final = {"debug": logging.DEBUG, "warn": logging.WARNING, "error": logging.ERROR}
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")


class ResolverLog:
    """The log lines of one API's resolvers."""

    def __init__(self) -> None:
        self._failures = LogLimit(_FAILURES_PER_MINUTE)
        self._lines = LogLimit(_LINES_PER_MINUTE)

    def note_lines(self, module: Module, lines: Iterable[Sequence[str]]) -> None:
        """What a stage wrote: `[level, text]` each, level by the name of the function of `console`."""
        for level, text in lines:
            held_back = self._lines.admit()
            if held_back is not None:
                logger.log(
                    _LEVELS.get(level, logging.INFO), "%s: %s%s", module.name, escape(text), tell_held_back(held_back)
                )

    def note_failure(self, module: Module, what: str, stack: str = "") -> None:
        """A stage threw something or exceeded a limit; with the place in the file, where the stack tells it."""
        held_back = self._failures.admit()
        if held_back is not None:
            place = find_place(stack)
            where = f"{module.name}:{place[0]}:{place[1]}" if place else module.name
            logger.error("%s: %s%s", where, escape(what), tell_held_back(held_back))

    def note_source(self, name: str, source: str, error: DataSourceError) -> None:
        """A data source failed a resolver, which may think nothing of it."""
        held_back = self._failures.admit()
        if held_back is not None:
            text = escape(error.message)
            logger.warning("%s: data source %s: %s%s", name, source, text, tell_held_back(held_back))


def escape(text: str) -> str:
    """The text in one line: clients' text in it cannot look like a line of ours."""
    return _CONTROL.sub(lambda found: repr(found[0])[1:-1], text)
