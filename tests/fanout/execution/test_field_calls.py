"""Resolvers in executions: what they see, in which order they are called, and what becomes of what they give."""

from __future__ import annotations

import asyncio
import gc
import logging
import warnings
from typing import Any

import orjson
import pytest

from fanout.errors import Unavailable
from fanout.execution.executor import ExecutionResult, Executor
from fanout.execution.field_calls import Wait, wait_for_ever
from fanout.model import AuthMode, Identity
from fanout.schema.resolving import Caller, Invalidate, Invocation, Resolved, ResolverFault
from fanout.schema.sdl import parse_schema
from fanout.settings import load_settings
from tests.fanout.schema.resolvers import Answering, by_place

SCHEMA = parse_schema(
    """
    type Query { room(id: ID!): Room rooms: [Room!] left: String right: String strict: String! plain: Room any: Any }
    type Room { id: ID! name: String! owner: User members(first: Int = 2): [User!] meta: AWSJSON }
    type User { id: ID! name: String friends: [User] strict: String! }
    union Any = Room | User
    input Deep { meta: AWSJSON all: [AWSJSON] next: Deep n: Int }
    type Mutation {
      create(name: String): Room
      change(input: Deep, meta: AWSJSON, name: String): String
      must(name: String): String!
      invite(room: ID): User
    }
    """
)
ANN = Caller(Identity(AuthMode.LAMBDA, {"resolverContext": {}}, "ann"), {"x-tenant": "t1"})
PLACE = {"line": 1, "column": 3, "sourceName": None}


async def run(
    query: str,
    resolvers: dict[tuple[str, str], Answering],
    variables: dict[str, Any] | None = None,
    access: Any = None,
    wait: Wait = wait_for_ever,
    **limits: int,
) -> ExecutionResult:
    executor = Executor(SCHEMA, load_settings(limits, {}), resolvers)
    done = executor.execute(query, variables, None, access, ANN, wait)
    return done if isinstance(done, ExecutionResult) else await done


def events(result: ExecutionResult) -> list[tuple[str, Any]]:
    return [(event.mutation, orjson.loads(event.data)) for event in result.events]


def fail(*arguments: Any, **fields: Any) -> Any:
    def answer(_: Invocation) -> Any:
        raise ResolverFault(*arguments, **fields)

    return answer


def describe(path: list[str | int], column: int, message: str, error_type: str, **fields: Any) -> dict[str, Any]:
    """AppSync's entry of `errors`."""
    return {
        "path": path,
        "data": None,
        "errorType": error_type,
        "errorInfo": None,
        "locations": [{"line": 1, "column": column, "sourceName": None}],
        "message": message,
        **fields,
    }


async def test_a_resolver_sees_what_it_is_asked_for() -> None:
    resolvers = by_place(Query__room=lambda _: {"id": "r1", "name": "one"}, Room__members=lambda _: [{"id": "u1"}])
    query = "query Q($id: ID!, $more: Int) { room(id: $id) { all: members(first: $more) { id } id } }"
    done = await run(query, resolvers, {"id": "r1", "unused": [1]})
    assert done == ExecutionResult({"data": {"room": {"all": [{"id": "u1"}], "id": "r1"}}}, ())
    [room] = resolvers["Query", "room"].calls
    assert (room.type_name, room.field_name, room.arguments, room.source) == ("Query", "room", {"id": "r1"}, None)
    assert (room.caller, room.variables) == (ANN, {"id": "r1", "unused": [1]})
    assert room.describe_selection().names == ("all", "all/id", "id")
    [members] = resolvers["Room", "members"].calls
    assert (members.type_name, members.field_name, members.arguments) == ("Room", "members", {"first": 2})
    assert members.source == {"id": "r1", "name": "one"}


async def test_nested_fields_are_resolved_for_each_parent() -> None:
    resolvers = by_place(
        Query__rooms=lambda _: [{"id": "a"}, {"id": "b"}],
        Room__members=lambda call: [{"id": f"{call.source['id']}{number}"} for number in range(2)],
        Room__name=lambda call: call.source["id"].upper(),
        User__friends=lambda call: [None, {"id": call.source["id"] + "x", "name": "f"}],
    )
    done = await run("{ rooms { name members { id friends { id name friends { id } } } } }", resolvers)
    assert done.response == {
        "data": {
            "rooms": [
                {
                    "name": room.upper(),
                    "members": [
                        {
                            "id": id_,
                            "friends": [
                                None,
                                {"id": f"{id_}x", "name": "f", "friends": [None, {"id": f"{id_}xx"}]},
                            ],
                        }
                        for id_ in (f"{room}0", f"{room}1")
                    ],
                }
                for room in "ab"
            ]
        }
    }
    assert len(resolvers["User", "friends"].calls) == 8


