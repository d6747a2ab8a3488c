"""A resolver in Python: what a test wants it to do, when the test lets it, and how often it was asked."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from fanout.schema import Invocation, Resolved


def equal_to(**fields: Any) -> dict[str, Any]:
    """A filter as `extensions.setSubscriptionFilter` takes it."""
    conditions = [{"fieldName": name, "operator": "eq", "value": value} for name, value in fields.items()]
    return {"filterGroup": [{"filters": conditions}]}


class ScriptedResolver:
    """Does `script` for each invocation; what it returns is what the resolver came to, and what it raises is raised."""

    def __init__(self, script: Callable[[Invocation], Resolved], version: str = "1") -> None:
        self.script = script
        self.version = version
        self.invocations: list[Invocation] = []
        self.given_up = 0
        self.may_end = asyncio.Event()
        self.may_end.set()

    async def resolve(self, invocation: Invocation) -> Resolved:
        self.invocations.append(invocation)
        try:
            await self.may_end.wait()
        except asyncio.CancelledError:
            self.given_up += 1
            raise
        return self.script(invocation)


def by_room(invocation: Invocation) -> Resolved:
    """Filters on the argument `roomId`, and on content that is not empty."""
    conditions = [
        {"fieldName": "roomId", "operator": "eq", "value": invocation.arguments["roomId"]},
        {"fieldName": "content", "operator": "ne", "value": ""},
    ]
    return Resolved(None, filter={"filterGroup": [{"filters": conditions}]})
