"""`/admin`: what operators order, with an admin key. Knows requests and answers, not how an order is carried out.

| path | body | what |
|---|---|---|
| POST /admin/subscriptions/invalidate | `{"field", "payload"}` | ends subscriptions whose invalidation filter matches |
| POST /admin/connections/close | `{"identity"}` or `{"connectionId"}` | closes connections, on all gateways |
| GET /admin/connections | - | the connections of the gateway that answers, in pages |
| GET /admin/keys | - | the stored keys, but not the keys themselves |
| POST /admin/keys | `{"kind", "description", "days"}`, or none | makes a key; the answer has it, once |
| DELETE /admin/keys/ID | - | revokes a key, on all gateways |
| POST /admin/reload | `{"all"}`, or none | reads configuration and schema again, here or on all gateways |

Every call leaves one line in the log `fanout.audit`: who, from where, what, and the status; never a credential and
never a payload. Of calls by nobody, whom anybody could make, so many in a minute; the others are counted.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Protocol

from fastapi import APIRouter, Request, Response

from fanout.auth import Authorizer
from fanout.errors import BadRequest, ClientFault, Unavailable
from fanout.log_limit import LogLimit, tell_held_back
from fanout.metrics import Metrics
from fanout.model import KeyKind
from fanout.web.answers import answer_errors, answer_json
from fanout.web.body import read_json
from fanout.web.entrance import Entrance

_audit = logging.getLogger("fanout.audit")

BODY_BYTES = 16 * 1024
"""Longest body: announcements of this size are kept in Redis for a while."""
DEFAULT_PAGE, LARGEST_PAGE = 100, 1000
_LONGEST_NAME = 1024  # that of a token is its issuer and its subject
_NOBODY = "nobody"
# Lists of connections are of the moment.
_NOT_STORED = {"Cache-Control": "no-store"}
_KINDS = {kind.value: kind for kind in KeyKind}
_DAYS = 7  # AppSync's default
_CONNECTION_ID = re.compile("[0-9a-f]{1,16}-[0-9a-f]{1,16}")
_OFF = (
    "there is no admin API without an admin key: give the setting admin_key, or run `fanout keys create --kind admin`"
)


class Administration(Protocol):
    """Carries out what operators order; gives JSON objects as docs/operations.md shows them.

    `invalidate`, `order_invalidation`, `close` and `reload` raise `Unavailable` when Redis does not answer; all raise
    `BadRequest` for what cannot be done. `close` and `list_connections` do so for an identity that may be a
    credential, and do not repeat it.
    """

    async def invalidate(self, field: str, payload: Mapping[str, Any]) -> dict[str, Any]: ...

    async def order_invalidation(self, field: str, payload: Mapping[str, Any]) -> None:
        """The same for a mutation, without waiting for the gateways."""
        ...

    async def close(self, *, identity: str = "", connection_id: str = "") -> dict[str, Any]: ...

    async def reload(self, *, everywhere: bool) -> dict[str, Any]:
        """With `errors` in it where a gateway refused what it read."""
        ...

    def list_connections(self, *, after: str, limit: int, identity: str) -> dict[str, Any]: ...

    async def list_keys(self) -> dict[str, Any]: ...

    async def create_key(self, kind: KeyKind, description: str, days: int) -> dict[str, Any]: ...

    async def revoke_key(self, id: str) -> dict[str, Any]:
        """Raises ClientFault (404) if there is none, and BadRequest if `id` is none; neither repeats it."""
        ...


Act = Callable[[Request], Awaitable[tuple[str, Response]]]
"""Reads the request and carries it out; gives what was asked for, in words for the log, and the answer."""


def build_admin_router(
    administration: Administration, authorizer: Authorizer, metrics: Metrics, entrance: Entrance
) -> APIRouter:
    """The routes of `/admin`."""
    router = APIRouter(prefix="/admin")
    by_nobody = LogLimit()

    async def answer(request: Request, call: str, act: Act) -> Response:
        who, what, status = _NOBODY, call, 500
        try:
            if not authorizer.has_admin_keys:
                raise ClientFault(_OFF, error_type="NotFoundException", error_code=404)
            entrance.count(request)
            who = (await entrance.admit(request, lambda: authorizer.authorize_admin(request.headers))).subject
            metrics.admin_calls[call] += 1
            what, response = await act(request)
            status = response.status_code
            return response
        except ClientFault as fault:
            status = fault.error_code or 400
            raise
        except Unavailable:
            status = 503
            raise
        finally:
            held_back = by_nobody.admit() if who is _NOBODY else 0
            if held_back is not None:
                address = entrance.describe_client(request)
                level = logging.WARNING if status in (401, 500) else logging.INFO
                more = tell_held_back(held_back)
                _audit.log(level, "%s %s by %s from %s%s: %d", request.method, what, who, address, more, status)

    @router.post("/subscriptions/invalidate")
    async def post_invalidate(request: Request) -> Response:
        async def act(request: Request) -> tuple[str, Response]:
            body = await _read_object(request, ("field", "payload"))
            field, payload = _read_name(body, "field"), body.get("payload")
            if not isinstance(payload, dict):
                raise BadRequest('"payload" has to be an object: what the invalidation filters are matched against')
            return f"invalidate {field}", answer_json(await administration.invalidate(field, payload))

        return await answer(request, "invalidate", act)

    @router.post("/connections/close")
    async def post_close(request: Request) -> Response:
        async def act(request: Request) -> tuple[str, Response]:
            body = await _read_object(request, ("identity", "connectionId"))
            if len(body) != 1:
                raise BadRequest('give either "identity" or "connectionId", as GET /admin/connections shows them')
            if "identity" in body:
                identity = _read_name(body, "identity")
                # Named in the log only after it was found to be a name: it may be a credential, sent by mistake.
                closed = await administration.close(identity=identity)
                return f"close {identity}", answer_json(closed)
            id = _read_name(body, "connectionId")
            if not _CONNECTION_ID.fullmatch(id):
                raise BadRequest('"connectionId" has to be an id as GET /admin/connections shows it')
            return f"close connection {id}", answer_json(await administration.close(connection_id=id))

        return await answer(request, "close", act)

    @router.get("/connections")
    async def get_connections(request: Request) -> Response:
        async def act(request: Request) -> tuple[str, Response]:
            query = request.query_params
            for name in query:
                if name not in ("after", "limit", "identity"):
                    raise BadRequest(f"unknown parameter {name[:40]!r}; there are after, limit and identity")
            limit = _read_limit(query.get("limit"))
            page = administration.list_connections(
                after=query.get("after", ""), limit=limit, identity=query.get("identity", "")
            )
            return "connections", answer_json(page, headers=_NOT_STORED)

        return await answer(request, "connections", act)

    @router.get("/keys")
    async def get_keys(request: Request) -> Response:
        async def act(request: Request) -> tuple[str, Response]:
            del request
            return "keys", answer_json(await administration.list_keys(), headers=_NOT_STORED)

        return await answer(request, "keys", act)

    @router.post("/keys")
    async def post_key(request: Request) -> Response:
        async def act(request: Request) -> tuple[str, Response]:
            body = await _read_object(request, ("kind", "description", "days"), may_be_empty=True)
            kind, description, days = body.get("kind", "api"), body.get("description", ""), body.get("days", _DAYS)
            if not isinstance(kind, str) or kind not in _KINDS:
                raise BadRequest(f'"kind" has to be one of {", ".join(_KINDS)}')
            if not isinstance(description, str):
                raise BadRequest('"description" has to be a string')
            made = await administration.create_key(_KINDS[kind], description, days)
            return f"create key {made['id']} of kind {kind}", answer_json(made, 201, _NOT_STORED)

        return await answer(request, "create-key", act)

    @router.delete("/keys/{id}")
    async def delete_key(request: Request, id: str) -> Response:
        async def act(request: Request) -> tuple[str, Response]:
            del request
            revoked = await administration.revoke_key(id)
            return f"revoke key {revoked['id']}", answer_json(revoked)

        return await answer(request, "revoke-key", act)

    @router.post("/reload")
    async def post_reload(request: Request) -> Response:
        async def act(request: Request) -> tuple[str, Response]:
            body = await _read_object(request, ("all",), may_be_empty=True)
            everywhere = body.get("all", False)
            if not isinstance(everywhere, bool):
                raise BadRequest('"all" has to be true or false')
            report = await administration.reload(everywhere=everywhere)
            what = "reload of all gateways" if everywhere else "reload"
            if errors := report.pop("errors", None):
                return what, answer_errors(422, errors, **report)
            return what, answer_json(report)

        return await answer(request, "reload", act)

    return router


async def _read_object(request: Request, known: tuple[str, ...], may_be_empty: bool = False) -> dict[str, Any]:
    # A request without either header has no body (RFC 9112 section 6.3).
    if (
        may_be_empty
        and "transfer-encoding" not in request.headers
        and request.headers.get("content-length", "0") == "0"
    ):
        return {}
    body = await read_json(request, BODY_BYTES)
    if not isinstance(body, dict):
        raise BadRequest(f"the body is not a JSON object with {' and '.join(known)}")
    for name in body:
        if name not in known:
            raise BadRequest(f"unknown member {name[:40]!r}; there {'is' if len(known) == 1 else 'are'} {_list(known)}")
    return body


def _read_name(body: Mapping[str, Any], member: str) -> str:
    name = body.get(member)
    if not isinstance(name, str) or not name or len(name) > _LONGEST_NAME or not name.isprintable():
        raise BadRequest(f'"{member}" has to be a string of 1 to {_LONGEST_NAME} visible characters')
    return name


def _read_limit(text: str | None) -> int:
    if text is None:
        return DEFAULT_PAGE
    # Its length first: Python refuses to read numbers of thousands of digits.
    if len(text) > len(str(LARGEST_PAGE)) or not text.isdecimal() or not 0 < int(text) <= LARGEST_PAGE:
        raise BadRequest(f"limit has to be a number from 1 to {LARGEST_PAGE}")
    return int(text)


def _list(names: tuple[str, ...]) -> str:
    return " and ".join(names)