async def test_fields_beside_each_other_are_resolved_together() -> None:
    both = asyncio.Barrier(2)
    four = asyncio.Barrier(4)

    async def meet(barrier: asyncio.Barrier) -> str:
        await barrier.wait()
        return "met"

    resolvers = by_place(
        Query__left=lambda _: meet(both),
        Query__right=lambda _: meet(both),
        Query__rooms=lambda _: [{"id": "a"}, {"id": "b"}],
        Room__name=lambda _: meet(four),
        Room__owner=lambda _: meet(four),
    )
    async with asyncio.timeout(20):
        done = await run("{ left right rooms { name owner { id } } }", resolvers)
    assert done.response["data"]["left"] == "met"
    assert [room["name"] for room in done.response["data"]["rooms"]] == ["met", "met"]


async def test_mutation_fields_are_resolved_one_after_the_other() -> None:
    journal: list[str] = []

    async def note(call: Invocation) -> dict[str, str]:
        name = call.arguments["name"]
        journal.append(f"{name} begins")
        for _ in range(3):
            await asyncio.sleep(0)
        journal.append(f"{name} ends")
        return {"id": name}

    async def own(call: Invocation) -> dict[str, str]:
        await asyncio.sleep(0)
        journal.append(f"owner of {call.source['id']}")
        return {"id": "o"}

    names = [f"m{number}" for number in range(200)]
    fields = " ".join(f'{name}: create(name: "{name}") {{ id owner {{ id }} }}' for name in names)
    resolvers = by_place(Mutation__create=note, Room__owner=own)
    done = await run(f"mutation {{ {fields} }}", resolvers, max_document_tokens=10_000)
    assert journal == [line for name in names for line in (f"{name} begins", f"{name} ends", f"owner of {name}")]
    assert [event[1]["id"] for event in events(done)] == names


async def test_a_field_without_a_resolver_takes_its_value_from_its_parent() -> None:
    resolvers = by_place(Mutation__create=lambda _: {"id": "1", "name": "n", "owner": {"id": "o"}})
    done = await run(
        'mutation { create(name: "x") { id owner { id name } } change(name: "as ever", meta: null) }', resolvers
    )
    assert done.response["data"] == {"create": {"id": "1", "owner": {"id": "o", "name": None}}, "change": None}
    done = await run("{ room(id: 1) { id } plain { id owner { id } } }", by_place(Query__room=lambda _: None))
    assert done.response == {"data": {"room": None, "plain": None}}


async def test_json_arguments_are_parsed_and_json_results_written() -> None:
    resolvers = by_place(
        Mutation__change=lambda call: orjson.dumps(call.arguments).decode(),
        Query__room=lambda _: {"id": 1, "name": "n", "meta": {"a": [1]}},
    )
    variables = {"deep": {"all": ["1", None, '"x"'], "next": {"meta": "[true]", "n": 1}}}
    done = await run('mutation ($deep: Deep) { change(input: $deep, meta: "{\\"a\\": 1}") }', resolvers, variables)
    assert orjson.loads(done.response["data"]["change"]) == {
        "input": {"all": [1, None, "x"], "next": {"meta": [True], "n": 1}},
        "meta": {"a": 1},
    }
    assert resolvers["Mutation", "change"].calls[0].variables == variables
    assert (await run("{ room(id: 1) { meta } }", resolvers)).response == {"data": {"room": {"meta": '{"a":[1]}'}}}


async def test_the_type_of_a_value_is_what_it_says() -> None:
    answers = iter([{"__typename": "User", "id": 1}, {"id": 1}])
    resolvers = by_place(Query__any=lambda _: next(answers), User__name=lambda _: "ann")
    query = "{ any { ... on User { name } ... on Room { owner { id } } } }"
    assert (await run(query, resolvers)).response == {"data": {"any": {"name": "ann"}}}
    done = await run(query, resolvers)
    assert done.response["data"] == {"any": None}
    assert "must resolve to an Object type" in done.response["errors"][0]["message"]


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


