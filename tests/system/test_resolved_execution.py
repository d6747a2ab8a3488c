"""Documents over HTTP by real resolver files in real processes: nesting, errors, limits, and what subscribers get."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.served import API_KEY, Served, open_appsync, serve, wait_until

SDL = """
type Room { id: ID! name: String! owner: User members(first: Int): [User!] meta: AWSJSON }
type User { id: ID! name: String friends: [User!] rank: Int! }
type Query { rooms: [Room!] broken: String slow: String caller: AWSJSON }
type Mutation { createRoom(name: String!, meta: AWSJSON): Room  refuse(name: String): Room  slowly: Room }
type Subscription { onRoom(id: ID): Room @aws_subscribe(mutations: ["createRoom", "refuse", "slowly"]) }
"""
RESOLVERS = {
    "Query.rooms": "return [{ id: 'a', name: 'A' }, { id: 'b', name: 'B' }];",
    "Query.broken": "return ctx.args.nothing.length;",
    "Query.slow": "return ctx.error ? util.error(ctx.error.message, 'Slow') : 'fast';",
    "Query.caller": """
        util.http.addResponseHeader('x-seen', ctx.info.variables.v);
        return ctx.request.headers['x-tenant'];
    """,
    "Mutation.createRoom": """
        const { name, meta } = ctx.args;
        return { id: 'r1', name: name.trim(), meta: { seen: meta.n + 1 }, owner: { id: 'raw' } };
    """,
    "Mutation.refuse": """
        util.appendError('first this', 'Warning');
        util.error('no', 'Refused', { id: 'r0', name: 'kept', owner: { id: 'o', name: 'n' } }, { code: 7 });
    """,
    "Mutation.slowly": "return null;",
    "Room.owner": "return { id: ctx.source.id + '-owner', name: ctx.info.selectionSetList.join() };",
    "Room.members": """
        return Array.from({ length: ctx.args.first ?? 2 }, (_, n) => ({ id: ctx.source.id + n, rank: n }));
    """,
    "User.friends": "return [{ id: ctx.source.id + '-friend', rank: ctx.source.rank }];",
}
MODULE = """
import {{ util }} from '@aws-appsync/utils';
export function request(ctx) {{
  return {request};
}}
export function response(ctx) {{
  {response}
}}
"""
GET = "{ method: 'GET', resourcePath: '/', params: {} }"
FILE = """
schema = "api.graphql"
resolvers = "resolvers"
request_execution_timeout_ms = 3000
max_resolvers_per_request = 40
[resolver."Query.slow"]
data_source = "silent"
[resolver."Mutation.slowly"]
data_source = "silent"
[data_source.silent]
type = "HTTP"
endpoint = "http://127.0.0.1:{port}"
timeout_ms = 60000
"""


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    directory: Path = tmp_path_factory.mktemp("api")
    (directory / "api.graphql").write_text(SDL)
    (directory / "resolvers").mkdir()
    for name, body in RESOLVERS.items():
        request = GET if name in ("Query.slow", "Mutation.slowly") else "{}"
        text = MODULE.format(request=request, response=body)
        (directory / "resolvers" / f"{name}.js").write_text(text)
    with socket.create_server(("127.0.0.1", 0)) as silent:  # accepts, by its backlog, and never answers
        (directory / "fanout.toml").write_text(FILE.format(port=silent.getsockname()[1]))
        with serve("--config", "fanout.toml", directory=directory) as one:
            # Until the processes run, which takes its time on a busy machine.
            wait_until(lambda: "errors" not in ask(one, "{ rooms { id } }").json())
            yield one


def ask(served: Served, query: str, variables: Any = None, headers: Any = None) -> httpx.Response:
    response = httpx.post(
        f"{served.url}/graphql",
        headers={"x-api-key": API_KEY, **(headers or {})},
        json={"query": query, "variables": variables},
        timeout=30,
    )
    assert response.status_code == 200, response.text
    return response


def test_fields_of_types_are_resolved_on_all_levels(served: Served) -> None:
    query = "{ rooms { name owner { key: id name } members(first: 1) { id friends { id friends { id rank } } } } }"
    assert ask(served, query).json() == {
        "data": {
            "rooms": [
                {
                    "name": id.upper(),
                    "owner": {"key": f"{id}-owner", "name": "key,name"},
                    "members": [
                        {
                            "id": f"{id}0",
                            "friends": [
                                {"id": f"{id}0-friend", "friends": [{"id": f"{id}0-friend-friend", "rank": 0}]},
                            ],
                        }
                    ],
                }
                for id in "ab"
            ]
        }
    }


async def test_subscribers_get_what_nested_resolvers_made(served: Served) -> None:
    async with open_appsync(served.url) as client:
        await client.initialise()
        await client.subscribe("s", "subscription { onRoom { id name meta owner { id } members { id rank } } }")
        query = """mutation ($m: AWSJSON) {
            made: createRoom(name: " n ", meta: $m) { id called: name meta owner { id } members { id } }
        }"""
        answer = ask(served, query, {"m": '{"n": 1}'}).json()
        members = [{"id": "r10"}, {"id": "r11"}]
        assert answer == {
            "data": {
                "made": {
                    "id": "r1",
                    "called": "n",
                    "meta": '{"seen":2}',
                    "owner": {"id": "r1-owner"},
                    "members": members,
                }
            }
        }
        refused = ask(served, "mutation { refuse { id owner { id } } }").json()
        ask(served, 'mutation { createRoom(name: "last", meta: "{\\"n\\": 9}") { id members { id rank } } }')
        _, payload = await client.receive_data()
        assert payload["data"]["onRoom"] == {
            "id": "r1",
            "name": "n",
            "meta": '{"seen":2}',
            "owner": {"id": "r1-owner"},
            "members": None,  # the mutation did not select what a member needs
        }
        assert "rank" in payload["errors"][0]["message"]
        _, payload = await client.receive_data()  # nothing of the one that was refused
    assert refused == {
        "data": {"refuse": None},
        "errors": [
            describe(["refuse"], 12, "first this", "Warning"),
            {
                **describe(["refuse"], 12, "no", "Refused"),
                "data": {"id": "r0", "owner": {"id": "o"}},
                "errorInfo": {"code": 7},
            },
        ],
    }


def describe(path: list[str], column: int, message: str, error_type: str) -> dict[str, Any]:
    locations = [{"line": 1, "column": column, "sourceName": None}]
    entry = {"path": path, "data": None, "errorType": error_type, "errorInfo": None}
    return {**entry, "locations": locations, "message": message}


def test_a_resolver_that_fails_is_one_error_among_values(served: Served) -> None:
    assert ask(served, "{ broken rooms { id } }").json() == {
        "data": {"broken": None, "rooms": [{"id": "a"}, {"id": "b"}]},
        "errors": [describe(["broken"], 3, "Runtime Error", "Code")],
    }


def test_calls_beyond_the_limit_are_errors_of_their_fields(served: Served) -> None:
    answer = ask(served, "{ rooms { id members(first: 30) { id friends { id } } } }").json()
    friends = [member["friends"] for room in answer["data"]["rooms"] for member in room["members"]]
    assert len(friends) == 60
    assert friends.count(None) == len(answer["errors"]) == 60 - (40 - 3)
    assert {error["errorType"] for error in answer["errors"]} == {"ResolverExecutionLimitReached"}
    paths = [error["path"] for error in answer["errors"]]
    assert paths == sorted(paths, key=lambda path: (path[1], path[3]))


def test_a_request_has_its_time(served: Served) -> None:
    answer = ask(served, "{ slow rooms { id } }").json()
    assert answer["data"] == {"slow": None, "rooms": [{"id": "a"}, {"id": "b"}]}
    assert answer["errors"] == [describe(["slow"], 3, "Execution timed out.", "ExecutionTimeout")]
    query = 'mutation { createRoom(name: "x", meta: "{}") { id } slowly { id } last: slowly { id } }'
    answer = ask(served, query).json()
    assert answer["data"] == {"createRoom": {"id": "r1"}, "slowly": None, "last": None}
    assert [error["errorType"] for error in answer["errors"]] == ["ExecutionTimeout"] * 2


def test_headers_come_in_and_go_out(served: Served) -> None:
    response = ask(served, "{ caller }", {"v": "7"}, {"X-Tenant": '"t1"'})
    assert response.json() == {"data": {"caller": '"t1"'}}
    assert response.headers["x-seen"] == "7"
