"""One module of a resolver in a QuickJS context of its own: a call in, an envelope out, limits on both.

Nothing of the host can be reached from it: no modules, no clock, no randomness, no callbacks into Python. What a call
needs of these goes in with it, and what else it has to know it asks for: the call ends with its questions, and is made
again with the answers. Resolvers have no effects, so that nobody can tell.

Used in a process that may be killed (`worker`): a few of JavaScript's own functions cannot be interrupted
(`Array(4e9).join("")` takes 200 s), whatever the limit.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from importlib.resources import files
from typing import Any, Final

# The package `quickjs` starts a thread when it is imported, which the signals would go to that a process holds back.
import _quickjs as quickjs
import orjson

PARTS: Final = (
    "arguments",
    "console",
    "errors",
    "values",
    "encodings",
    "patterns",
    "caller",
    "chance",
    "http",
    "zones",
    "time_formats",
    "time",
    "extensions",
    "dynamodb",
    "rds",
    "transform",
    "xml",
    "lockdown",
)
"""The library's parts in the order in which they are made; `lockdown` is the last."""
NEEDED_BY: Final = {
    "http": ("http",),
    "zones": ("time",),
    "time_formats": ("time",),
    "time": ("time",),
    "dynamodb": ("dynamodb", "transform"),
    "rds": ("rds",),
    "transform": ("transform",),
    "xml": ("xml",),
}
"""Parts that are only made for modules that use one of these of `util`: together 3.5 ms and 230 KB of a context."""
LINES_BEFORE_BODY: Final = 4
"""What `new Function`, our own line and the body's line of imports put before a module's first line."""
_LIBRARY_LINE: Final = 100_000
"""Where the library begins, so that its lines are no module's: both are one `<input>` for QuickJS."""
_FRAME: Final = re.compile(r"<input>:(\d+):(\d+)")
_USES: Final = re.compile(r"/\*uses ([^*]*)\*/")
_ENTROPY_BYTES: Final = 48

Answer = Callable[[list[Any]], dict[str, Any]]
"""Answers a question of the library, `[kind, ...details]`: `{"value": ...}`, or `{"error": text, "type": ...}`."""


class SandboxError(Exception):
    """A module that cannot be loaded.

    Args:
        text: JavaScript's, with its stack: message and place (from 1; 0 where unknown) are taken from it.
    """

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.message = text.partition("\n")[0]
        self.line, self.column = find_place(text) or (0, 0)


class Resource(StrEnum):
    """What a call can have too much of; processes and the library name it so, too."""

    TIME = "time"
    MEMORY = "memory"
    STACK = "stack"


class ResourceLimitExceeded(Exception):
    """A call took more than it may; the context must not be used again.

    Args:
        resource: of what.
    """

    def __init__(self, resource: Resource) -> None:
        super().__init__(f"it exceeded its {resource} limit")
        self.resource = resource


def find_place(stack: str) -> tuple[int, int] | None:
    """Line and column in the module of the innermost frame that is its own; None where there is none."""
    for line, column in _FRAME.findall(stack):
        if LINES_BEFORE_BODY < int(line) < _LIBRARY_LINE:
            return int(line) - LINES_BEFORE_BODY, int(column)
    return None


@dataclass(frozen=True, slots=True)
class Limits:
    """What one call may take.

    Args:
        time_ms: processor time.
        memory_bytes: of the context, library and module included.
        stack_bytes: of nested calls.
    """

    time_ms: int = 25
    memory_bytes: int = 16 * 1024 * 1024
    stack_bytes: int = 256 * 1024


