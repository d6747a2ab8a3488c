"""Resolvers in executions that fail, or are not called: what the client is told, and what becomes of the rest."""

from __future__ import annotations

import asyncio
import gc
import logging
import warnings
from typing import Any

import orjson
import pytest

from fanout.errors import Unavailable
from fanout.schema.resolving import Invocation, Resolved, ResolverFault
from tests.fanout.execution.api import describe, events, fail, nest, run
from tests.fanout.schema.resolvers import by_place


async def test_errors_are_appsync_s() -> None:
    data = {"id": "r", "name": "n", "owner": {"id": "o", "name": "secret"}, "meta": {}}
    resolvers = by_place(
        Query__room=fail("No such room.", error_type="NotFound", data=data, error_info={"code": 7}),
        Query__left=fail("Not Authorized to access left on type Query", error_type="Unauthorized"),
        Query__right=lambda _: Resolved("half", (ResolverFault("Only half.", error_info=[1]),)),
        Query__rooms=lambda _: [{"id": "a"}, {"id": "b"}],
        Room__owner=fail("gone", appended=(ResolverFault("before"),)),
    )
    query = "{ rooms { id owner { id } } one: room(id: 1) { it: id owner { id } } left right }"
    done = await run(query, resolvers)
    assert done.response == {
        "data": {
            "rooms": [{"id": "a", "owner": None}, {"id": "b", "owner": None}],
            "one": None,
            "left": None,
            "right": "half",
        },
        "errors": [
            describe(["rooms", 0, "owner"], query.index("owner") + 1, "before", "Code"),
            describe(["rooms", 0, "owner"], query.index("owner") + 1, "gone", "Code"),
            describe(["rooms", 1, "owner"], query.index("owner") + 1, "before", "Code"),
            describe(["rooms", 1, "owner"], query.index("owner") + 1, "gone", "Code"),
            describe(
                ["one"],
                query.index("one") + 1,
                "No such room.",
                "NotFound",
                data={"it": "r", "owner": {"id": "o"}},
                errorInfo={"code": 7},
            ),
            describe(["left"], query.index("left") + 1, "Not Authorized to access left on type Query", "Unauthorized"),
            describe(["right"], query.index("right") + 1, "Only half.", "Code", errorInfo=[1]),
        ],
    }


async def test_errors_are_told_in_the_order_of_the_response() -> None:
    async def fail_late(call: Invocation) -> None:
        for _ in range(10 - int(call.source["id"])):
            await asyncio.sleep(0)
        raise ResolverFault(call.source["id"])

    resolvers = by_place(
        Query__rooms=lambda _: [{"id": str(number), "name": "n"} for number in range(10)], Room__owner=fail_late
    )
    done = await run("{ rooms { ...F id } } fragment F on Room { owner { id } }", resolvers)
    assert [error["message"] for error in done.response["errors"]] == [str(number) for number in range(10)]


async def test_a_null_where_there_can_be_none_goes_up() -> None:
    resolvers = by_place(
        Query__rooms=lambda _: [{"id": "a", "name": "n"}, {"id": "b"}],
        Query__strict=fail("failed"),
        Query__room=lambda _: {"id": "a", "name": "n"},
        Room__members=lambda _: [{"id": "u"}, {"id": "v"}],
        User__strict=lambda call: None if call.source["id"] == "v" else "s",
    )
    done = await run("{ rooms { name } left room(id: 1) { id members { strict } } }", resolvers)
    assert done.response == {
        "data": {"rooms": None, "left": None, "room": {"id": "a", "members": None}},
        "errors": [
            {
                "path": ["rooms", 1, "name"],
                "locations": None,
                "message": "Cannot return null for non-nullable type: 'String' within parent 'Room' (/rooms[1]/name)",
            },
            {
                "path": ["room", "members", 1, "strict"],
                "locations": None,
                "message": "Cannot return null for non-nullable type: 'String' within parent 'User' "
                "(/room/members[1]/strict)",
            },
        ],
    }
    done = await run("{ strict left }", resolvers)
    assert done.response == {"data": None, "errors": [describe(["strict"], 3, "failed", "Code")]}


