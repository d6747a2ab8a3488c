"""`POST /events`: publishing without GraphQL, for back ends that hold a publisher key. Does not know the bus.

The body is one event `{"mutation", "data"[, "id", "at", "stream"]}` or a list of them; the answer is 202 with the
stream ids in the same order. Either all of a list is published or none: every item is checked first, and then all are
handed over in one call, to one stream. Subscribers get the same as from `XADD` with the same fields.
"""

from __future__ import annotations

import difflib
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import orjson
from fastapi import APIRouter, Request, Response

from fanout.api import Api
from fanout.auth import Authorizer
from fanout.errors import BadRequest, LimitExceeded
from fanout.model import NewEvent
from fanout.schema import ApiSchema, describe_mismatch
from fanout.settings import Settings
from fanout.web.answers import answer_json
from fanout.web.body import HttpLimits, read_json
from fanout.web.entrance import Entrance

Publish = Callable[[Sequence[NewEvent]], Awaitable[list[str]]]
"""Appends the events to the stream, all or none, and gives their stream ids; raises `Unavailable`."""

FIELDS = ("mutation", "data", "id", "at", "stream")
MAX_ID_LENGTH = 256
# The year 9999: a larger number is microseconds or nanoseconds by mistake.
MAX_AT_MS = 253_402_300_799_999
# Anything before 1973 is seconds by mistake.
MIN_AT_MS = 100_000_000_000
MAX_FAULTS_TOLD = 20
_QUOTED_CHARACTERS = 60


def build_events_router(
    api: Api, publish: Publish, authorizer: Authorizer, limits: HttpLimits, settings: Settings, entrance: Entrance
) -> APIRouter:
    """The route `POST /events`."""
    router = APIRouter()

    @router.post("/events")
    async def post_events(request: Request) -> Response:
        entrance.count(request)
        await entrance.admit(request, lambda: authorizer.authorize_publisher(request.headers))
        body = await read_json(request, limits.events_body_bytes)
        ids = await publish(parse_events(body, api.schema, limits.events_per_request, settings))
        return answer_json({"ids": ids}, 202)

    return router


def parse_events(body: object, schema: ApiSchema, max_events: int, settings: Settings) -> list[NewEvent]:
    """Check the parsed body of a request. Cost: proportional to its size.

    Args:
        body: the parsed JSON.
        schema: which mutations there are.
        max_events: the longest list.
        settings: which streams there are, and which a mutation's events go to.

    Raises:
        BadRequest: 400 if the body is neither object nor list; 422 if an item is bad, with one error for each bad
            item (of the first 20), which names the item's `index`, what is wrong and what to do.
        LimitExceeded: 413 for more than `max_events` items.
    """
    if isinstance(body, dict):
        items, is_single = [body], True
    elif isinstance(body, list):
        items, is_single = body, False
    else:
        raise BadRequest(
            'the body is neither an event nor a list: send {"mutation": ..., "data": ...} or a list of these'
        )
    if not items:
        raise BadRequest("the list is empty: send at least one event", error_code=422)
    if len(items) > max_events:
        raise LimitExceeded(
            f"the list has {len(items)} events, the limit is {max_events}: send it in parts", error_code=413
        )
    events: list[NewEvent] = []
    faults: list[dict[str, Any]] = []
    for index, item in enumerate(items):
        try:
            event = _parse_event(item, schema, settings)
            # In several streams they could not be published all or none.
            if events and (stream := _find_stream(event, settings)) != _find_stream(events[0], settings):
                first = _find_stream(events[0], settings)
                raise BadRequest(
                    f"goes to the stream {_quote(stream)}, and the first event to {_quote(first)}: "
                    "send events of different streams in requests of their own"
                )
            events.append(event)
        except BadRequest as fault:
            where = "" if is_single else f"events[{index}]: "
            faults.append({"message": where + fault.message, "index": index})
            if len(faults) == MAX_FAULTS_TOLD:
                break
    if faults:
        raise BadRequest(faults[0]["message"], error_code=422, errors=faults)
    return events


def _find_stream(event: NewEvent, settings: Settings) -> str:
    return event.stream or settings.stream_of(event.mutation)