class Sandbox:
    """A loaded module.

    Making one takes 5 to 9 ms, most of it to read the library, and 0.4 to 0.8 MB, by what the module uses of it.

    Args:
        body: the module as a function body, see `fanout.resolvers.rewriter`.
        limits: of each call, and of loading.
        answer: answers the library's questions.
        now: seconds since 1970.

    Raises:
        SandboxError: it does not compile, or its top level fails.
        ResourceLimitExceeded: its top level exceeds a limit.
    """

    def __init__(self, body: str, limits: Limits, answer: Answer, now: Callable[[], float] = time.time) -> None:
        self._answer = answer
        self._now = now
        self._time_s = limits.time_ms / 1000
        self._context = quickjs.Context()
        library = self._context.eval(_read_library(_select_parts(body)))
        self._enter = self._get(library, "enter")
        self._load = self._get(library, "load")
        self._context.set_memory_limit(limits.memory_bytes)
        self._context.set_max_stack_size(limits.stack_bytes)
        self._context.set_time_limit(self._time_s)
        self.handlers = frozenset(self._read_handlers(body))
        """Names of the functions that the module exports."""

    def _read_handlers(self, body: str) -> list[str]:
        try:
            names: list[str] = orjson.loads(self._converse(self._load, body)[1:])
        except quickjs.JSException as error:
            raise _name_limit(error) or SandboxError(str(error)) from None
        return names

    def call(self, handler: str, context: str) -> dict[str, Any]:
        """Run one stage.

        Args:
            handler: `request`, `response`, or `unit` for both with nothing in between.
            context: `ctx` as JSON text, and in it `__auth`, see `fanout.resolvers.context`.

        Returns:
            The envelope: `value`, or `error` (said by util.error), or `failure` and `stack` (thrown otherwise, or what
            was returned is no JSON); `early` (END, NEXT or null) where it ended by `runtime.earlyReturn`; `stash`,
            `errors`, `extensions` if they could be told, and `logs`.

        Raises:
            ResourceLimitExceeded: make a new sandbox.
            SandboxError: the same; it awaits.
        """
        return orjson.loads(self.call_text(handler, context))  # type: ignore[no-any-return]

    def call_text(self, handler: str, context: str) -> str:
        """`call` with its envelope as JSON text without line ends, which may nest deeper than parsers like."""
        try:
            told = self._converse(self._enter, handler, context)
        except quickjs.JSException as error:
            limit = _name_limit(error)
            if limit is not None:
                raise limit from None
            # The library lets nothing else out; if it does, that is one call's failure too.
            return orjson.dumps({"failure": str(error), "stack": "", "logs": []}).decode()
        if told[0] == "l":
            raise ResourceLimitExceeded(Resource(told[1:]))
        return told[1:]

    def _converse(self, tell: Callable[..., str], *args: str) -> str:
        """What the library tells in the end: what it asks is answered, and it is called again as if it never had been.

        All rounds have the time of one call, and the same moment and chance.
        """
        now, entropy = self._now() * 1000 // 1, os.urandom(_ENTROPY_BYTES).hex()
        answers: dict[str, Any] = {}
        began = time.process_time()
        while (told := tell(*args, now, entropy, orjson.dumps(answers).decode() if answers else ""))[0] == "q":
            for question in orjson.loads(told[1:]):
                answers[question] = self._answer(orjson.loads(question))
            if time.process_time() - began >= self._time_s:
                raise ResourceLimitExceeded(Resource.TIME)
        if told[0] == "v":
            self._refuse_jobs()
        return told

    def _refuse_jobs(self) -> None:
        """What awaits goes on after its call, which nothing does here; what waits for that would be kept for ever."""
        try:
            has_jobs = self._context.execute_pending_job()
        except quickjs.JSException:
            has_jobs = True
        if has_jobs:
            raise SandboxError("TypeError: the resolver awaits, and has to do without asynchronous functions")

    def _get(self, library: Any, name: str) -> Callable[..., str]:
        return self._context.eval("(library, name) => library[name]")(library, name)  # type: ignore[no-any-return]


def _name_limit(error: quickjs.JSException) -> ResourceLimitExceeded | None:
    """The limit that an error of QuickJS tells of; None: it tells of something else."""
    if isinstance(error, quickjs.StackOverflow):
        return ResourceLimitExceeded(Resource.STACK)
    text = str(error)
    if text.startswith("InternalError: interrupted"):
        return ResourceLimitExceeded(Resource.TIME)
    # Where there is no memory left for the error itself, QuickJS throws null.
    if text.startswith(("InternalError: out of memory", "null")):
        return ResourceLimitExceeded(Resource.MEMORY)
    return None


def note_uses(names: Collection[str] | None) -> str:
    """What a body begins with, so that its context has only the parts of the library that it needs.

    Args:
        names: what the module uses of `util`; None: unknown.
    """
    return "" if names is None else f"/*uses {' '.join(sorted(names))}*/"


def _select_parts(body: str) -> tuple[str, ...]:
    found = _USES.match(body)
    if found is None:
        return PARTS
    uses = set(found[1].split(" "))
    return tuple(part for part in PARTS if part not in NEEDED_BY or not uses.isdisjoint(NEEDED_BY[part]))


@cache
def _read_library(names: tuple[str, ...]) -> str:
    folder = files("fanout.resolvers") / "library"
    parts = ",\n".join((folder / f"{name}.js").read_text(encoding="utf-8") for name in names)
    return "\n" * _LIBRARY_LINE + f"({(folder / 'host.js').read_text(encoding='utf-8')})([{parts}])"
