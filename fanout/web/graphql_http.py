"""`POST /graphql`: queries, introspection and mutations over HTTP. Does not know the bus or what executes.

A request that asks for it (`{"extensions": {"fanout": {}}}`) is told in `extensions.fanout.position` of the answer
where the streams were before it was executed: whoever subscribes from there gets all that the answer does not show.

A mutation's events are in the stream before the answer is sent, and after them the invalidations that its resolvers ask
for are told to all gateways. What the executor answers is sent as it is with status 200, errors included, as AppSync
does; 4xx is for requests that hold no GraphQL document.

An execution has `request_execution_timeout_ms`: the resolvers that are running then are ended, the others are not
begun, and their fields have an error. One that has begun is carried through although its client has gone.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

import orjson
from fastapi import APIRouter, Request, Response
from starlette.datastructures import Headers

from fanout.api import Api
from fanout.auth import Authorizer
from fanout.errors import BadRequest, ClientFault, Unavailable
from fanout.model import Call, CallKind, Overflow
from fanout.protocol.extensions import MEMBER, read_extensions
from fanout.schema import Caller
from fanout.web.answers import answer_errors, answer_json, answer_unavailable
from fanout.web.body import HttpLimits, parse_json, read_body
from fanout.web.entrance import Entrance
from fanout.web.events_http import Publish
from fanout.web.pace import Pace
from fanout.web.wishes import OrderInvalidation, Wishes

FindPosition = Callable[[], Awaitable[str]]
"""The position of this moment; raises `Unavailable`."""

PATHS = ("/graphql", "/graphql/realtime")


@dataclass(frozen=True, slots=True)
class GraphqlRequest:
    """The parameters of one request, checked for their kinds only."""

    query: str
    variables: Mapping[str, Any]
    operation_name: str | None
    wants_position: bool = False


def build_graphql_router(
    api: Api,
    publish: Publish,
    order_invalidation: OrderInvalidation,
    find_position: FindPosition,
    authorizer: Authorizer,
    limits: HttpLimits,
    entrance: Entrance,
) -> APIRouter:
    """The routes of `/graphql`, and what plain HTTP is told where a WebSocket is expected."""
    router = APIRouter()
    wishes = Wishes(order_invalidation)

    @router.post("/graphql")
    async def post_graphql(request: Request) -> Response:
        entrance.count(request)
        body = await read_body(request, limits.graphql_body_bytes)
        asked = _try_to_parse(body)
        call = _describe_call(request, body, asked, entrance.list_addresses(request))
        identity = await entrance.admit(request, lambda: authorizer.authorize_client(call))
        if isinstance(asked, ClientFault):
            raise asked
        # Before anything is looked at or changed: what is published from here on comes after it.
        position = await find_position() if asked.wants_position else None
        caller = Caller(identity, call.headers)
        pace = Pace(limits.execution_timeout_ms)
        result = await api.execute(asked.query, asked.variables, asked.operation_name, caller, pace.wait)
        if result.events:
            try:
                await publish(result.events)
            except Unavailable:
                return answer_unavailable(
                    "the mutation's event could not be published, the event bus cannot be reached now: "
                    "send the mutation again later",
                    data=None,
                )
        response = await wishes.carry_out(result) if result.invalidations else result.response
        if position is not None:
            response = _add_position(response, position)
        return _answer(response, wishes.choose_headers(result.headers) if result.headers else None)

    for path in PATHS:
        router.get(path)(_ask_for_upgrade)
    # Amplify's URL for WebSockets; POST there is a mix-up that a 405 would not explain.
    router.post("/graphql/realtime")(_ask_for_upgrade)
    return router


def parse_request(body: object) -> GraphqlRequest:
    """Check the parsed body; unknown members are ignored, as the GraphQL over HTTP draft asks.

    Raises:
        BadRequest: a body or member of the wrong kind.
    """
    if isinstance(body, list):
        raise BadRequest('batches are not supported: send one {"query": ...} object per request')
    if not isinstance(body, dict):
        raise BadRequest('the body is not a JSON object: send {"query": ..., "variables": ..., "operationName": ...}')
    query = body.get("query")
    if not isinstance(query, str) or not query.strip():
        raise BadRequest('"query" has to be a string that holds a GraphQL document')
    variables = body.get("variables")
    if variables is not None and not isinstance(variables, dict):
        raise BadRequest('"variables" has to be a JSON object, or left out')
    operation_name = body.get("operationName")
    if operation_name is not None and not isinstance(operation_name, str):
        raise BadRequest('"operationName" has to be a string, or left out')
    return GraphqlRequest(query, variables or {}, operation_name, _read_wish(body.get("extensions")))


def _answer(response: dict[str, Any], headers: dict[str, str] | None) -> Response:
    try:
        return answer_json(response, headers=headers)
    except orjson.JSONEncodeError:
        # Only in scalars of the schema's author: a resolver has nested what it gives too deeply.
        return answer_json({"data": None, "errors": [{"message": "The result cannot be written as JSON."}]})


def _try_to_parse(body: bytes) -> GraphqlRequest | ClientFault:
    """The request, or what is wrong with it: that is for those only who may send one."""
    try:
        return parse_request(parse_json(body))
    except ClientFault as fault:
        return fault


def _describe_call(
    request: Request, body: bytes, asked: GraphqlRequest | ClientFault, addresses: tuple[str, ...]
) -> Call:
    known = asked if isinstance(asked, GraphqlRequest) else GraphqlRequest("", {}, None)
    return Call(
        CallKind.HTTP,
        _join_headers(request.headers),
        body=body,
        path=request.scope.get("raw_path", b"/graphql").decode("ascii", "replace"),
        query_string=request.url.query,
        query=known.query,
        operation_name=known.operation_name,
        variables=known.variables,
        addresses=addresses,
    )


def _join_headers(headers: Headers) -> dict[str, str]:
    """By name; repetitions are one list (RFC 9110 section 5.3), so two different credentials are none."""
    joined: dict[str, str] = {}
    for name, value in headers.items():
        joined[name] = f"{joined[name]},{value}" if name in joined else value
    return joined


def _read_wish(extensions: object) -> bool:
    if not isinstance(extensions, dict) or MEMBER not in extensions:
        return False
    asked = read_extensions(extensions[MEMBER])
    if asked.after is not None or asked.overflow != Overflow():
        raise BadRequest("extensions.fanout: 'after' and 'overflow' are for subscriptions, over a WebSocket")
    return asked.wants_positions


def _add_position(response: dict[str, Any], position: str) -> dict[str, Any]:
    extensions = response.get("extensions") or {}
    return {**response, "extensions": {**extensions, MEMBER: {"position": position}}}


async def _ask_for_upgrade() -> Response:
    """RFC 9110 section 15.5.22: 426 names the protocol in `Upgrade`."""
    message = (
        "send queries and mutations with POST to /graphql, and connect with a WebSocket "
        "(sub-protocol graphql-ws or graphql-transport-ws) to subscribe"
    )
    error = {"errorType": "UpgradeRequiredException", "message": message}
    return answer_errors(426, [error], {"Upgrade": "websocket", "Connection": "Upgrade"})
