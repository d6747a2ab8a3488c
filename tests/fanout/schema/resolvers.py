"""Resolvers in Python, for tests of what calls them."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from fanout.schema.resolving import Invocation, Resolved


class Answering:
    """A resolver that a function answers for, which may be asynchronous; notes its calls."""

    version = "1"

    def __init__(self, answer: Callable[[Invocation], Any]) -> None:
        self._answer = answer
        self.calls: list[Invocation] = []

    async def resolve(self, invocation: Invocation) -> Resolved:
        self.calls.append(invocation)
        answer = self._answer(invocation)
        value = await answer if inspect.isawaitable(answer) else answer
        return value if isinstance(value, Resolved) else Resolved(value)


def by_place(**answers: Callable[[Invocation], Any]) -> dict[tuple[str, str], Answering]:
    """Resolvers by `Type__field`."""
    return {
        (type_, name): Answering(answer)
        for place, answer in answers.items()
        for type_, _, name in [place.partition("__")]
    }
