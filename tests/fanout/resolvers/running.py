"""Runs resolver code in a sandbox of its own, for tests of the sandbox and of the library's parts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import orjson

from fanout.resolvers.sandbox import Limits, Sandbox

IMPORT = 'const { util, extensions, runtime } = __import("@aws-appsync/utils");'
NOW = 1_700_000_000.5
"""What every call sees as the time, unless told otherwise: 2023-11-14T22:13:20.500Z."""


def answer_itself(question: list[Any]) -> dict[str, Any]:
    """Answers any question with the question."""
    return {"value": question}


def load(
    code: str, answer: Callable[[list[Any]], dict[str, Any]] = answer_itself, now: float = NOW, **limits: int
) -> Sandbox:
    """A module whose functions' body is `code`; its first line is the second after the import."""
    return Sandbox(f"{IMPORT}\n{code}", Limits(**limits), answer, now=lambda: now)


def call(
    code: str,
    arguments: dict[str, Any] | None = None,
    handler: str = "request",
    answer: Callable[[list[Any]], dict[str, Any]] = answer_itself,
    now: float = NOW,
    **extra: Any,
) -> dict[str, Any]:
    """The envelope of one call of a module that declares `request`, and maybe `response`; `extra` joins its `ctx`."""
    code += "\nreturn { request, response: typeof response === 'undefined' ? undefined : response };"
    info = {"fieldName": "createMessage", "parentTypeName": "Mutation"}
    context = {"arguments": arguments or {}, "stash": {}, "info": info, **extra}
    return load(code, answer, now).call(handler, orjson.dumps(context).decode())


_LIST_FUNCTIONS = f"""{IMPORT}
const list = (name, value) =>
  typeof value === "function" ? [name] : Object.keys(value).flatMap((key) => list(`${{name}}.${{key}}`, value[key]));
const request = () => Object.entries({{ util, extensions, runtime, console }}).flatMap((pair) => list(...pair));
return {{ request }};
"""


def list_functions() -> list[str]:
    """Every function that resolvers are given, as they call it."""
    functions: list[str] = Sandbox(_LIST_FUNCTIONS, Limits(), answer_itself).call("request", "{}")["value"]
    return functions


class Expressions:
    """Evaluates expressions in one sandbox, so that a test of many cases makes one context only.

    An expression sees util, extensions, runtime, `ctx` and `args`. What cannot be said in JSON becomes text:
    `undefined` stays apart from null as "undefined".

    Args:
        answer: answers the library's questions.
        now: seconds since 1970.
    """

    def __init__(self, answer: Callable[[list[Any]], dict[str, Any]] = answer_itself, now: float = NOW) -> None:
        self._answer = answer
        self._now = now
        self._sandboxes: dict[str, Sandbox] = {}

    def run(self, expression: str, *args: Any, **extra: Any) -> Any:
        """The expression's value.

        Raises:
            AssertionError: with the envelope; the resolver said or threw an error.
        """
        envelope = self.envelope(expression, *args, **extra)
        assert "value" in envelope, envelope
        return envelope["value"]

    def error(self, expression: str, *args: Any, **extra: Any) -> str:
        """The message of the error that the expression says by `util.error` or throws."""
        envelope = self.envelope(expression, *args, **extra)
        assert "value" not in envelope, envelope
        return str(envelope["error"]["message"] if "error" in envelope else envelope["failure"])

    def envelope(self, expression: str, *args: Any, **extra: Any) -> dict[str, Any]:
        """The whole envelope; `extra` joins `ctx`."""
        if expression not in self._sandboxes:
            code = (
                "const request = (ctx) => { const args = ctx.args.list; "
                f"const value = ({expression}); return value === undefined ? 'undefined' : value; }};"
            )
            self._sandboxes[expression] = load(code + "\nreturn { request };", self._answer, self._now, time_ms=1000)
        info = {"fieldName": "createMessage", "parentTypeName": "Mutation"}
        context = {"arguments": {"list": args}, "stash": {}, "info": info, **extra}
        return self._sandboxes[expression].call("request", orjson.dumps(context).decode())
