"""Administration: what operators order, carried out here and told to all gateways; and the keys' end of life.

An order to all goes out as an announcement and comes back to this gateway like to every other, so there is one way in
which it is carried out. Knows connections (`Oversight`), what is served (`Api`, `Authorizer`) and where it is read
from; no HTTP and no Redis.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import orjson

from fanout.api import Api
from fanout.auth import (
    ISSUER_END,
    ApiKeys,
    Authorizer,
    FieldRules,
    Provider,
    is_identity_name,
    list_warnings,
    read_modes,
    shorten_subject,
)
from fanout.engine import Wheel
from fanout.errors import BadRequest, ClientFault, ConfigurationError, SubscriptionEnded, Unavailable
from fanout.gateway import Ended, Oversight
from fanout.key_orders import KeyOrders, Keyring
from fanout.metrics import Metrics
from fanout.model import KeyKind, StoredKey
from fanout.orders import (
    MUTATION_ORDER_BYTES,
    MUTATION_ORDERS_PER_SECOND,
    Announce,
    OrderRate,
    count_gateways,
    give_order,
    read_answer,
)
from fanout.planning import Changed, Plan
from fanout.schema import ApiSchema, Resolvers
from fanout.settings import RELOADED, RESOLVER_SETTINGS, Settings, SettingsSource, public_name, renew_settings

logger = logging.getLogger("fanout.administration")

# How long a reload waits for the answers of all gateways. Planning 10,000 documents anew takes 15 s.
_RELOAD_WAIT_S = 30.0
_CHECK_MS = 1000
_MAX_WARNINGS = 10
# How often stored keys are read although nobody said that they have changed, and how soon again while that fails.
_LOOK_MS, _LOOK_AGAIN_MS = 30_000, 1000


def build_authorizer(
    settings: Settings, now: Callable[[], float] = time.time, providers: Sequence[Provider] = ()
) -> Authorizer:
    """Who may come in by these settings.

    Args:
        settings: the API keys, and whether none is needed.
        now: seconds since 1970.
        providers: of the other authorization modes.

    Raises:
        ConfigurationError: a bad key.
    """
    return Authorizer(
        ApiKeys(settings.api_key, now),
        ApiKeys(settings.publisher_key, now, "publisher_key"),
        ApiKeys(settings.admin_key, now, "admin_key"),
        providers,
        settings.auth_mode if settings.anonymous else None,
    )


def build_api(schema: ApiSchema, settings: Settings, resolvers: Resolvers = MappingProxyType({})) -> Api:
    """What is served by these settings, each field open to whom the schema's directives say.

    Args:
        schema: checked.
        settings: limits and templates.
        resolvers: what resolves fields that are not resolved by default.

    Raises:
        ConfigurationError: settings that do not fit the schema, or a default mode that nobody could come in by.
    """
    rules = FieldRules(schema.authorization, read_modes(settings), schema.root_types)
    return Api(schema, settings, rules.access_of, resolvers)


def describe_directives(schema: ApiSchema, settings: Settings) -> list[str]:
    """Authorization directives that do not do what they say by these settings: `FILE:LINE: what and why`."""
    source = settings.schema_path or "schema"
    return [
        f"{source}:{warning}"
        for warning in list_warnings(schema.authorization, read_modes(settings), schema.interfaces)
    ]


def warn_of_directives(schema: ApiSchema, settings: Settings) -> None:
    """Log the same; of many the first."""
    warnings = describe_directives(schema, settings)
    for warning in warnings[:_MAX_WARNINGS]:
        logger.warning("%s", warning)
    if len(warnings) > _MAX_WARNINGS:
        logger.warning("%d more directives are like that: `fanout check` lists them", len(warnings) - _MAX_WARNINGS)


@dataclass(frozen=True, slots=True)
class PreparedResolvers:
    """The resolvers that a reload found, checked; nothing of them runs yet.

    Args:
        resolvers: by type and field.
        is_new: they are others than those that serve.
        start: lets them be called.
        commit: those that served before are not called by new requests any more.
    """

    resolvers: Resolvers = field(default_factory=dict)
    is_new: bool = False
    start: Callable[[], None] = lambda: None
    commit: Callable[[], None] = lambda: None


class Administration:
    """Carries out orders on one gateway.

    Args:
        settings: as they were when the process started.
        source: where they are read again.
        load_schema: reads the schema of settings; raises ConfigurationError.
        api: what is served; changed by a reload.
        authorizer: who may come in; changed by a reload.
        oversight: the live connections.
        announce: tells all gateways; each calls its `obey`.
        keyring: the stored keys.
        gateway_id: this gateway's id at the moment.
        set_log_level: makes a level hold.
        wheel: its clock wakes the look at the keys' ends of life.
        metrics: `reloads` is counted.
        now: seconds since 1970.
        build_providers: those of other modes than API keys; raises ConfigurationError.
        prepare_resolvers: reads and checks the resolvers of settings, in a thread; raises ConfigurationError.
    """

    def __init__(
        self,
        settings: Settings,
        source: SettingsSource,
        load_schema: Callable[[Settings], ApiSchema],
        api: Api,
        authorizer: Authorizer,
        oversight: Oversight,
        announce: Announce,
        keyring: Keyring,
        gateway_id: Callable[[], str],
        set_log_level: Callable[[str], None],
        wheel: Wheel,
        metrics: Metrics,
        now: Callable[[], float] = time.time,
        build_providers: Callable[[Settings], Sequence[Provider]] = lambda _: (),
        prepare_resolvers: Callable[[Settings, ApiSchema], PreparedResolvers] = lambda *_: PreparedResolvers(),
    ) -> None:
        self._prepare_resolvers = prepare_resolvers
        self._build_providers = build_providers
        self._settings = settings
        self._source = source
        self._load_schema = load_schema
        self._api = api
        self._authorizer = authorizer
        self._oversight = oversight
        self._announce = announce
        self._keyring = keyring
        self._mutation_orders = OrderRate()
        self._key_orders = KeyOrders(keyring, announce, now)
        self._stored: list[StoredKey] | None = []  # None: a defect came between, and nobody knows
        self._reading_keys = asyncio.Lock()
        self._is_reading_keys = False
        self._keys_are_known = True
        self._look_at_keys_ms = 0
        self._gateway_id = gateway_id
        self._set_log_level = set_log_level
        self._wheel = wheel
        self._metrics = metrics
        self._reloading = asyncio.Lock()
        self._is_half_reloaded = False
        self._tasks: set[asyncio.Task[Any]] = set()
        self._now = now
        self._looked_at = now()
        self._next_expiry = authorizer.next_expiry()
        self.wheel_slot = -1

    def start(self) -> None:
        """Begin to look at the keys' ends of life, and at the stored keys now and then."""
        self._look_at_keys_ms = self._wheel.now_ms() + _LOOK_MS
        self._wheel.schedule(self, self._wheel.now_ms() + _CHECK_MS)

    async def stop(self) -> None:
        """End what is under way."""
        self._wheel.cancel(self)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

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
            reports = [{"gateway": self._gateway_id(), **await self._reload()}]
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

    def reload_soon(self) -> None:
        """Reload in a task of its own: for signals, and when an order to do so may have been missed."""
        self._run(self._reload())

    def _read_identity(self, name: str) -> str:
        settings = self._settings
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

    async def load_keys(self) -> Ended:
        """Read the stored keys: those that are new are good from now on, and those that are gone end what they opened.

        Raises:
            Unavailable: Redis did not answer; the keys that were read last stay in force.
        """
        async with self._reading_keys:  # one after the other, so that what was read last is what is in force
            stored = await self._keyring.read()
            self._keys_are_known = True
            if stored == self._stored:
                return Ended()
            self._stored = None
            self._authorizer.store(stored)
            self._next_expiry = self._authorizer.next_expiry()
            ended = self._oversight.revoke(self._authorizer.holds)
            # Last: what a defect has kept from being ended is ended when they are read again.
            self._stored = stored
        logger.info(
            "stored keys have changed, there are %d; closed %d connections, ended %d subscriptions",
            len(stored),
            ended.connections,
            ended.subscriptions,
        )
        return ended

    def look_at_keys_soon(self) -> None:
        """Read the stored keys in a task of its own, at the next tick of the clock."""
        self._look_at_keys_ms = 0

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
                return orjson.dumps(await self._reload())
        logger.error("an order that this version does not know was announced: is a newer gateway on the same Redis?")
        return orjson.dumps({"error": "the order is not known to the version of this gateway"})

    def on_due(self, now_ms: int) -> int:
        """Called by the wheel: end the connections of keys that have expired, and read the stored keys now and then."""
        try:
            self._end_what_has_expired()
        except Exception:  # our defect with one connection must not let all others live for ever: tried again
            logger.exception("what has expired could not be ended")
        if now_ms >= self._look_at_keys_ms and not self._is_reading_keys:
            self._look_at_keys_ms = now_ms + _LOOK_MS
            self._is_reading_keys = True
            self._run(self._look_at_keys())
        return now_ms + _CHECK_MS

    def _end_what_has_expired(self) -> None:
        now = self._now()
        if now < self._looked_at:  # the clock was set back: what had expired may expire again
            self._next_expiry = self._authorizer.next_expiry()
        self._looked_at = now
        if now >= self._next_expiry:
            next_expiry = self._authorizer.next_expiry()
            ended = self._oversight.revoke(self._authorizer.holds)
            self._next_expiry = next_expiry
            logger.info("a key has expired: %d connections closed", ended.connections)
        if now >= self._oversight.guests_expire_at:
            self._oversight.end_expired_guests(now)

    async def _look_at_keys(self) -> None:
        try:
            await self.load_keys()
        except Unavailable as error:
            self._note_unread_keys(error)
        finally:
            self._is_reading_keys = False

    async def _obey_keys(self) -> bytes:
        try:
            return _write_ended(await self.load_keys())
        except Unavailable as error:
            self._note_unread_keys(error)
            return orjson.dumps({"error": "the stored keys could not be read, and will be as soon as Redis answers"})

    def _note_unread_keys(self, error: Unavailable) -> None:
        self._look_at_keys_ms = self._wheel.now_ms() + _LOOK_AGAIN_MS
        if self._keys_are_known:
            logger.warning("%s; the stored keys stay in force as they were read last", error)
        self._keys_are_known = False

    def _run(self, work: Coroutine[Any, Any, object]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _reload(self) -> dict[str, Any]:
        async with self._reloading:
            try:
                # In a thread: a large schema takes long enough to be noticed by clients.
                settings, ignored, api, authorizer, resolvers = await asyncio.to_thread(self._prepare)
            except ConfigurationError as error:
                self._metrics.reloads["refused"] += 1
                logger.error("not reloaded, everything stays as it is: %s", error)
                return {"error": str(error)}
            changed = [name for name in RELOADED if getattr(settings, name) != getattr(self._settings, name)]
            schema = api.schema
            if schema.sdl != self._api.schema.sdl and "schema_path" not in changed:
                changed.append("schema_path")
            if resolvers.is_new and not set(RESOLVER_SETTINGS) & set(changed):
                changed.append("resolvers")
            # After a defect nobody knows how much of the last reload is in force: all of it is done again.
            is_anew, self._is_half_reloaded = self._is_half_reloaded, True
            self._set_log_level(settings.log_level)
            # Keys first: nobody is to wait for plans.
            self._authorizer.become(authorizer)
            self._next_expiry = authorizer.next_expiry()
            ended = [self._oversight.revoke(self._authorizer.holds)]
            if is_anew or resolvers.is_new or "schema_path" in changed or "subscriptions" in changed:
                former = self._api.planner
                # Before they serve: what is subscribed already may have to be resolved anew.
                resolvers.start()

                def replan(plan: Plan) -> Plan | Changed | ClientFault:
                    outcome = api.planner.replan(plan, former)
                    return _tell_change(outcome) if isinstance(outcome, ClientFault) else outcome

                def commit() -> None:
                    self._api.become(api)
                    resolvers.commit()

                ended.append(await self._oversight.change_api(replan, commit))
            elif changed:
                self._api.open_as(api)
            if is_anew or changed:
                warn_of_directives(schema, settings)
                # In the step of the event loop in which the rules have changed.
                ended.append(self._oversight.end_denied(self._api.find_denial))
            # Last: what a defect has kept from being applied is a change for the next reload too.
            self._settings = settings
            self._is_half_reloaded = False
            self._metrics.reloads["applied"] += 1
            names = [public_name(name) for name in changed]
            if ignored:
                logger.warning(
                    "settings that take a restart were changed, and are not in force: %s", ", ".join(ignored)
                )
            connections = sum(each.connections for each in ended)
            subscriptions = sum(each.subscriptions for each in ended)
            logger.info(
                "reloaded; changed: %s; closed %d connections, ended %d subscriptions",
                ", ".join(names) or "nothing",
                connections,
                subscriptions,
            )
            return {
                "changed": names,
                "ignored": ignored,
                "ended": {"connections": connections, "subscriptions": subscriptions},
            }

    def _prepare(self) -> tuple[Settings, list[str], Api, Authorizer, PreparedResolvers]:
        """All that would be served, checked, and the names of settings that cannot change; nothing is changed yet."""
        settings, ignored = renew_settings(self._settings, self._source)
        schema = self._load_schema(settings)
        authorizer = build_authorizer(settings, self._now, self._build_providers(settings))
        resolvers = self._prepare_resolvers(settings, schema)
        return settings, ignored, build_api(schema, settings, resolvers.resolvers), authorizer, resolvers


def _tell_change(fault: ClientFault) -> SubscriptionEnded:
    return SubscriptionEnded(
        f"The schema of the API has changed, and the subscription is not valid any more: {fault.message}",
        error_type="SchemaChanged",
    )


def _write_ended(ended: Ended) -> bytes:
    return orjson.dumps({"ended": {"connections": ended.connections, "subscriptions": ended.subscriptions}})
