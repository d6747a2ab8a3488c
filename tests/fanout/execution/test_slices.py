"""Long lists are completed in slices, with the same outcome."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from fanout.execution.executor import ExecutionResult, Executor
from fanout.execution.slices import SLICE, Slices, slice_list
from fanout.schema.sdl import parse_schema
from tests.fanout.schema.resolvers import by_place

SCHEMA = parse_schema(
    """
    type Query { all: [Item!] page: Page rows: [[Int!]!] }
    type Page { items: [Item] }
    type Item { id: ID! name: String }
    """
)


async def test_others_have_turns_between_slices() -> None:
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    counting = asyncio.create_task(count())
    items = list(range(10 * SLICE))
    assert [item async for item in Slices(items)] == items
    assert turns == 10
    counting.cancel()


def test_only_long_lists_are_sliced() -> None:
    short = [1] * SLICE
    for value in (short, "x" * 1000, {"a": 1}, None, 1):
        assert slice_list(value) is value
    assert isinstance(slice_list([*short, 1]), Slices)


async def run(query: str, **answers: Any) -> dict[str, Any]:
    done = Executor(SCHEMA, resolvers=by_place(**answers)).execute(query)
    assert not isinstance(done, ExecutionResult)
    return (await done).response


@pytest.mark.parametrize("count", [SLICE - 1, SLICE, SLICE + 1, 7 * SLICE])
async def test_a_list_is_whole_however_long(count: int) -> None:
    items = [{"id": str(number)} for number in range(count)]
    response = await run(
        "{ all { id name } page { items { id name } } rows }",
        Query__all=lambda _: items,
        Query__page=lambda _: {"items": items},
        Query__rows=lambda _: [[1, 2]] * count,
        Item__name=lambda call: call.source["id"],
    )
    named = [{"id": str(number), "name": str(number)} for number in range(count)]
    assert response == {"data": {"all": named, "page": {"items": named}, "rows": [[1, 2]] * count}}


async def test_a_null_in_a_long_list_goes_up() -> None:
    items: list[Any] = [{"id": "1"} for _ in range(3 * SLICE)]
    items[2 * SLICE] = None
    response = await run(
        "{ all { id name } page { items { id } } }",
        Query__all=lambda _: items,
        Query__page=lambda _: {"items": items},
        Item__name=lambda _: "n",
    )
    assert response["data"]["all"] is None
    assert response["data"]["page"]["items"][2 * SLICE] is None
    [error] = response["errors"]
    assert error["path"] == ["all", 2 * SLICE]
