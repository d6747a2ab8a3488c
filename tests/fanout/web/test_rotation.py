"""Requests that come at once, one in each turn of the event loop."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from fanout.web.rotation import Rotation


class Application:
    """Notes when it is called, and otherwise what else happens."""

    def __init__(self) -> None:
        self.noted: list[str] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.noted.append(scope["path"])

    async def note_turns(self, number: int) -> None:
        for _ in range(number):
            self.noted.append("-")
            await asyncio.sleep(0)


def begin(rotation: Rotation, *paths: str, kind: str = "http") -> list[asyncio.Task[None]]:
    async def call(path: str) -> None:
        await rotation({"type": kind, "path": path}, None, None)  # type: ignore[arg-type]  # not called

    return [asyncio.create_task(call(path)) for path in paths]


async def test_one_begins_in_each_turn_and_whoever_comes_alone_does_not_wait() -> None:
    application = Application()
    rotation = Rotation(application)
    for _ in range(2):
        application.noted.clear()
        await asyncio.gather(*begin(rotation, *"abc"), application.note_turns(6))
        noted = "".join(application.noted)
        assert noted[0] == "a"
        assert noted.replace("-", "") == "abc"
        assert "bc" not in noted
        assert "ab" not in noted


async def test_who_leaves_is_passed_over() -> None:
    application = Application()
    tasks = begin(Rotation(application), *"abcd")
    await asyncio.sleep(0)
    for task in tasks[1:3]:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert application.noted == ["a", "d"]


@pytest.mark.parametrize("kind", ["websocket", "lifespan"])
async def test_what_is_no_request_does_not_wait(kind: str) -> None:
    application = Application()
    begin(Rotation(application), *"abc", kind=kind)
    await asyncio.sleep(0)
    assert application.noted == ["a", "b", "c"]
