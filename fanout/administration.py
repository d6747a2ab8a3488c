"""Administration: what operators order, carried out here and told to all gateways.

An order to all goes out as an announcement and comes back to this gateway like to every other, so there is one way in
which it is carried out. Knows connections (`Oversight`), and whom to call for what is served (`Reload`) and for keys
(`KeyWatch`, `KeyOrders`); no HTTP and no Redis.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any

import orjson

from fanout.api import Api
from fanout.auth import ISSUER_END, is_identity_name, shorten_subject
from fanout.errors import BadRequest, Unavailable
from fanout.gateway import Ended, Oversight
from fanout.key_orders import KeyOrders
from fanout.key_watch import KeyWatch
from fanout.model import KeyKind
from fanout.orders import (
    MUTATION_ORDER_BYTES,
    MUTATION_ORDERS_PER_SECOND,
    Announce,
    OrderRate,
    count_gateways,
    give_order,
    read_answer,
)
from fanout.reload import Reload

logger = logging.getLogger("fanout.administration")

# How long a reload waits for the answers of all gateways. Planning 10,000 documents anew takes 15 s.
_RELOAD_WAIT_S = 30.0


class Administration:
    """Carries out orders on one gateway.

    Args:
        api: what is served.
        oversight: the live connections.
        announce: tells all gateways; each calls its `obey`.
        gateway_id: this gateway's id at the moment.
        reload: reads again what is served.
        key_orders: makes and revokes stored keys.
        key_watch: told when stored keys have changed.
    """

    def __init__(
        self,
        api: Api,
        oversight: Oversight,
        announce: Announce,
        gateway_id: Callable[[], str],
        reload: Reload,
        key_orders: KeyOrders,
        key_watch: KeyWatch,
    ) -> None:
        self._api = api
        self._oversight = oversight
        self._announce = announce
        self._gateway_id = gateway_id
        self._reload = reload
        self._key_orders = key_orders
        self._key_watch = key_watch
        self._mutation_orders = OrderRate()

    # What operators order

    async def invalidate(self, field: str, payload: Mapping[str, Any]) -> dict[str, Any]:
        """End the subscriptions on a field whose invalidation filters match, on all gateways.

        Raises:
            BadRequest: no subscription on this field can be invalidated.
            Unavailable: Redis did not answer.
        """
        return await give_order(self._announce, self._describe_invalidation(field, payload))

    async def order_invalidation(self, field: str, payload: Mapping[str, Any]) -> None:
        """The same for a mutation: told to all gateways when this returns, and not waited for.

        Raises:
            BadRequest: as `invalidate`, or a payload that is too large.
            Unavailable: as `invalidate`, or mutations of this gateway have ordered too much in this second.
        """
        order = self._describe_invalidation(field, payload)
        if len(orjson.dumps(order)) > MUTATION_ORDER_BYTES:
            raise BadRequest(f"the payload for {field!r} is longer than {MUTATION_ORDER_BYTES} bytes: give keys only")
        if not self._mutation_orders.admit():
            raise Unavailable(f"mutations have ordered {MUTATION_ORDERS_PER_SECOND} invalidations in this second")
        await give_order(self._announce, order, wait_s=0)

    def _describe_invalidation(self, field: str, payload: Mapping[str, Any]) -> dict[str, Any]:
        fields = self._api.planner.invalidation_fields
        if field not in fields:
            raise BadRequest(
                f"no invalidation filter is configured for {field!r}, but for {', '.join(fields) or 'no field'}: "
                f"give [subscriptions.{field}] invalidation_filter in the configuration file, or let a resolver of the "
                "field set one",
                error_code=422,
            )
        return {"do": "invalidate", "field": field, "payload": payload}

    async def close(self, *, identity: str = "", connection_id: str = "") -> dict[str, Any]:
        """Close the connections of an identity, or one by its id, wherever they are.

        Raises:
            BadRequest: what should be an identity may be a credential; its text does not repeat it.
            Unavailable: Redis did not answer.
        """
        if identity:
            return await give_order(self._announce, {"do": "close", "identity": self._read_identity(identity)})
        return await give_order(self._announce, {"do": "close", "connectionId": connection_id})

    async def reload(self, *, everywhere: bool = False) -> dict[str, Any]:
        """Read configuration and schema again, here or on all gateways; has `errors` where one refused them.

        Raises:
            Unavailable: Redis did not answer (`everywhere` only).
        """
        if everywhere:
            announced = await self._announce(orjson.dumps({"do": "reload"}), _RELOAD_WAIT_S)
            reports = [{"gateway": id, **read_answer(answer)} for id, answer in announced.answers.items()]
            told = announced.told
        else:
            reports = [{"gateway": self._gateway_id(), **await self._reload.run()}]
            told = 1
        result: dict[str, Any] = {"gateways": count_gateways(told, reports), "reports": reports}
        errors = [
            {"errorType": "ConfigurationError", "message": report["error"], "gateway": report["gateway"]}
            for report in reports
            if "error" in report
        ]
        return {**result, "errors": errors} if errors else result

    def list_connections(self, *, after: str, limit: int, identity: str) -> dict[str, Any]:
        """The connections of this gateway, one page; `next` is the `after` of the next page, or null.

        Raises:
            BadRequest: `after` comes from another gateway, or see `close`.
        """
        subject = self._read_identity(identity) if identity else ""
        found = self._oversight.list_connections(after, limit + 1, subject)
        shown = found[:limit]
        return {
            "gateway": self._gateway_id(),
            "connections": [
                {
                    "connectionId": each.id,
                    "identity": each.identity.subject,
                    "mode": each.identity.mode,
                    "address": each.address,
                    "dialect": each.dialect,
                    "since": each.since_ms,
                    "subscriptions": each.subscriptions,
                }
                for each in shown
            ],
            "next": shown[-1].id if len(found) > limit else None,
        }

    async def create_key(self, kind: KeyKind, description: str, days: int) -> dict[str, Any]:
        """Make a key and store it; see `KeyOrders.create`."""
        return await self._key_orders.create(kind, description, days)

    async def list_keys(self) -> dict[str, Any]:
        """The stored keys; see `KeyOrders.list_keys`."""
        return {"keys": await self._key_orders.list_keys()}

    async def revoke_key(self, id: str) -> dict[str, Any]:
        """Revoke a stored key; see `KeyOrders.revoke`."""
        return await self._key_orders.revoke(id)

    def _read_identity(self, name: str) -> str:
        settings = self._reload.settings
        issuer, bar, _ = name.partition(ISSUER_END)
        if (
            is_identity_name(name)
            or (settings.iam is not None and any(user.access_key_id == name for user in settings.iam.users))
            or (bar and issuer in {each.issuer for each in settings.oidc} | {each.issuer for each in settings.cognito})
        ):
            return shorten_subject(name)
        # Not repeated and not logged: it may be a key or a token, sent by mistake.
        raise BadRequest(
            '"identity" has to be a name as GET /admin/connections shows it: '
            "sha256:0123456789abcdef, ISSUER|SUB, or the id of an access key"
        )

    # What every gateway does

    async def obey(self, body: bytes) -> bytes:
        """Carry out an announced order here and answer it."""
        order = orjson.loads(body)
        match order:
            case {"do": "invalidate", "field": str(field), "payload": dict(payload)}:
                return _write_ended(self._oversight.invalidate(field, payload))
            case {"do": "close", "identity": str(identity)}:
                return _write_ended(self._oversight.close_identity(identity))
            case {"do": "close", "connectionId": str(id)}:
                return _write_ended(self._oversight.close_connection(id))
            case {"do": "keys"}:
                return await self._obey_keys()
            case {"do": "reload"}:
                return orjson.dumps(await self._reload.run())
        logger.error("an order that this version does not know was announced: is a newer gateway on the same Redis?")
        return orjson.dumps({"error": "the order is not known to the version of this gateway"})

    async def _obey_keys(self) -> bytes:
        try:
            return _write_ended(await self._key_watch.load())
        except Unavailable as error:
            self._key_watch.note_unread(error)
            return orjson.dumps({"error": "the stored keys could not be read, and will be as soon as Redis answers"})


def _write_ended(ended: Ended) -> bytes:
    return orjson.dumps({"ended": {"connections": ended.connections, "subscriptions": ended.subscriptions}})
