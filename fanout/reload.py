"""What is served by settings: built when a process starts, and built anew and put in force by a reload.

A reload reads configuration, schema and resolvers, and checks all of it before anything changes. Whoever is connected
goes on as far as what they have is still valid. Knows connections (`Oversight`), what is served (`Api`, `Authorizer`)
and where it is read from; not who asks for a reload.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from fanout.api import Api
from fanout.auth import ApiKeys, Authorizer, FieldRules, Provider, list_warnings, read_modes
from fanout.errors import ClientFault, ConfigurationError, SubscriptionEnded
from fanout.gateway import Ended, Oversight
from fanout.metrics import Metrics
from fanout.planning import Changed, Plan
from fanout.schema import ApiSchema, Resolvers
from fanout.settings import RELOADED, RESOLVER_SETTINGS, Settings, SettingsSource, public_name, renew_settings

logger = logging.getLogger("fanout.administration")

_MAX_WARNINGS = 10


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


@dataclass(frozen=True, slots=True)
class _Prepared:
    """All that would be served, checked; nothing is changed yet. `ignored`: settings that take a restart to change."""

    settings: Settings
    ignored: list[str]
    api: Api
    authorizer: Authorizer
    resolvers: PreparedResolvers


class Reload:
    """Reads again what one gateway serves.

    Args:
        settings: as they were when the process started.
        source: where they are read again.
        load_schema: reads the schema of settings; raises ConfigurationError.
        build_providers: those of other modes than API keys; raises ConfigurationError.
        prepare_resolvers: reads and checks the resolvers of settings, in a thread; raises ConfigurationError.
        api: what is served; changed.
        authorizer: who may come in; changed.
        revoke: ends what was opened by credentials that do not hold any more.
        oversight: the live connections.
        set_log_level: makes a level hold.
        metrics: `reloads` is counted.
        now: seconds since 1970.
    """

    def __init__(
        self,
        settings: Settings,
        source: SettingsSource,
        load_schema: Callable[[Settings], ApiSchema],
        build_providers: Callable[[Settings], Sequence[Provider]],
        prepare_resolvers: Callable[[Settings, ApiSchema], PreparedResolvers],
        api: Api,
        authorizer: Authorizer,
        revoke: Callable[[], Ended],
        oversight: Oversight,
        set_log_level: Callable[[str], None],
        metrics: Metrics,
        now: Callable[[], float] = time.time,
    ) -> None:
        self.settings = settings
        """Those in force."""
        self._source = source
        self._load_schema = load_schema
        self._build_providers = build_providers
        self._prepare_resolvers = prepare_resolvers
        self._api = api
        self._authorizer = authorizer
        self._revoke = revoke
        self._oversight = oversight
        self._set_log_level = set_log_level
        self._metrics = metrics
        self._now = now
        self._reloading = asyncio.Lock()
        self._is_half_reloaded = False
        self._tasks: set[asyncio.Task[Any]] = set()

    async def stop(self) -> None:
        """End what is under way."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def run(self) -> dict[str, Any]:
        """Read all of it again and let it be in force; what changed, as the admin API tells it, or `error`."""
        async with self._reloading:
            try:
                # In a thread: a large schema takes long enough to be noticed by clients.
                prepared = await asyncio.to_thread(self._prepare)
            except ConfigurationError as error:
                self._metrics.reloads["refused"] += 1
                logger.error("not reloaded, everything stays as it is: %s", error)
                return {"error": str(error)}
            changed = self._list_changes(prepared)
            ended = await self._apply(prepared, changed)
            self._metrics.reloads["applied"] += 1
        names = [public_name(name) for name in changed]
        if prepared.ignored:
            held = ", ".join(prepared.ignored)
            logger.warning("settings that take a restart were changed, and are not in force: %s", held)
        logger.info(
            "reloaded; changed: %s; closed %d connections, ended %d subscriptions",
            ", ".join(names) or "nothing",
            ended.connections,
            ended.subscriptions,
        )
        return {
            "changed": names,
            "ignored": prepared.ignored,
            "ended": {"connections": ended.connections, "subscriptions": ended.subscriptions},
        }

    def run_soon(self) -> None:
        """The same in a task of its own: for signals, and when an order to do so may have been missed."""
        task = asyncio.get_running_loop().create_task(self.run())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _prepare(self) -> _Prepared:
        settings, ignored = renew_settings(self.settings, self._source)
        schema = self._load_schema(settings)
        authorizer = build_authorizer(settings, self._now, self._build_providers(settings))
        resolvers = self._prepare_resolvers(settings, schema)
        return _Prepared(settings, ignored, build_api(schema, settings, resolvers.resolvers), authorizer, resolvers)

    def _list_changes(self, prepared: _Prepared) -> list[str]:
        """The settings that are others than those in force, or that name files which are."""
        changed = [name for name in RELOADED if getattr(prepared.settings, name) != getattr(self.settings, name)]
        if prepared.api.schema.sdl != self._api.schema.sdl and "schema_path" not in changed:
            changed.append("schema_path")
        if prepared.resolvers.is_new and not set(RESOLVER_SETTINGS) & set(changed):
            changed.append("resolvers")
        return changed

    async def _apply(self, prepared: _Prepared, changed: list[str]) -> Ended:
        settings, api, resolvers = prepared.settings, prepared.api, prepared.resolvers
        # After a defect nobody knows how much of the last reload is in force: all of it is done again.
        is_anew, self._is_half_reloaded = self._is_half_reloaded, True
        self._set_log_level(settings.log_level)
        # Keys first: nobody is to wait for plans.
        self._authorizer.become(prepared.authorizer)
        ended = [self._revoke()]
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
            warn_of_directives(api.schema, settings)
            # In the step of the event loop in which the rules have changed.
            ended.append(self._oversight.end_denied(self._api.find_denial))
        # Last: what a defect has kept from being applied is a change for the next reload too.
        self.settings = settings
        self._is_half_reloaded = False
        return Ended(sum(each.connections for each in ended), sum(each.subscriptions for each in ended))


def _tell_change(fault: ClientFault) -> SubscriptionEnded:
    return SubscriptionEnded(
        f"The schema of the API has changed, and the subscription is not valid any more: {fault.message}",
        error_type="SchemaChanged",
    )