async def test_fields_below_a_mutation_without_a_resolver_are_resolved() -> None:
    schema = parse_schema(
        """
        type Query { a: Int }
        input RoomInput { name: String }
        type Room { id: ID! name: String shout: String }
        type Mutation { create(input: RoomInput!): Room }
        """
    )
    resolvers = by_place(Room__shout=lambda call: call.source["name"].upper())
    executor = Executor(schema, resolvers=resolvers, new_id=lambda: "id-1")
    done = executor.execute('mutation { create(input: {name: "n"}) { id shout } }')
    assert not isinstance(done, ExecutionResult)
    done = await done
    assert done.response == {"data": {"create": {"id": "id-1", "shout": "N"}}}
    assert events(done) == [("create", {"id": "id-1", "shout": "N"})]


class Closed:
    """An access to everything but some places."""

    def __init__(self, *places: str) -> None:
        self._places = places

    def may_use(self, type_name: str, field_name: str) -> bool:
        return f"{type_name}.{field_name}" not in self._places


async def test_a_field_that_is_not_open_is_not_resolved() -> None:
    resolvers = by_place(
        Mutation__create=lambda _: {"id": "1", "name": "n"},
        Room__owner=lambda _: {"id": "o", "name": "ann"},
        Mutation__change=lambda _: "changed",
    )
    closed = Closed("Mutation.change", "User.name", "Room.members")
    query = "mutation { change create { id owner { id name } members { id } } }"
    done = await run(query, resolvers, access=closed)
    assert done.response == {
        "data": {"change": None, "create": {"id": "1", "owner": {"id": "o", "name": None}, "members": None}},
        "errors": [
            describe(["change"], 12, "Not Authorized to access change on type Mutation", "Unauthorized"),
            describe(["create", "owner", "name"], 42, "Not Authorized to access name on type User", "Unauthorized"),
            describe(["create", "members"], 49, "Not Authorized to access members on type Room", "Unauthorized"),
        ],
    }
    assert resolvers["Mutation", "change"].calls == []
    assert events(done) == [("create", {"id": "1", "owner": {"id": "o", "name": None}, "members": None})]


async def test_what_is_not_open_is_not_told_by_an_error_either() -> None:
    data = {"id": "r", "name": "secret", "owner": {"id": "o", "name": "secret"}}
    fault = ResolverFault("but", data=data)
    resolvers = by_place(
        Query__room=fail("no", data=data, appended=(fault,)),
        Query__plain=lambda _: Resolved(None, (fault,)),
    )
    query = "{ room(id: 1) { id owner { id name } } plain { id owner { name } } }"
    done = await run(query, resolvers, access=Closed("User.name"))
    assert [error["data"] for error in done.response["errors"]] == [
        {"id": "r", "owner": {"id": "o", "name": None}},
        {"id": "r", "owner": {"id": "o", "name": None}},
        {"id": "r", "owner": {"name": None}},
    ]


async def test_a_mutation_that_failed_has_no_event() -> None:
    resolvers = by_place(
        Mutation__create=fail("no"),
        Mutation__change=lambda _: Resolved("changed", (ResolverFault("but"),)),
        Mutation__invite=lambda _: None,
        Mutation__must=lambda _: None,
    )
    done = await run("mutation { create { id } change invite { id } last: change }", resolvers)
    assert events(done) == [("change", "changed"), ("change", "changed")]
    assert [error["message"] for error in done.response["errors"]] == ["no", "but", "but"]
    done = await run("mutation { change must last: change }", resolvers)
    assert done.response["data"] is None
    assert events(done) == [("change", "changed")]


async def test_events_have_what_nested_resolvers_made_by_name() -> None:
    def list_members(call: Invocation) -> list[dict[str, Any]]:
        return [{"id": f"{call.arguments['first']}{number}"} for number in range(2)]

    resolvers = by_place(
        Mutation__create=lambda call: {"id": "1", "name": call.arguments["name"], "members": "raw", "owner": {"id": 0}},
        Room__members=list_members,
        Room__owner=fail("no owner"),
        User__name=lambda call: f"user {call.source['id']}",
    )
    query = """mutation {
        made: create(name: "n") { x: id a: members(first: 1) { name } b: members(first: 9) { id } owner { id } }
    }"""
    done = await run(query, resolvers)
    assert done.response["data"]["made"] == {
        "x": "1",
        "a": [{"name": "user 10"}, {"name": "user 11"}],
        "b": [{"id": "90"}, {"id": "91"}],
        "owner": None,
    }
    members = [{"name": "user 10", "id": "10"}, {"name": "user 11", "id": "11"}]
    assert events(done) == [("create", {"id": "1", "members": members, "owner": None})]
    assert resolvers["Room", "owner"].calls[0].source["members"] == "raw"


