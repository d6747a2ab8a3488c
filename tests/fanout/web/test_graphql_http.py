"""`POST /graphql`: AppSync's HTTP shapes, and that events are published before the answer."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import orjson
import pytest
from graphql import get_introspection_query
from hypothesis import given
from hypothesis import strategies as st

from fanout.api import Api
from fanout.auth import FieldRules, Modes
from fanout.errors import BadRequest, Unavailable
from fanout.model import AuthDirective, AuthMode
from fanout.schema import Invalidate, Resolved, parse_schema
from fanout.settings import Settings
from fanout.web.body import HttpLimits
from fanout.web.graphql_http import GraphqlRequest, parse_request
from tests.fanout.schema.resolvers import by_place
from tests.fanout.web.conftest import AWAY, PUBLISHER_KEY, RememberingAdministration, RememberingBus

CREATE = "mutation Create($input: MessageInput!) { created: createMessage(input: $input) { id roomId body: text } }"
VARIABLES = {"input": {"roomId": "r1", "text": "hi"}}


async def _post(client: httpx.AsyncClient, query: str, variables: object = None, name: object = None) -> httpx.Response:
    return await client.post("/graphql", json={"query": query, "variables": variables, "operationName": name})


async def test_a_mutation_publishes_what_it_selected(subscriber: httpx.AsyncClient, bus: RememberingBus) -> None:
    response = await _post(subscriber, CREATE, VARIABLES)
    assert response.status_code == 200
    assert response.headers["content-type"] == "application/json"
    created = response.json()["data"]["created"]
    assert (created["roomId"], created["body"]) == ("r1", "hi")
    assert "errors" not in response.json()
    [event] = bus.events
    assert event.mutation == "createMessage"
    assert orjson.loads(event.data) == {"id": created["id"], "roomId": "r1", "text": "hi"}


async def test_closed_fields_are_those_of_who_asks(
    subscriber: httpx.AsyncClient, bus: RememberingBus, api: Api
) -> None:
    rules = FieldRules(
        {("Message", "text"): (AuthDirective("aws_iam"),), ("Mutation", "setVolume"): (AuthDirective("aws_iam"),)},
        Modes(AuthMode.API_KEY, frozenset({AuthMode.API_KEY, AuthMode.IAM})),
        {"Mutation"},
    )
    api.become(Api(api.schema, Settings(), rules.access_of))
    answer = (await _post(subscriber, CREATE, VARIABLES)).json()
    assert answer["data"]["created"]["body"] is None
    assert answer["errors"] == [
        {
            "path": ["created", "body"],
            "data": None,
            "errorType": "Unauthorized",
            "errorInfo": None,
            "locations": [{"line": 1, "column": CREATE.index("body") + 1, "sourceName": None}],
            "message": "Not Authorized to access text on type Message",
        }
    ]
    [event] = bus.events
    assert b"hi" not in event.data
    response = await _post(subscriber, "mutation { setVolume(volume: 1) }")
    assert response.status_code == 200
    assert response.json()["data"] == {"setVolume": None}
    assert len(bus.events) == 1


async def test_the_answer_waits_for_the_bus(subscriber: httpx.AsyncClient, bus: RememberingBus) -> None:
    bus.may_go_on.clear()
    asked = asyncio.create_task(_post(subscriber, CREATE, VARIABLES))
    await bus.was_called.wait()
    assert not asked.done()
    bus.may_go_on.set()
    assert (await asked).status_code == 200
    assert len(bus.events) == 1


async def test_several_mutations_go_out_in_one_call(subscriber: httpx.AsyncClient, bus: RememberingBus) -> None:
    query = (
        "mutation { a: setVolume(volume: 1) b: createMessage(input: {roomId: 2}) { roomId } c: setVolume(volume: 3) }"
    )
    response = await _post(subscriber, query)
    assert response.json() == {"data": {"a": 1.0, "b": {"roomId": "2"}, "c": 3.0}}
    [call] = bus.calls
    assert [(event.mutation, event.data) for event in call] == [
        ("setVolume", b"1.0"),
        ("createMessage", b'{"roomId":"2"}'),
        ("setVolume", b"3.0"),
    ]


async def test_the_bus_is_away(subscriber: httpx.AsyncClient, bus: RememberingBus) -> None:
    bus.failure = AWAY
    response = await _post(subscriber, CREATE, VARIABLES)
    assert response.status_code == 503
    assert response.headers["retry-after"] == "1"
    assert response.headers["x-amzn-errortype"] == "ServiceUnavailableException"
    body = response.json()
    assert body["data"] is None
    assert body["errors"][0]["errorType"] == "ServiceUnavailableException"
    assert body["errors"][0]["message"].endswith("send the mutation again later")
    assert "secret" not in response.text


async def test_queries_do_not_need_the_bus(subscriber: httpx.AsyncClient, bus: RememberingBus) -> None:
    bus.failure = AWAY
    response = await _post(subscriber, "query($id: ID!) { getRoom(id: $id) { id } __typename }", {"id": "1"})
    assert (response.status_code, response.json()) == (200, {"data": {"getRoom": None, "__typename": "Query"}})
    assert bus.calls == []


async def test_introspection(subscriber: httpx.AsyncClient) -> None:
    response = await _post(subscriber, get_introspection_query(), None, "IntrospectionQuery")
    names = {described["name"] for described in response.json()["data"]["__schema"]["types"]}
    assert {"Message", "Mutation", "Subscription", "AWSDateTime"} <= names


@pytest.mark.parametrize(
    ("query", "variables", "name", "message"),
    [
        ("{", None, None, "Syntax Error: Expected Name, found <EOF>."),
        ("{ nothing }", None, None, "Cannot query field 'nothing' on type 'Query'."),
        (CREATE, {}, None, "Variable '$input' has invalid value: Expected a value of non-null"),
        (CREATE, VARIABLES, "Other", "Unknown operation named 'Other'."),
        ("query A { __typename } query B { __typename }", None, None, "Must provide operation name"),
        ("subscription { onCreateMessage { id } }", None, None, "WebSocket"),
        ("{ " + "getRoom(id: 1) { id } " * 4000 + "}", None, None, ""),
        ("{ a " * 500 + "}" * 500, None, None, ""),
    ],
)
async def test_graphql_errors_are_answers(
    subscriber: httpx.AsyncClient, bus: RememberingBus, query: str, variables: object, name: object, message: str
) -> None:
    response = await _post(subscriber, query, variables, name)
    assert response.status_code in (200, 400)
    assert message in response.json()["errors"][0]["message"]
    assert not response.json().get("data")
    assert bus.calls == []


async def test_hostile_variables_harm_nobody(subscriber: httpx.AsyncClient, bus: RememberingBus) -> None:
    nested = b'{"roomId":1,"and":[' * 400 + b'{"roomId":1}' + b"]}" * 400
    body = b'{"query":' + orjson.dumps(CREATE) + b',"variables":{"input":' + nested + b"}}"
    response = await subscriber.post("/graphql", content=body)
    assert response.status_code in (200, 400)
    assert response.json()["errors"]
    assert bus.calls == []


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "the request has no body"),
        (b"query=1", "the request body is not valid JSON"),
        (b"[]", "batches are not supported"),
        (b'"{ a }"', "the body is not a JSON object"),
        (b"{}", '"query" has to be a string that holds a GraphQL document'),
        (b'{"query":null}', '"query" has to be a string that holds a GraphQL document'),
        (b'{"query":" "}', '"query" has to be a string that holds a GraphQL document'),
        (b'{"query":["{ a }"]}', '"query" has to be a string that holds a GraphQL document'),
        (b'{"query":"{ a }","variables":"{}"}', '"variables" has to be a JSON object, or left out'),
        (b'{"query":"{ a }","variables":[]}', '"variables" has to be a JSON object, or left out'),
        (b'{"query":"{ a }","operationName":1}', '"operationName" has to be a string, or left out'),
    ],
)
async def test_malformed_requests(subscriber: httpx.AsyncClient, body: bytes, message: str) -> None:
    response = await subscriber.post("/graphql", content=body)
    assert response.status_code == 400
    assert response.headers["x-amzn-errortype"] == "BadRequestException"
    assert response.json()["errors"][0]["message"].startswith(message)


async def test_too_many_bytes(subscriber: httpx.AsyncClient) -> None:
    response = await _post(subscriber, "{ __typename } #" + "x" * HttpLimits().graphql_body_bytes)
    assert response.status_code == 413


@pytest.mark.parametrize("key", [None, "", "wrong", PUBLISHER_KEY])
async def test_only_api_keys(http: httpx.AsyncClient, bus: RememberingBus, key: str | None) -> None:
    headers = {} if key is None else {"x-api-key": key}
    response = await http.post("/graphql", json={"query": CREATE, "variables": VARIABLES}, headers=headers)
    assert response.status_code == 401
    assert response.headers["x-amzn-errortype"] == "UnauthorizedException"
    [error] = response.json()["errors"]
    assert error == {"errorType": "UnauthorizedException", "message": error["message"]}
    assert error["message"]
    assert not key or key not in response.text
    assert bus.calls == []


@pytest.mark.parametrize(
    ("method", "path"), [("GET", "/graphql"), ("GET", "/graphql/realtime"), ("POST", "/graphql/realtime")]
)
async def test_plain_http_is_told_what_to_do(http: httpx.AsyncClient, method: str, path: str) -> None:
    response = await http.request(method, path, params={"query": "{ __typename }"})
    assert response.status_code == 426
    assert response.headers["upgrade"] == "websocket"
    assert response.headers["connection"] == "Upgrade"
    message = response.json()["errors"][0]["message"]
    assert "POST to /graphql" in message
    assert "WebSocket" in message


def test_absent_parameters_have_defaults() -> None:
    assert parse_request({"query": "{ a }"}) == GraphqlRequest("{ a }", {}, None)
    assert parse_request({"query": "{ a }", "variables": None, "operationName": None, "extensions": 1}) == (
        GraphqlRequest("{ a }", {}, None)
    )


_VALUES = st.none() | st.text() | st.integers() | st.lists(st.integers()) | st.dictionaries(st.text(), st.integers())


@given(_VALUES | st.fixed_dictionaries({}, optional={"query": _VALUES, "variables": _VALUES, "operationName": _VALUES}))
def test_any_json_gives_a_request_or_a_client_fault(body: Any) -> None:
    try:
        asked = parse_request(body)
    except BadRequest:
        return
    assert (asked.query, asked.operation_name) == (body["query"], body.get("operationName"))


async def test_the_position_is_that_of_before_the_request(subscriber: httpx.AsyncClient, bus: RememberingBus) -> None:
    body = {"query": CREATE, "variables": VARIABLES, "extensions": {"fanout": {}}}
    answers = [(await subscriber.post("/graphql", json=body)).json() for _ in range(2)]
    assert [answer["extensions"] for answer in answers] == [{"fanout": {"position": f"at-{n}"}} for n in (0, 1)]
    assert all("created" in answer["data"] for answer in answers)
    answer = (await subscriber.post("/graphql", json={"query": "{ __typename }", "extensions": {"fanout": {}}})).json()
    assert answer == {"data": {"__typename": "Query"}, "extensions": {"fanout": {"position": "at-2"}}}


@pytest.mark.parametrize("extensions", [None, {}, {"fanout": None}, {"fanout": {"positions": False}}, 5, {"other": {}}])
async def test_who_does_not_ask_is_told_no_position(subscriber: httpx.AsyncClient, extensions: Any) -> None:
    response = await subscriber.post("/graphql", json={"query": "{ __typename }", "extensions": extensions})
    assert response.json() == {"data": {"__typename": "Query"}}


@pytest.mark.parametrize(
    "asked", [5, {"after": "abc"}, {"overflow": "latest"}, {"unknown": 1}, {"positions": "yes"}], ids=repr
)
async def test_a_wrong_wish_is_refused(subscriber: httpx.AsyncClient, bus: RememberingBus, asked: Any) -> None:
    body = {"query": CREATE, "variables": VARIABLES, "extensions": {"fanout": asked}}
    response = await subscriber.post("/graphql", json=body)
    assert response.status_code == 400
    assert "extensions.fanout" in response.json()["errors"][0]["message"]
    assert bus.calls == []


async def test_without_a_position_nothing_is_executed(subscriber: httpx.AsyncClient, bus: RememberingBus) -> None:
    bus.failure = AWAY
    body = {"query": CREATE, "variables": VARIABLES, "extensions": {"fanout": {}}}
    response = await subscriber.post("/graphql", json=body)
    assert response.status_code == 503
    assert bus.calls == []


def _resolve(api: Api, settings: Settings | None = None, **answers: Any) -> Any:
    resolvers = by_place(**answers)
    api.become(Api(api.schema, settings or Settings(), resolvers=resolvers))
    return resolvers


async def test_resolvers_see_who_asks_and_how(subscriber: httpx.AsyncClient, api: Api, bus: RememberingBus) -> None:
    resolvers = _resolve(api, Mutation__setVolume=lambda call: call.arguments["volume"] * 2)
    response = await subscriber.post(
        "/graphql", json={"query": "mutation { setVolume(volume: 1.5) }"}, headers={"X-Tenant": "t1"}
    )
    assert response.json() == {"data": {"setVolume": 3}}
    [call] = resolvers["Mutation", "setVolume"].calls
    assert call.caller.identity.mode == AuthMode.API_KEY
    assert call.caller.headers["x-tenant"] == "t1"
    assert [(event.mutation, event.data) for event in bus.events] == [("setVolume", b"3.0")]


async def test_invalidations_are_ordered_when_the_events_are_published(
    subscriber: httpx.AsyncClient, api: Api, bus: RememberingBus, administration: RememberingAdministration
) -> None:
    wishes = (Invalidate("onCreateMessage", {"roomId": "r"}), Invalidate("onCreateMessage", {}))
    _resolve(api, Mutation__setVolume=lambda _: Resolved(1, invalidations=wishes))
    bus.may_go_on.clear()
    asked = asyncio.create_task(_post(subscriber, "mutation { setVolume(volume: 1) }"))
    await bus.was_called.wait()
    assert administration.orders == []
    bus.may_go_on.set()
    assert (await asked).json() == {"data": {"setVolume": 1}}
    assert administration.orders == [
        ("order invalidation", "onCreateMessage", {"roomId": "r"}),
        ("order invalidation", "onCreateMessage", {}),
    ]
    bus.failure = AWAY
    assert (await _post(subscriber, "mutation { setVolume(volume: 1) }")).status_code == 503
    assert len(administration.orders) == 2


@pytest.mark.parametrize(
    ("failure", "error_type"),
    [(BadRequest("no filter"), "BadRequest"), (Unavailable("redis://secret"), "ServiceUnavailableException")],
)
async def test_an_invalidation_that_fails_is_told_beside_the_data(
    failure: Exception,
    error_type: str,
    subscriber: httpx.AsyncClient,
    api: Api,
    administration: RememberingAdministration,
    caplog: pytest.LogCaptureFixture,
) -> None:
    administration.failure = failure
    _resolve(api, Mutation__setVolume=lambda _: Resolved(1, invalidations=(Invalidate("onX", {}),)))
    response = await _post(subscriber, "mutation { setVolume(volume: 1) }")
    assert response.status_code == 200
    assert response.json()["data"] == {"setVolume": 1}
    [error] = response.json()["errors"]
    assert error["errorType"] == error_type
    assert "onX" in error["message"]
    assert "secret" not in response.text
    assert str(failure) in caplog.text


async def test_resolvers_that_take_too_long_are_ended(
    subscriber: httpx.AsyncClient, api: Api, bus: RememberingBus, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    read_clock = loop.time

    async def hang(_: Any) -> None:
        monkeypatch.setattr(loop, "time", lambda: read_clock() + 31)
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    _resolve(api, Mutation__setVolume=lambda _: 1, Mutation__deleteMessage=hang)
    query = 'mutation { setVolume(volume: 1) deleteMessage(id: "1") { id } last: setVolume(volume: 1) }'
    answer = (await _post(subscriber, query)).json()
    assert ended.is_set()
    assert answer["data"] is None
    [error] = answer["errors"]
    assert (error["path"], error["errorType"]) == (["deleteMessage"], "ExecutionTimeout")
    assert [event.mutation for event in bus.events] == ["setVolume"]


async def test_a_result_that_cannot_be_written_is_told(subscriber: httpx.AsyncClient, api: Api) -> None:
    schema = parse_schema("scalar Any type Query { any: Any }")
    nested: Any = 1
    for _ in range(300):
        nested = [nested]
    api.become(Api(schema, Settings(), resolvers=by_place(Query__any=lambda _: nested)))
    response = await _post(subscriber, "{ any }")
    assert response.status_code == 200
    assert response.json() == {"data": None, "errors": [{"message": "The result cannot be written as JSON."}]}


async def test_headers_that_resolvers_wish_for_are_sent(subscriber: httpx.AsyncClient, api: Api) -> None:
    headers = {"X-Cost": "3", "content-length": "1"}
    _resolve(api, Query__getRoom=lambda _: Resolved(None, headers=headers))
    response = await _post(subscriber, "{ getRoom(id: 1) { id } }")
    assert response.headers["x-cost"] == "3"
    assert response.json() == {"data": {"getRoom": None}}