def _parse_event(item: object, schema: ApiSchema, settings: Settings) -> NewEvent:
    if not isinstance(item, dict):
        raise BadRequest(f'{_kind(item)} is not an event: send {{"mutation": ..., "data": ...}}')
    for name in item:
        if name not in FIELDS:
            raise BadRequest(
                f"unknown field {_quote(name)}{_suggest(name, FIELDS)}; the fields are {', '.join(FIELDS)}"
            )
    mutation = _parse_mutation(item, schema)
    return NewEvent(
        mutation,
        _parse_data(item, mutation, schema),
        key=_parse_id(item.get("id")),
        at_ms=_parse_at(item.get("at")),
        stream=_parse_stream(item.get("stream"), settings.stream),
    )


def _parse_mutation(item: dict[str, Any], schema: ApiSchema) -> str:
    if "mutation" not in item:
        raise BadRequest('"mutation" is missing: name the mutation field of the schema that the data is the result of')
    mutation = item["mutation"]
    if not isinstance(mutation, str):
        raise BadRequest(f'"mutation" is {_kind(mutation)}: give the name of a mutation field as a string')
    if mutation not in schema.mutations:
        known = sorted(schema.mutations)
        raise BadRequest(
            f"unknown mutation {_quote(mutation)}{_suggest(mutation, known) or _list(known)}; "
            "use a mutation field of the schema"
        )
    return mutation


def _parse_data(item: dict[str, Any], mutation: str, schema: ApiSchema) -> bytes:
    if "data" not in item:
        raise BadRequest('"data" is missing: give the result of the mutation')
    data = item["data"]
    mutation_type = schema.graphql.mutation_type
    assert mutation_type is not None
    fault = describe_mismatch(data, mutation_type.fields[mutation].type)
    if fault:
        raise BadRequest(f'"data" is {_kind(data)}: {fault}')
    try:
        # What the reader of the stream parses from this is equal to `data`: both sides use the same parser.
        return orjson.dumps(data)
    except orjson.JSONEncodeError:
        # All else that cannot be written as JSON cannot have been read from JSON.
        raise BadRequest('"data" is nested too deeply: 254 levels is the limit') from None


def _parse_id(value: object) -> str:
    if value is None:
        return ""
    if not isinstance(value, str) or not 1 <= len(value) <= MAX_ID_LENGTH:
        raise BadRequest(f'"id" has to be a string of 1 to {MAX_ID_LENGTH} characters, or left out')
    return value


def _parse_at(value: object) -> int:
    if value is None:
        return 0
    if not isinstance(value, int) or not MIN_AT_MS <= value <= MAX_AT_MS:
        raise BadRequest('"at" has to be the time of the event in milliseconds since 1970, or left out')
    return value


def _parse_stream(value: object, streams: Sequence[str]) -> str:
    if value is None:
        return ""
    if not isinstance(value, str):
        raise BadRequest(f'"stream" is {_kind(value)}: give the name of an event stream as a string, or leave it out')
    if value not in streams:
        raise BadRequest(
            f"unknown stream {_quote(value)}{_suggest(value, streams)}; the streams are {', '.join(streams)}"
        )
    return value


def _kind(value: object) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "a boolean"
        case int() | float():
            return "a number"
        case str():
            return "a string"
        case list():
            return "a list"
        case _:
            return "an object"


def _quote(text: str) -> str:
    """Client text in a message: short, and without control characters."""
    return repr(text if len(text) <= _QUOTED_CHARACTERS else text[:_QUOTED_CHARACTERS] + "...")


def _suggest(name: str, known: Sequence[str]) -> str:
    # Only a short name can be a slip of a known one, and comparing costs the product of the lengths.
    close = difflib.get_close_matches(name, known, n=1) if len(name) <= _QUOTED_CHARACTERS else ()
    return f", did you mean {close[0]!r}?" if close else ""


def _list(known: Sequence[str]) -> str:
    if not known:
        return ": the schema has no mutations"
    shown = ", ".join(known[:10]) + (", ..." if len(known) > 10 else "")
    return f", the schema has {shown}"