async def test_a_null_ends_the_calls_beside_it() -> None:
    ended = asyncio.Event()
    begun = asyncio.Event()

    async def hang(_: Invocation) -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    async def fail_then(_: Invocation) -> None:
        await begun.wait()
        raise ResolverFault("failed")

    done = await run("{ left strict }", by_place(Query__left=hang, Query__strict=fail_then))
    assert done.response["data"] is None
    assert ended.is_set()


async def test_what_a_null_has_left_behind_is_not_begun() -> None:
    """`name` is null where it cannot be, which is known before its sibling's call has begun."""
    resolvers = by_place(Query__room=lambda _: {"id": "1"}, Room__owner=lambda _: {"id": "o"})
    done = await run("{ room(id: 1) { owner { id } name } }", resolvers)
    assert done.response["data"] == {"room": None}
    for _ in range(5):
        await asyncio.sleep(0)
    assert resolvers["Room", "owner"].calls == []


async def test_calls_of_a_request_are_limited() -> None:
    resolvers = by_place(
        Query__rooms=lambda _: [{"id": str(number)} for number in range(4)], Room__owner=lambda _: {"id": "o"}
    )
    done = await run("{ rooms { owner { id } } }", resolvers, max_resolvers_per_request=3)
    assert done.response["data"]["rooms"] == [{"owner": {"id": "o"}}] * 2 + [{"owner": None}] * 2
    assert done.response["errors"] == [
        describe(["rooms", number, "owner"], 11, "Resolver invocation limit reached.", "ResolverExecutionLimitReached")
        for number in (2, 3)
    ]
    assert len(resolvers["Room", "owner"].calls) == 2


async def test_what_is_not_available_can_be_asked_again() -> None:
    def refuse(_: Invocation) -> None:
        raise Unavailable("redis://user:secret@host")

    done = await run("{ left }", by_place(Query__left=refuse))
    [error] = done.response["errors"]
    assert error["errorType"] == "ServiceUnavailableException"
    assert "secret" not in str(error)


async def test_a_defect_of_ours_is_logged_and_not_told(caplog: pytest.LogCaptureFixture) -> None:
    def break_(_: Invocation) -> None:
        raise ValueError("secret")

    with caplog.at_level(logging.ERROR):
        done = await run("{ left }", by_place(Query__left=break_))
    assert done.response == {
        "data": {"left": None},
        "errors": [{**describe(["left"], 3, "Internal error.", "InternalFailure")}],
    }
    [record] = caplog.records
    assert record.exc_info is not None
    assert "Query.left" in record.getMessage()


async def test_when_the_time_is_over_no_call_is_begun_and_what_was_done_stays() -> None:
    calls = 0

    async def wait(begin: Any) -> Resolved:
        nonlocal calls
        calls += 1
        if calls > 1:
            raise TimeoutError
        return await begin()

    resolvers = by_place(Mutation__change=lambda _: "done")
    done = await run("mutation { change b: change }", resolvers, wait=wait)
    assert done.response["data"] == {"change": "done", "b": None}
    assert done.response["errors"] == [describe(["b"], 19, "Execution timed out.", "ExecutionTimeout")]
    assert events(done) == [("change", "done")]
    assert len(resolvers["Mutation", "change"].calls) == 1


async def test_what_cannot_be_written_is_left_out_of_an_error() -> None:
    resolvers = by_place(Query__left=fail("no", error_info=nest(300)), Query__right=fail("no", error_info=nest(200)))
    done = await run("{ left right }", resolvers)
    assert [error["errorInfo"] for error in done.response["errors"]] == [None, nest(200)]
    orjson.dumps(done.response)


async def test_what_is_left_behind_before_it_has_begun_is_not_warned_of() -> None:
    resolvers = by_place(Query__left="l", Query__right="r")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        running = asyncio.ensure_future(run("{ left right }", resolvers))
        await asyncio.sleep(0)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        gc.collect()
    assert [str(each.message) for each in caught] == []
