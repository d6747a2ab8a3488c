"""AppSync's JSON for authorizer functions: the request is written, the answer read. Knows no way to carry them.

Source of both: AppSync guide, "Configuring authorization", AWS Lambda authorization. Nothing of what an authorizer
answers is repeated in an error: it may hold the token.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from fanout.errors import BadRequest
from fanout.model import Call, CallKind, FieldPolicy

CONNECT_OPERATION = "DeepDish:Connect"
"""What AppSync calls the operation of a WebSocket connection."""

MAX_ANSWER_BYTES = 5 * 1024 * 1024
"""Of a whole answer: AppSync's limit for `resolverContext`, which is nearly all of one that is so large."""

# AppSync's TTL cannot be longer either; with a longer one nobody could take a right back within the hour.
_MAX_TTL_S = 3600
_MAX_DENIED_FIELDS = 10_000

# Credentials, which have a member of their own or are none of the authorizer's, what carries them in a handshake,
# and what belongs to one connection between two programs (RFC 9110 section 7.6.1).
_WITHHELD = frozenset(
    {
        "authorization",
        "x-api-key",
        "x-amz-security-token",
        "proxy-authorization",
        "connection",
        "keep-alive",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)
_FORWARDED = "x-forwarded-for"
_WITHHELD_PREFIX = "sec-websocket-"

_NAME = r"[_A-Za-z*][_0-9A-Za-z*]*"
_SHORT_FIELD = re.compile(rf"({_NAME})\.({_NAME})")
_ARN_FIELD = re.compile(rf"arn:[\w-]+:appsync:[\w*-]*:[\w*]*:apis/([\w*-]+)/types/({_NAME})/fields/({_NAME})")


class BadAnswer(Exception):
    """An answer that is none of AppSync's form; the text says what is wrong with it, and holds nothing of it."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What an authorizer says about a token.

    Args:
        is_authorized: whether it is good.
        resolver_context: what the authorizer wants to be known of whose it is; flat.
        policy: the fields that are denied; None: none.
        ttl_s: for how many seconds to keep the answer; None: as configured.
    """

    is_authorized: bool
    resolver_context: Mapping[str, Any]
    policy: FieldPolicy | None
    ttl_s: int | None


def write_request(call: Call, token: str, request_id: str, api_id: str, account_id: str) -> bytes:
    """What an authorizer is asked.

    `requestHeaders` has the client's headers without credentials: the token has a member of its own. In
    `x-forwarded-for` the address that the request comes from is the last, as behind AWS.

    Args:
        call: who is asking for what.
        token: its `Authorization`, as it came.
        request_id: another one for each request.
        api_id, account_id: of the API, as configured.

    Raises:
        BadRequest: variables that are nested more deeply than JSON is written here: 1024 levels are read, 254 written.
    """
    context: dict[str, Any] = {
        "apiId": api_id,
        "accountId": account_id,
        "requestId": request_id,
        "queryString": call.query,
        "variables": dict(call.variables),
    }
    operation_name = CONNECT_OPERATION if call.kind is CallKind.CONNECT else call.operation_name
    if operation_name is not None:
        context["operationName"] = operation_name
    headers = {
        _repair(name): _repair(value)
        for name, value in call.headers.items()
        if name not in _WITHHELD and not name.startswith(_WITHHELD_PREFIX)
    }
    if call.addresses:
        # The last one is where it comes from, whatever the client has written: nothing else here tells.
        headers[_FORWARDED] = ", ".join(map(_repair, call.addresses))
    try:
        return orjson.dumps({"authorizationToken": token, "requestContext": context, "requestHeaders": headers})
    except orjson.JSONEncodeError:
        raise BadRequest("The variables cannot be written as JSON: they are nested too deeply.") from None


def read_answer(body: bytes, api_id: str) -> Answer:
    """Check an answer.

    Members that AppSync does not know are ignored; those that may be left out may be null.

    Args:
        body: JSON.
        api_id: of this API; ARNs of other APIs in `deniedFields` mean nothing here. Empty: all are of this one.

    Raises:
        BadAnswer: too long, no JSON, or a member of another type.
    """
    if len(body) > MAX_ANSWER_BYTES:
        raise BadAnswer(f"it is longer than {MAX_ANSWER_BYTES} bytes")
    try:
        answer = orjson.loads(body)
    except orjson.JSONDecodeError:
        raise BadAnswer("it is not JSON") from None
    if not isinstance(answer, dict):
        raise BadAnswer(f"it is {_name_type(answer)} in place of an object")
    match answer.get("isAuthorized"):
        case bool(is_authorized):
            pass
        case None:
            raise BadAnswer("it has no isAuthorized")
        case other:
            raise BadAnswer(f"isAuthorized is {_name_type(other)} in place of true or false")
    return Answer(
        is_authorized,
        _read_context(answer.get("resolverContext")),
        _read_denied(answer.get("deniedFields"), api_id),
        _read_ttl(answer.get("ttlOverride")),
    )


def _read_context(value: object) -> Mapping[str, Any]:
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise BadAnswer(f"resolverContext is {_name_type(value)} in place of an object")
    for position, member in enumerate(value.values(), start=1):
        if isinstance(member, dict | list):
            raise BadAnswer(
                f"member {position} of resolverContext is {_name_type(member)}: it may hold strings, numbers, true, "
                "false and null only"
            )
    return value


def _read_denied(value: object, api_id: str) -> FieldPolicy | None:
    if value is None:
        return None
    if not isinstance(value, list):
        raise BadAnswer(f"deniedFields is {_name_type(value)} in place of a list")
    if len(value) > _MAX_DENIED_FIELDS:
        raise BadAnswer(f"deniedFields has more than {_MAX_DENIED_FIELDS} members")
    patterns: list[str] = []
    for position, entry in enumerate(value, start=1):
        if not isinstance(entry, str):
            raise BadAnswer(f"member {position} of deniedFields is {_name_type(entry)} in place of a string")
        if entry == "*":
            patterns.append(entry)
        elif short := _SHORT_FIELD.fullmatch(entry):
            patterns.append(f"{short[1]}.{short[2]}")
        elif arn := _ARN_FIELD.fullmatch(entry):
            if not api_id or arn[1] in (api_id, "*"):
                patterns.append(f"{arn[2]}.{arn[3]}")
        else:
            # To leave it out would open a field that is meant to be closed.
            raise BadAnswer(f"member {position} of deniedFields is neither Type.field nor the ARN of a field")
    return FieldPolicy(deny=tuple(patterns)) if patterns else None


def _read_ttl(value: object) -> int | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise BadAnswer("ttlOverride is not a number of whole seconds")
    return min(value, _MAX_TTL_S)


def _name_type(value: object) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "true or false"
        case str():
            return "a string"
        case int() | float():
            return "a number"
        case list():
            return "a list"
    return "an object"


def _repair(text: str) -> str:
    """A header as text that JSON can hold: `websockets` keeps bytes that are not ASCII as lone surrogates."""
    return text.encode("utf-8", "replace").decode()
