"""Wiring: one gateway process from its settings. The only file that knows every room."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import ssl
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import uvicorn
from fastapi import FastAPI

from fanout.administration import Administration
from fanout.api import Api
from fanout.auth import Provider, Refusals
from fanout.bus import Bus
from fanout.engine import CatchUp, Dispatcher, Registry, Wheel
from fanout.errors import ConfigurationError
from fanout.gateway import (
    AddressReader,
    Backlogs,
    Gateway,
    Limits,
    Oversight,
    Server,
    Subscriptions,
    build_http_class,
    build_protocol_class,
    hold_refusals,
)
from fanout.key_orders import KeyOrders
from fanout.key_watch import KeyWatch
from fanout.metrics import Metrics
from fanout.model import Event
from fanout.reload import PreparedResolvers, Reload, build_api, build_authorizer
from fanout.resolvers.runtime import RuntimeHost
from fanout.schema import ApiSchema, load_chat_schema, parse_schema
from fanout.settings import Settings, SettingsSource
from fanout.trust import KeySets, build_client, build_providers
from fanout.web import Entrance, create_app


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """PEM files of the listener."""

    cert: Path
    key: Path


def load_schema(path: Path | None) -> ApiSchema:
    """Read and check the API's schema; None is the built-in chat API.

    Raises:
        ConfigurationError: unreadable file, or a schema error with line and column.
    """
    if path is None:
        return load_chat_schema()
    try:
        return parse_schema(path.read_text(encoding="utf-8"), str(path))
    except OSError as error:
        raise ConfigurationError(f"{path}: cannot read the schema: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ConfigurationError(f"{path}: the schema is not UTF-8 text") from None


def check_api(schema: ApiSchema, settings: Settings) -> tuple[Api, list[str]]:
    """What would be served by these settings, checked; nothing is started.

    Returns:
        The API, whose resolvers cannot be called, and a line for each of them: what resolves which field.

    Raises:
        ConfigurationError: see `build_api`, or a mistake in the resolvers.
    """
    resolvers = RuntimeHost(settings, schema, Metrics())
    return build_api(schema, settings, resolvers.resolvers), resolvers.describe()


def check_ways_in(settings: Settings) -> None:
    """Tell what is wrong with keys, users, issuers or the authorizer, before anything is started.

    Raises:
        ConfigurationError: see `build_authorizer` and `build_providers`.
    """
    build_authorizer(settings, providers=build_providers(settings, build_client(), time.time))


def open_listener(host: str, port: int, *, shared: bool = False) -> socket.socket:
    """Bind the address; `shared` lets several processes bind it, and the kernel spreads connections over them.

    Raises:
        ConfigurationError: the address is in use or not ours.
    """
    listener = None
    try:
        info = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        listener = socket.socket(info[0], info[1], info[2])
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if shared:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        listener.bind(info[4])
    except socket.gaierror as error:
        raise ConfigurationError(f"cannot listen on {host}: {error.strerror}; choose another --host") from None
    except OSError as error:
        if listener is not None:
            listener.close()
        raise ConfigurationError(
            f"cannot listen on {host}:{port}: {error.strerror}; choose another --port, or stop what uses it"
        ) from None
    listener.set_inheritable(True)
    return listener


async def serve(
    settings: Settings,
    source: SettingsSource,
    redis_url: str,
    listeners: Sequence[socket.socket],
    tls: TlsFiles | None,
    on_ready: Callable[[], None],
) -> None:
    """Run one gateway process until it is told to stop (SIGINT, SIGTERM), then drain it. SIGHUP makes it reload.

    Args:
        settings: checked settings.
        source: where they come from, to be read again by a reload.
        redis_url: the Redis to use, also where the settings name none (embedded server).
        listeners: bound sockets, see `open_listener`; all serve the same.
        tls: certificate and key, or None for plain HTTP and WebSocket.
        on_ready: called once connections are accepted.

    Raises:
        ConfigurationError, Unavailable: it cannot start; one line that says why.
    """
    async with _assemble(settings, source, redis_url) as (gateway, app, reload):
        config = uvicorn.Config(
            app,
            ws=build_protocol_class(gateway),
            loop="none",
            http=build_http_class(gateway),
            lifespan="off",
            log_config=None,
            access_log=False,
            proxy_headers=False,  # uvicorn would believe every loopback peer; `trusted_proxies` decides here
            server_header=False,
            backlog=4096,
            ssl_certfile=tls.cert if tls else None,
            ssl_keyfile=tls.key if tls else None,
            ssl_context_factory=build_tls_context if tls else None,
        )
        server = Server(config, gateway, on_ready)
        with _reload_on_hangup(server, reload):
            await server.serve(sockets=list(listeners))


def build_tls_context(config: uvicorn.Config, build: Callable[[], ssl.SSLContext]) -> ssl.SSLContext:
    """The listener's TLS: 1.2 and 1.3, whatever this system's OpenSSL would still speak (RFC 8996)."""
    del config
    context = build()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


class Terminal:
    """The terminal that a process was started from, if any: SIGHUP comes too when it is closed, and then means: end."""

    def __init__(self) -> None:
        self._was_there = os.isatty(0)

    @property
    def is_gone(self) -> bool:
        return self._was_there and not os.isatty(0)


@contextmanager
def _reload_on_hangup(server: Server, reload: Reload) -> Iterator[None]:
    loop = asyncio.get_running_loop()
    terminal = Terminal()

    def on_hangup() -> None:
        if terminal.is_gone:
            server.handle_exit(signal.SIGTERM, None)
        else:
            reload.run_soon()

    loop.add_signal_handler(signal.SIGHUP, on_hangup)
    # Held back from the beginning of the command on, and in a supervisor's workers: before it could be handled it would
    # have ended the process.
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGHUP})
    try:
        yield
    finally:
        loop.remove_signal_handler(signal.SIGHUP)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)  # else it would end the process before the bus has left


@asynccontextmanager
async def _assemble(
    settings: Settings, source: SettingsSource, redis_url: str
) -> AsyncIterator[tuple[Gateway, FastAPI, Reload]]:
    schema = load_schema(settings.schema_path)
    metrics = Metrics()
    resolvers = RuntimeHost(settings, schema, metrics)
    api = build_api(schema, settings, resolvers.resolvers)
    http = build_client()
    key_sets = KeySets(http)
    addresses = AddressReader(settings.trusted_proxies)

    def build(settings: Settings) -> Sequence[Provider]:
        return build_providers(settings, http, time.time, key_sets, addresses.read)

    authorizer = build_authorizer(settings, providers=build(settings))
    registry = Registry(metrics)
    wheel = Wheel()
    bus: Bus

    def write_position(stream: str, event_id: str) -> bytes:
        return bus.history.write_position(stream, event_id)

    dispatcher = Dispatcher(
        registry, api.subscriptions_of, settings.max_payload_bytes, metrics, wheel.now_ms, write_position
    )
    catch_up: CatchUp

    def deliver(stream: str, events: Sequence[Event]) -> None:
        catch_up.deliver(stream, events)

    gateway: Gateway
    administration: Administration
    reload: Reload
    key_watch: KeyWatch

    def close_subscribers(reason: str) -> None:
        gateway.close_subscribers(reason)
        if reason == "announcements-missed":
            reload.run_soon()  # one of them may have been an order to do so
        key_watch.look_soon()

    async def obey(order: bytes) -> bytes:
        return await administration.obey(order)

    bus = Bus(
        settings,
        redis_url,
        route=api.route,
        deliver=deliver,
        missed=close_subscribers,
        metrics=metrics,
        announced=obey,
        describe_mismatch=api.describe_mismatch,
    )
    limits = Limits(settings, wheel.now_ms)
    # A WebSocket client has to be told before it is closed for not having initialised, or it would come again for ever.
    longest_ms = settings.init_timeout_ms // 2
    refusals = Refusals(min(settings.refusal_delay_ms, longest_ms), min(settings.max_refusal_delay_ms, longest_ms))
    authorize = hold_refusals(authorizer.authorize_client, refusals, addresses)
    catch_up = CatchUp(bus.history, dispatcher, metrics)
    subscriptions = Subscriptions(
        registry,
        authorize=authorize,
        plan=api.plan,
        directory=bus,
        metrics=metrics,
        limits=limits,
        backlogs=Backlogs(registry, settings.max_outgoing_bytes, metrics),
        catch_up=catch_up,
        read_token=bus.history.read_token,
        recheck=api.recheck,
        holds=authorizer.holds,
        longest_resolving_ms=settings.request_execution_timeout_ms,
    )
    gateway = Gateway(settings, authorize, subscriptions, wheel, metrics, limits, authorizer.holds)
    oversight = Oversight(gateway, registry, metrics)
    key_watch = KeyWatch(authorizer, oversight, bus.key_store, wheel)
    reload = Reload(
        settings,
        source,
        lambda read: load_schema(read.schema_path),
        build,
        lambda settings, schema: _prepare_resolvers(resolvers, settings, schema),
        api,
        authorizer,
        key_watch.revoke,
        oversight,
        set_log_level,
        metrics,
    )
    key_orders = KeyOrders(bus.key_store, bus.announce, time.time)
    administration = Administration(api, oversight, bus.announce, lambda: bus.gateway_id, reload, key_orders, key_watch)
    entrance = Entrance(refusals, limits, addresses.read, metrics, addresses.trace)
    app = create_app(
        api=api,
        publish=bus.publish,
        find_position=bus.history.find_position,
        authorizer=authorizer,
        administration=administration,
        metrics=metrics,
        is_ready=lambda: gateway.admission.describe_unreadiness() or bus.refusal or bus.is_ready,
        settings=settings,
        entrance=entrance,
    )
    await bus.start()
    try:
        await key_watch.load()
    except BaseException:
        await bus.stop()
        raise
    wheel.start()
    resolvers.start()
    gateway.start()
    key_watch.start()
    try:
        yield gateway, app, reload
    finally:
        await key_watch.stop()
        await reload.stop()
        wheel.stop()
        await subscriptions.stop()
        await resolvers.stop()
        await bus.stop()
        await key_sets.close()
        await http.aclose()


def _prepare_resolvers(host: RuntimeHost, settings: Settings, schema: ApiSchema) -> PreparedResolvers:
    runtime = host.prepare(settings, schema)
    return PreparedResolvers(
        runtime.resolvers,
        is_new=not host.is_current(runtime),
        start=lambda: host.start(runtime),
        commit=lambda: host.replace(runtime),
    )


def set_log_level(level: str) -> None:
    """Let lines from this level on be printed; libraries only warn."""
    logging.getLogger().setLevel(level.upper())
    for library in ("httpx", "httpcore", "uvicorn", "websockets"):
        logging.getLogger(library).setLevel(max(logging.WARNING, logging.getLogger().level))
