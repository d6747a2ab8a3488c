"""The command `fanout`: serve, publish, subscribe, check, keys. Turns our errors into one line and an exit code."""

from __future__ import annotations

import asyncio
import os
import signal
import ssl
import sys
import time
from collections.abc import AsyncGenerator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import orjson
import typer

from fanout import __version__, banner, client, key_commands
from fanout.auth import generate_key
from fanout.bus import EmbeddedServer
from fanout.development_tls import create_development_certificate
from fanout.errors import ConfigurationError, ConfigurationErrors, FanoutError
from fanout.key_orders import DEFAULT_DAYS, MOST_DAYS
from fanout.model import AuthMode, KeyKind
from fanout.reload import describe_directives, warn_of_directives
from fanout.service import TlsFiles, check_api, check_ways_in, load_schema, open_listener
from fanout.settings import Settings, SettingsSource, load_settings
from fanout.supervisor import configure_logging, run_single, run_workers

app = typer.Typer(
    help="Self-hosted real-time GraphQL: AWS AppSync subscriptions over WebSocket, events from Redis streams.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

ResolversOption = Annotated[
    Path | None,
    typer.Option(help="Directory of resolvers in AppSync's JavaScript; see docs/resolvers.md.", metavar="DIR"),
]
ConfigOption = Annotated[
    Path | None, typer.Option("--config", envvar="FANOUT_CONFIG", help="TOML file with settings.", metavar="FILE")
]
RedisOption = Annotated[
    str | None,
    typer.Option("--redis-url", help="The Redis of the service, as `fanout serve` is given it.", metavar="URL"),
]
UrlOption = Annotated[str, typer.Option("--url", envvar="FANOUT_URL", help="Where the service listens.")]
CaOption = Annotated[Path | None, typer.Option("--ca", help="CA certificate to trust (--tls-dev prints it).")]

keys_app = typer.Typer(help="Create, list and revoke keys that are stored in Redis, for all gateways at once.")
app.add_typer(keys_app, name="keys", no_args_is_help=True)


def main() -> None:
    """Entry point. Exit codes: 0 done, 1 refused or failed, 2 wrong usage or configuration."""
    try:
        app()
    except ConfigurationError as error:
        _fail(error, 2)
    except FanoutError as error:
        _fail(error, 1)
    except KeyboardInterrupt:
        sys.exit(130)


@app.command()
def serve(
    schema: Annotated[
        Path | None, typer.Option(help="SDL file of the API [default: the built-in chat API].", metavar="FILE")
    ] = None,
    resolvers: ResolversOption = None,
    host: Annotated[str | None, typer.Option(help="Address to listen on [default: 127.0.0.1].")] = None,
    port: Annotated[int | None, typer.Option(help="TCP port, 0 for any free one [default: 8080].")] = None,
    redis_url: Annotated[
        str | None, typer.Option(help="redis://, rediss:// or unix:// [default: an embedded Valkey].", metavar="URL")
    ] = None,
    stream: Annotated[list[str] | None, typer.Option(help="Event stream; repeat [default: fanout:events].")] = None,
    workers: Annotated[int | None, typer.Option(help="Gateway processes on the port [default: 1].")] = None,
    api_key: Annotated[list[str] | None, typer.Option(help="Key for subscriptions and /graphql; repeat.")] = None,
    publisher_key: Annotated[list[str] | None, typer.Option(help="Key for /events; repeat.")] = None,
    admin_key: Annotated[list[str] | None, typer.Option(help="Key for /admin; repeat [default: no admin API].")] = None,
    tls_cert: Annotated[Path | None, typer.Option(help="Certificate chain (PEM).", metavar="FILE")] = None,
    tls_key: Annotated[Path | None, typer.Option(help="Private key (PEM).", metavar="FILE")] = None,
    tls_dev: Annotated[bool | None, typer.Option("--tls-dev", help="Make a development certificate.")] = None,
    log_level: Annotated[str | None, typer.Option(help="debug, info, warning or error [default: info].")] = None,
    config: ConfigOption = None,
) -> None:
    """Serve subscriptions, mutations and events. Every option is also FANOUT_<NAME>; see docs/operations.md."""
    options = {
        "schema": schema,
        "resolvers": resolvers,
        "host": host,
        "port": port,
        "redis_url": redis_url,
        "stream": stream or None,
        "workers": workers,
        "api_key": api_key or None,
        "publisher_key": publisher_key or None,
        "admin_key": admin_key or None,
        "tls_cert": tls_cert,
        "tls_key": tls_key,
        "tls_dev": tls_dev,
        "log_level": log_level,
    }
    # Who serves lets it come when it can be handled; before that it would end the process.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP})
    settings = load_settings(options, os.environ, config)
    configure_logging(settings.log_level)
    # Before anything is started, so that what does not fit is told.
    served, _ = check_api(load_schema(settings.schema_path), settings)
    check_ways_in(settings)
    warn_of_directives(served.schema, settings)
    stored = key_commands.find_stored(settings)
    made = {"publisher_key": KeyKind.PUBLISHER}
    if settings.auth_mode is AuthMode.API_KEY:  # where it is not the usual way in, none is let in that nobody asked for
        made["api_key"] = KeyKind.API
    generated = {
        name: generate_key() for name, kind in made.items() if not getattr(settings, name) and kind not in stored
    }
    tls = _prepare_tls(settings)
    is_shared = settings.workers > 1
    if is_shared and settings.port:
        open_listener(settings.host, settings.port).close()  # a shared port is not refused when others share it
    listener = open_listener(settings.host, settings.port, shared=is_shared)
    embedded = None if settings.redis_url else EmbeddedServer()
    try:
        redis_url = embedded.start() if embedded else str(settings.redis_url)
        source = SettingsSource(options, dict(os.environ), config, {name: (key,) for name, key in generated.items()})
        settings = source.read()
        text = banner.build_banner(
            served,
            settings,
            generated,
            listener.getsockname()[:2],
            tls_ca=tls[1],
            embedded_url=redis_url if embedded else "",
        )
        if is_shared:
            run_workers(settings, source, redis_url, listener, tls[0], lambda: print(text, flush=True))
        else:
            run_single(settings, source, redis_url, [listener], tls[0], lambda: print(text, flush=True))
    finally:
        if embedded:
            embedded.stop()


@app.command()
def publish(
    mutation: Annotated[str, typer.Argument(help="Name of a mutation of the schema.")],
    data: Annotated[str, typer.Argument(help="The mutation's result, as JSON; - reads it from standard input.")],
    url: UrlOption = "http://127.0.0.1:8080",
    publisher_key: Annotated[str, typer.Option(envvar="FANOUT_PUBLISHER_KEY", help="A publisher key.")] = "",
    stream: Annotated[str | None, typer.Option(help="Event stream, where the service has several.")] = None,
    ca: CaOption = None,
) -> None:
    """Publish one event and print its stream id."""
    parsed = _parse_json(sys.stdin.read() if data == "-" else data, "data")
    published = client.publish(url, publisher_key, mutation, parsed, stream=stream, verify=_trust(ca))
    for stream_id in asyncio.run(published):
        print(stream_id)


@app.command()
def subscribe(
    query: Annotated[str, typer.Argument(help="A subscription document.")],
    url: UrlOption = "http://127.0.0.1:8080",
    api_key: Annotated[str, typer.Option(envvar="FANOUT_API_KEY", help="An API key.")] = "",
    token: Annotated[
        str,
        typer.Option(envvar="FANOUT_TOKEN", help="In place of a key: a JWT, or a token for the authorizer function."),
    ] = "",
    variables: Annotated[str, typer.Option(help="Variables, as a JSON object.")] = "{}",
    operation: Annotated[str | None, typer.Option(help="Which operation of the document.")] = None,
    count: Annotated[int, typer.Option(help="End after so many events; 0 for never.", min=0)] = 0,
    ca: CaOption = None,
) -> None:
    """Subscribe and print events as they come, one JSON line each; a progress line on a terminal."""
    if api_key and token:
        raise ConfigurationError("a key and a token: give either --api-key (FANOUT_API_KEY) or --token (FANOUT_TOKEN)")
    parsed = _parse_json(variables, "--variables")
    if not isinstance(parsed, dict):
        raise ConfigurationError("--variables: give a JSON object")
    progress = _Progress()
    events = client.subscribe(
        url,
        api_key,
        query,
        parsed,
        operation,
        token=token,
        verify=_trust(ca),
        on_subscribed=lambda: progress.show(None),
    )
    asyncio.run(_print_events(events, progress, count))


@app.command()
def check(
    schema: Annotated[Path, typer.Argument(help="SDL file.")],
    resolvers: ResolversOption = None,
    config: ConfigOption = None,
) -> None:
    """Check a schema and its resolvers, and with --config filter templates and authorization modes, without serving."""
    settings = load_settings({"schema": schema, "resolvers": resolvers}, os.environ, config)
    checked = load_schema(schema)
    _, lines = check_api(checked, settings)
    print(banner.describe_schema(checked, str(schema)))
    if settings.resolvers is not None:
        print(banner.describe_resolvers(lines, settings.resolvers))
    for warning in describe_directives(checked, settings):
        print(f"warning: {warning}")


@keys_app.command("create")
def create_key(
    description: Annotated[str, typer.Option(help="What the list calls it.")] = "",
    days: Annotated[int, typer.Option(help="How long it is good.", min=1, max=MOST_DAYS)] = DEFAULT_DAYS,
    kind: Annotated[
        KeyKind, typer.Option(help="For subscriptions and /graphql, for /events, or for /admin.")
    ] = KeyKind.API,
    redis_url: RedisOption = None,
    config: ConfigOption = None,
) -> None:
    """Make a key and print it, once: only its SHA-256 is kept. All gateways accept it when this ends."""
    settings = load_settings({"redis_url": redis_url}, os.environ, config)
    key_commands.create(settings, kind, description, days)


@keys_app.command("list")
def list_keys(
    as_json: Annotated[bool, typer.Option("--json", help="One JSON array, for machines.")] = False,
    redis_url: RedisOption = None,
    config: ConfigOption = None,
) -> None:
    """List the stored keys: ids, descriptions and expiry, never a key."""
    key_commands.list_all(load_settings({"redis_url": redis_url}, os.environ, config), as_json=as_json)


@keys_app.command("revoke")
def revoke_key(
    id: Annotated[str, typer.Argument(help="As the list shows it, or its first digits.", metavar="ID")],
    redis_url: RedisOption = None,
    config: ConfigOption = None,
) -> None:
    """Make a stored key good for nothing, and end the connections and subscriptions that it opened."""
    key_commands.revoke(load_settings({"redis_url": redis_url}, os.environ, config), id)


@app.command()
def version() -> None:
    """Print the version."""
    print(f"fanout {__version__}")


def _prepare_tls(settings: Settings) -> tuple[TlsFiles | None, Path | None]:
    if settings.tls_dev:
        made = create_development_certificate(Path(".fanout/tls"), [settings.host])
        return TlsFiles(made.cert, made.key), made.ca
    if settings.tls_cert is None or settings.tls_key is None:
        return None, None
    try:
        ssl.create_default_context(ssl.Purpose.CLIENT_AUTH).load_cert_chain(settings.tls_cert, settings.tls_key)
    except OSError as error:
        raise ConfigurationError(f"{settings.tls_cert}, {settings.tls_key}: not a usable pair: {error}") from None
    return TlsFiles(settings.tls_cert, settings.tls_key), None


async def _print_events(events: AsyncGenerator[dict[str, Any], None], progress: _Progress, count: int) -> None:
    async for payload in events:
        progress.clear()
        sys.stdout.buffer.write(orjson.dumps(payload) + b"\n")
        sys.stdout.flush()
        progress.show(payload)
        if progress.count == count:
            break
    await events.aclose()


class _Progress:
    """The line on the terminal below the events; nothing where there is no terminal."""

    def __init__(self) -> None:
        self.count = 0
        self._shows = sys.stderr.isatty()
        self._since = time.monotonic()

    def show(self, payload: Mapping[str, Any] | None) -> None:
        if payload is not None:
            self.count += 1
        if self._shows:
            delay = _read_delay_ms(payload)
            latency = f"{delay:.0f} ms after createdAt" if delay is not None else "select createdAt to see the latency"
            seconds = time.monotonic() - self._since
            text = f"{self.count} events in {seconds:.0f} s, {latency}" if self.count else "subscribed, waiting"
            sys.stderr.write(f"\r\x1b[K{text}")
            sys.stderr.flush()

    def clear(self) -> None:
        if self._shows:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()


def _read_delay_ms(payload: Mapping[str, Any] | None) -> float | None:
    for value in ((payload or {}).get("data") or {}).values():
        if isinstance(value, dict) and isinstance(value.get("createdAt"), str):
            try:
                return (time.time() - datetime.fromisoformat(value["createdAt"]).timestamp()) * 1000
            except ValueError:
                return None
    return None


def _parse_json(text: str, what: str) -> Any:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise ConfigurationError(f"{what}: not valid JSON: {error}") from None


def _trust(ca: Path | None) -> ssl.SSLContext | None:
    if ca is None:
        return None
    try:
        return ssl.create_default_context(cafile=ca)
    except OSError as error:
        raise ConfigurationError(f"{ca}: not a CA certificate: {error}") from None


def _fail(error: FanoutError, code: int) -> None:
    for each in error.mistakes if isinstance(error, ConfigurationErrors) else (error,):
        print(f"fanout: {each}", file=sys.stderr)
    sys.exit(code)
