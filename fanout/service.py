"""Wiring: one gateway process from its settings. The only file that knows every room."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import uvicorn
from fastapi import FastAPI

from fanout.auth import ApiKeys, Authorizer
from fanout.bus import Bus
from fanout.engine import Dispatcher, Registry, Wheel
from fanout.errors import ConfigurationError
from fanout.gateway import Gateway, Limits, Server, Subscriptions, build_http_class, build_protocol_class
from fanout.metrics import Metrics
from fanout.schema import ApiSchema, MutationExecutor, SubscriptionPlanner, load_chat_schema, parse_schema
from fanout.settings import Settings
from fanout.web import create_app


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
    redis_url: str,
    listeners: Sequence[socket.socket],
    tls: TlsFiles | None,
    on_ready: Callable[[], None],
) -> None:
    """Run one gateway process until it is told to stop (SIGINT, SIGTERM), then drain it.

    Args:
        settings: checked settings.
        redis_url: the Redis to use, also where the settings name none (embedded server).
        listeners: bound sockets, see `open_listener`; all serve the same.
        tls: certificate and key, or None for plain HTTP and WebSocket.
        on_ready: called once connections are accepted.

    Raises:
        ConfigurationError, Unavailable: it cannot start; one line that says why.
    """
    async with _assemble(settings, redis_url) as (gateway, app):
        config = uvicorn.Config(
            app,
            ws=build_protocol_class(gateway),
            loop="none",
            http=build_http_class(gateway),
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            backlog=4096,
            ssl_certfile=tls.cert if tls else None,
            ssl_keyfile=tls.key if tls else None,
        )
        server = Server(config, gateway, on_ready)
        await server.serve(sockets=list(listeners))


@asynccontextmanager
async def _assemble(settings: Settings, redis_url: str) -> AsyncIterator[tuple[Gateway, FastAPI]]:
    schema = load_schema(settings.schema_path)
    planner = SubscriptionPlanner(schema, settings)
    authorizer = Authorizer(ApiKeys(settings.api_key), ApiKeys(settings.publisher_key, setting="publisher_key"))
    metrics = Metrics()
    registry = Registry(metrics)
    wheel = Wheel()
    dispatcher = Dispatcher(registry, schema.subscriptions_of, settings.max_payload_bytes, metrics, wheel.now_ms)

    def route(mutation: str) -> tuple[str, ...] | None:
        return schema.subscriptions_of(mutation) if mutation in schema.mutations else None

    gateway: Gateway

    def close_subscribers(reason: str) -> None:
        gateway.close_subscribers(reason)

    bus = Bus(
        settings,
        redis_url,
        route=route,
        deliver=dispatcher.deliver,
        missed=close_subscribers,
        metrics=metrics,
    )
    limits = Limits(settings, wheel.now_ms)
    subscriptions = Subscriptions(
        registry,
        authorize=lambda request: authorizer.authorize_client(request.headers),
        plan=planner.plan,
        directory=bus,
        metrics=metrics,
        limits=limits,
    )
    gateway = Gateway(settings, authorizer.authorize_client, subscriptions, wheel, metrics, limits)
    app = create_app(
        executor=MutationExecutor(schema, settings),
        publish=bus.publish,
        authorizer=authorizer,
        schema=schema,
        metrics=metrics,
        is_ready=lambda: gateway.admission.describe_unreadiness() or bus.is_ready,
        settings=settings,
    )
    await bus.start()
    wheel.start()
    gateway.start()
    try:
        yield gateway, app
    finally:
        wheel.stop()
        await subscriptions.stop()
        await bus.stop()