async def test_values_that_are_no_objects_have_fields_by_resolvers() -> None:
    resolvers = by_place(
        Mutation__create=lambda _: {"id": "1", "owner": "ann"},
        Mutation__invite=lambda _: "bob",
        Room__members=lambda _: ["eve", None, {"id": "dan"}],
        User__name=lambda call: f"name of {call.source}",
    )
    query = "mutation { create { id owner { name } members { name } } invite { name friends { name } } }"
    done = await run(query, resolvers)
    created = {
        "id": "1",
        "owner": {"name": "name of ann"},
        "members": None,  # one of them is null, which it cannot be
    }
    invited = {"name": "name of bob", "friends": None}
    assert done.response["data"] == {"create": created, "invite": invited}
    assert events(done) == [("create", created), ("invite", invited)]
    resolvers |= by_place(Room__members=lambda _: ["eve", {"id": "dan"}])
    done = await run("mutation { create { members { name } } }", resolvers)
    made = {"members": [{"name": "name of eve"}, {"name": "name of {'id': 'dan'}"}]}
    assert (done.response["data"]["create"], events(done)) == (made, [("create", made)])
    resolvers |= by_place(Query__room=lambda _: {"owner": "o"}, User__id=lambda call: call.source)
    done = await run("{ room(id: 1) { owner { name id } } }", resolvers)
    assert done.response == {"data": {"room": {"owner": {"name": "name of o", "id": "o"}}}}


async def test_an_event_holds_null_where_its_mutation_does() -> None:
    resolvers = by_place(
        Mutation__create=lambda _: {"id": "1"}, Room__members=lambda _: [{"id": "u"}], User__strict=fail("no")
    )
    done = await run("mutation { create { id members { id strict } } }", resolvers)
    assert done.response["data"] == {"create": {"id": "1", "members": None}}
    assert events(done) == [("create", {"id": "1", "members": None})]


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


def invalidate(*numbers: int) -> Resolved:
    return Resolved("x", invalidations=tuple(Invalidate("onX", {"n": number, "m": 0}) for number in numbers))


async def test_invalidations_are_gathered_each_once() -> None:
    wishes = iter([(1, 2), (2, 3, 4, 5)])
    done = await run("mutation { change b: change }", by_place(Mutation__change=lambda _: invalidate(*next(wishes))))
    assert "errors" not in done.response
    assert done.invalidations == tuple(Invalidate("onX", {"n": number, "m": 0}) for number in range(1, 6))


async def test_the_sixth_invalidation_is_an_error_of_its_field() -> None:
    wishes = iter([(1, 2, 3, 4), (5, 6), (4, 5)])
    done = await run(
        "mutation { change b: change c: change }", by_place(Mutation__change=lambda _: invalidate(*next(wishes)))
    )
    message = "A request can invalidate subscriptions at most 5 times."
    assert done.response == {
        "data": {"change": "x", "b": None, "c": "x"},
        "errors": [describe(["b"], 19, message, "BadRequest")],
    }
    assert [wish.payload["n"] for wish in done.invalidations] == [1, 2, 3, 4, 5]
    assert len(done.events) == 2


async def test_a_payload_that_cannot_be_written_is_an_error_of_its_field() -> None:
    deep = Resolved("x", invalidations=(Invalidate("onX", {"a": nest(300)}),))
    done = await run("mutation { change }", by_place(Mutation__change=lambda _: deep))
    assert done.invalidations == done.events == ()
    assert [error["errorType"] for error in done.response["errors"]] == ["BadRequest"]


async def test_a_query_cannot_invalidate() -> None:
    done = await run("{ left }", by_place(Query__left=lambda _: invalidate(1)))
    assert done.response["data"] == {"left": None}
    assert done.invalidations == ()


async def test_headers_of_the_response_are_gathered() -> None:
    resolvers = by_place(
        Mutation__change=lambda _: Resolved("x", headers={"a": "1", "b": "1"}),
        Mutation__must=lambda _: Resolved("x", headers={"b": "2"}),
    )
    assert (await run("mutation { change must }", resolvers)).headers == {"a": "1", "b": "2"}
    failing = by_place(Mutation__change=fail("no", headers={"c": "3"}))
    assert (await run("mutation { change }", failing)).headers == {"c": "3"}


def nest(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = [value]
    return value


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
