"""Resolvers in executions: what they see, in which order they are called, and what becomes of what they give."""

from __future__ import annotations

import asyncio
from typing import Any

import orjson

from fanout.execution.executor import ExecutionResult, Executor
from fanout.schema.resolving import Invalidate, Invocation, Resolved, ResolverFault
from fanout.schema.sdl import parse_schema
from tests.fanout.execution.api import ANN, describe, events, fail, nest, run
from tests.fanout.schema.resolvers import by_place


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
