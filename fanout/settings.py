"""Configuration: every setting with its unit, default and reason. Knows no room.

A setting is given by command line option, environment variable `FANOUT_<NAME>` or a key of the TOML file, in
that order of precedence; docs/operations.md lists them. `load_settings` is the only way in.
What can change while a process serves is in `RELOADED`; the rest takes a restart.
"""

from __future__ import annotations

import difflib
import ipaddress
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    ValidationError,
    model_validator,
)

from fanout.auth_settings import CognitoSettings, IamSettings, LambdaSettings, OidcSettings
from fanout.errors import ConfigurationError
from fanout.model import AuthMode
from fanout.origins import Origins
from fanout.resolver_settings import NONE, HttpDataSourceSettings, ResolverSettings

ENVIRONMENT_PREFIX = "FANOUT_"
# Read by the command line itself: the file's path, and what the client commands use.
ENVIRONMENT_BESIDE_SETTINGS = {"FANOUT_CONFIG", "FANOUT_URL", "FANOUT_TOKEN"}
# What Kubernetes gives every container beside a Service that is called `fanout`.
_KUBERNETES_LINK = re.compile(r"FANOUT_(SERVICE_(HOST|PORT(_\w+)?)=.*|PORT(_\d+_\w+)?=(tcp|udp)://.*|PORT_\d+_\w+=.*)")

Fraction = Annotated[float, Field(ge=0, lt=1)]
EnvironmentName = Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_]{1,63}$")]
EnvironmentValue = Annotated[str, Field(max_length=512)]


class SubscriptionSettings(BaseModel):
    """What the API's owner sets for one subscription field (`[subscriptions.<field>]` in the file)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    filter: dict[str, Any] | None = None
    """Filter template; `"$args.x"` and `"$identity.x"` are filled in for each subscriber, who cannot weaken it."""
    invalidation_filter: dict[str, Any] | None = None
    """Template in the same form; `POST /admin/subscriptions/invalidate` ends the subscriptions that it matches for."""


class MutationSettings(BaseModel):
    """What the API's owner sets for one mutation field (`[mutations.<field>]` in the file)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    stream: str | None = None
    """The event stream that its events are published to; without it the first."""


class Settings(BaseModel):
    """All settings of one deployment, checked. Times are in milliseconds, sizes in bytes."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True, use_attribute_docstrings=True)

    # What is served, and where
    schema_path: Path | None = Field(None, alias="schema")
    """SDL file of the API; without it the built-in chat API is served."""
    host: str = "127.0.0.1"
    """Address to listen on; loopback unless asked, so that nothing is exposed by accident."""
    port: Annotated[int, Field(ge=0, le=65535)] = 8080
    """TCP port; 0 lets the system choose one, which is printed."""
    workers: PositiveInt = 1
    """Gateway processes that share the port."""
    worker_port: Annotated[int, Field(gt=0, le=65000)] | None = None
    """With several workers, number N (from 0) also listens on this port + N: `/metrics` of each can be scraped."""
    tls_cert: Path | None = None
    """Certificate chain (PEM) for HTTPS and WSS."""
    tls_key: Path | None = None
    """Private key (PEM) of `tls_cert`."""
    tls_dev: bool = False
    """Make and use a development certificate: Amplify always connects with wss."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """Lines below this level are not printed."""
    subscriptions: dict[str, SubscriptionSettings] = {}
    """Settings of single subscription fields."""
    mutations: dict[str, MutationSettings] = {}
    """Settings of single mutation fields."""

    # Resolvers
    resolvers: Path | None = None
    """Directory of resolvers in AppSync's JavaScript; without it fields are resolved as ever."""
    resolver: dict[str, ResolverSettings] = {}
    """Settings of single resolvers, by `Type.field`."""
    data_source: dict[str, HttpDataSourceSettings] = {}
    """What resolvers may ask, by name; `NONE` is always there."""
    environment_variables: dict[EnvironmentName, EnvironmentValue] = Field({}, max_length=50)
    """`ctx.env`; AppSync's limits: 50, names of 2 to 64 letters, digits and `_`, values of up to 512 characters."""
    resolver_processes: PositiveInt = 2
    """Processes that run resolvers at once; one more stands by. Their code never runs in the gateway's own."""
    resolver_time_limit_ms: PositiveInt = 25
    """Processor time of one call of a resolver or function."""
    resolver_memory_bytes: Annotated[int, Field(ge=4 * 1024 * 1024)] = 16 * 1024 * 1024
    """Memory of one module in one process: library, code, and what a call makes."""
    resolver_stack_bytes: Annotated[int, Field(ge=64 * 1024, le=1024 * 1024)] = 256 * 1024
    """Stack of one call: how deep functions of a resolver may call each other."""
    max_waiting_resolver_calls: PositiveInt = 20_000
    """Calls of one gateway that wait for a process; beyond that clients are told to come again."""
    max_resolvers_per_request: PositiveInt = 10_000
    """Resolvers that one request may run; AppSync's quota."""
    request_execution_timeout_ms: PositiveInt = 30_000
    """A request whose resolvers have not ended by then has failed; AppSync's quota."""

    # Who may come in
    auth_mode: AuthMode = AuthMode.API_KEY
    """The default authorization mode: that of types and fields without a directive."""
    anonymous: bool = False
    """Let clients in that give no credentials at all, as the default mode with neither claims nor groups."""
    cognito: tuple[CognitoSettings, ...] = ()
    """User pools whose tokens are good."""
    oidc: tuple[OidcSettings, ...] = ()
    """OpenID Connect issuers whose tokens are good."""
    iam: IamSettings | None = None
    """Who may sign requests with AWS Signature Version 4."""
    lambda_authorizer: LambdaSettings | None = None
    """The function that decides about tokens which are none of an issuer."""
    api_key: tuple[str, ...] = ()
    """Keys for subscriptions and `/graphql`: `KEY` or `sha256:HEX`, and `@2027-01-31T00:00:00Z` for an expiry."""
    publisher_key: tuple[str, ...] = ()
    """Keys for `/events`, written in the same way."""
    admin_key: tuple[str, ...] = ()
    """Keys for `/admin`, written in the same way; without one there is no admin API."""
    refusal_delay_ms: NonNegativeInt = 100
    """No wrong credentials are refused earlier, whatever is wrong; 0: at once."""
    max_refusal_delay_ms: PositiveInt = 5_000
    """After 8 failures of an address that time doubles with each one, up to this; good credentials never wait."""
    allowed_origins: tuple[str, ...] = ("*",)
    """Web pages that may connect and call: `https://app.example.com`, `https://*.example.com`; any, as in AppSync."""

    # Redis
    redis_url: Annotated[str, Field(min_length=1)] | None = None
    """`redis://`, `rediss://` or `unix://`, a Redis Cluster too; without it a Valkey server of our own is run."""
    stream: tuple[str, ...] = ("fanout:events",)
    """Event streams to read; each is one ordering domain. The first is published to, unless another is asked for."""
    key_prefix: str = "fanout:"
    """In front of every key but the streams', so that deployments can share a Redis."""
    stream_max_length: PositiveInt = 1_000_000
    """Events kept in a stream by our own publishing (MAXLEN ~): what can still be delivered after an outage."""
    inbox_max_length: PositiveInt = 100_000
    """Events that wait for one gateway before the oldest are trimmed and its clients told that they missed some."""
    dead_letter_max_length: PositiveInt = 10_000
    """Malformed entries kept for a look."""
    read_batch_size: PositiveInt = 512
    """Events taken per read: bounds the time that one batch holds the event loop."""
    read_batch_bytes: PositiveInt = 4 * 1024 * 1024
    """About how much is taken per read: the number of events follows the size of those before."""
    publish_buffer_bytes: PositiveInt = 16 * 1024 * 1024
    """Events of `/graphql` and `/events` that wait for Redis; beyond that the answer is 503."""
    max_indexed_paths: PositiveInt = 16
    """Filter paths per subscription field by which a gateway is looked up; each costs every event about 1 us."""
    lease_ms: PositiveInt = 5_000
    """How long a dead router keeps its stream before another gateway takes over; renewed at a third of it."""
    heartbeat_interval_ms: PositiveInt = 3_000
    """How often a gateway says that it lives."""
    heartbeat_timeout_ms: PositiveInt = 15_000
    """Silence after which the other gateways clean up after it."""
    bucket_linger_ms: PositiveInt = 30_000
    """How long a gateway stays in a bucket after its last subscriber: reconnects then cost no Redis write."""
    idempotency_window_ms: PositiveInt = 300_000
    """How long the key of an event (`id`) is remembered."""

    # Connections
    init_timeout_ms: PositiveInt = 10_000
    """A connection that has not initialised by then is closed; Amplify gives up after 15 s and leaves its socket."""
    keep_alive_interval_ms: PositiveInt = 60_000
    """Between two `ka` messages; AppSync's value."""
    connection_timeout_ms: PositiveInt = 300_000
    """Told in `connection_ack`: clients reconnect after that time without a `ka`; AppSync's value."""
    ping_after_silence_ms: PositiveInt = 300_000
    """A client that has sent nothing (not even a pong) for so long is sent a WebSocket ping."""
    pong_timeout_ms: PositiveInt = 20_000
    """A client that does not answer a ping for so long is taken for dead."""
    idle_timeout_ms: PositiveInt = 7_200_000
    """No client message and nothing delivered for so long: closed."""
    max_lifetime_ms: PositiveInt = 86_400_000
    """Longest life of a connection; AppSync's value."""
    lifetime_jitter: Fraction = 0.1
    """Fraction by which a life may be shorter, so that reconnects do not pile up."""
    drain_delay_ms: NonNegativeInt = 0
    """After SIGTERM, how long `/readyz` says no while everything is still served: load balancers have to notice."""
    drain_per_second: PositiveInt = 1_000
    """Clients closed per second after that, so that they do not all reconnect at once; more if they are many."""
    shutdown_grace_ms: PositiveInt = 10_000
    """After `drain_delay_ms`, all the time there is for closing clients; who has not closed by then is cut off."""
    close_timeout_ms: PositiveInt = 10_000
    """A client that has not answered our close frame by then is cut off; how long a slow one may take to read why."""
    max_subscriptions_per_connection: PositiveInt = 200
    """AppSync's quota."""
    max_payload_bytes: PositiveInt = 240 * 1024
    """Largest payload of a subscription; AppSync's quota. Larger ones are replaced by an error that says so."""
    max_message_bytes: PositiveInt = 128 * 1024
    """Largest message from a client."""
    max_outgoing_bytes: PositiveInt = 1024 * 1024
    """Unsent bytes per connection before it is closed as a slow client."""
    work_budget_ms: PositiveInt = 20
    """Time that messages from clients may take of one turn of the event loop; what is left waits its turn."""
    compression: bool = False
    """Offer permessage-deflate without context takeover: a payload is compressed once per group of subscribers."""

    # Overload
    max_connections: PositiveInt | None = None
    """Open connections of one gateway, HTTP included, before new WebSockets get 503; else its file descriptors do."""
    max_unauthenticated_connections: PositiveInt | None = None
    """Those among them that have not initialised, before new WebSockets get 503."""
    max_memory_bytes: PositiveInt | None = None
    """Resident memory of one gateway, looked at once a second, before new WebSockets get 503; Linux only."""
    max_connections_per_address: PositiveInt | None = None
    """WebSockets from one address (IPv6: one /64). No default: behind a proxy or NAT many clients are one address."""
    max_connections_per_identity: PositiveInt | None = None
    """WebSockets of one identity. No default: an API key is that of all users of an application."""
    max_connects_per_second_per_address: PositiveFloat | None = None
    """New WebSockets from one address, on the average of `rate_window_ms`."""
    max_connects_per_second_per_identity: PositiveFloat | None = None
    """The same of one identity."""
    max_subscribes_per_second_per_address: PositiveFloat | None = None
    """Starts of subscriptions from one address, on the same average."""
    max_subscribes_per_second_per_identity: PositiveFloat | None = None
    """The same of one identity."""
    max_messages_per_second_per_address: PositiveFloat | None = None
    """Messages (pings and pongs too) from one address, on the same average; beyond it the client is closed."""
    max_messages_per_second_per_identity: PositiveFloat | None = None
    """The same of one identity."""
    max_requests_per_second_per_address: PositiveFloat | None = None
    """Requests to `/graphql`, `/events` and `/admin` from one address, on the same average."""
    max_requests_per_second_per_identity: PositiveFloat | None = None
    """The same of one identity."""
    rate_window_ms: PositiveInt = 10_000
    """What was not used of a rate for so long can be used at once: clients that reconnect start all they had."""
    max_request_header_bytes: PositiveInt = 64 * 1024
    """Header of an HTTP request or upgrade; beyond about that the answer is 431."""
    request_timeout_ms: PositiveInt = 60_000
    """An HTTP request whose body has not come by then is cut off; its header has `init_timeout_ms`."""
    trusted_proxies: tuple[str, ...] = ()
    """Addresses or networks whose `X-Forwarded-For` is believed; for all others the address is that of the peer."""

    # Documents and filters
    max_document_tokens: PositiveInt = 3_000
    """Tokens of a document. AppSync allows 15,000; validating so many holds all clients up for half a second."""
    max_document_depth: PositiveInt = 75
    """Nesting of selections; AppSync's largest `queryDepthLimit`."""
    max_document_root_fields: PositiveInt = 200
    """Fields of the first level, fragments spread: a mutation publishes an event for each."""
    max_document_aliases: PositiveInt = 200
    """Aliases of a document: with them one request asks for one thing many times."""
    max_document_directives: PositiveInt = 200
    """Directives of a document, at any place."""
    introspection: bool = True
    """Clients may ask for the schema (as AppSync's `introspectionConfig`); else errors suggest no names either."""
    max_filter_attributes: PositiveInt = 5
    """Distinct fields in one AND-group of a filter; AppSync's limit, like the next ones."""
    max_filter_combinations: PositiveInt = 10
    """AND-groups of a filter, where `in` counts once per value."""
    max_filter_in_values: PositiveInt = 5
    """Values of `in` and `notIn`."""
    max_filter_contains_any_values: PositiveInt = 20
    """Values of `containsAny`."""
    max_filter_string_length: PositiveInt = 256
    """Characters of a string value."""
    max_filter_path_depth: PositiveInt = 5
    """Names in a nested path `a.b.c.d.e`."""

    @model_validator(mode="after")
    def _check_tls(self) -> Settings:
        if (self.tls_cert is None) != (self.tls_key is None):
            raise ValueError("tls_cert and tls_key go together: give both or none")
        if self.tls_dev and self.tls_cert is not None:
            raise ValueError("tls_dev makes its own certificate: leave tls_cert and tls_key out, or tls_dev")
        if self.heartbeat_timeout_ms < 3 * self.heartbeat_interval_ms:
            raise ValueError("heartbeat_timeout_ms: give at least three times heartbeat_interval_ms")
        if self.keep_alive_interval_ms >= self.connection_timeout_ms:
            raise ValueError("keep_alive_interval_ms: has to be below connection_timeout_ms, or clients reconnect")
        if not self.stream or not all(self.stream):
            raise ValueError("stream: name at least one event stream")
        if len(set(self.stream)) < len(self.stream):
            raise ValueError("stream: an event stream is named twice, name each once")
        if NONE in self.data_source:
            raise ValueError(f"data_source.{NONE}: this one is always there, and has no settings; name yours otherwise")
        for name, mutation in self.mutations.items():
            if mutation.stream is not None and mutation.stream not in self.stream:
                raise ValueError(
                    f"mutations.{name}.stream: {mutation.stream!r} is not one of the streams ({', '.join(self.stream)})"
                )
        try:
            Origins(self.allowed_origins)
        except ValueError as error:
            raise ValueError(f"allowed_origins: {error}") from None
        for network in self.trusted_proxies:
            try:
                ipaddress.ip_network(network)
            except ValueError as error:
                raise ValueError(f"trusted_proxies: {error}; give addresses or networks like 10.0.0.0/8") from None
        return self

    def stream_of(self, mutation: str) -> str:
        """The stream that events of a mutation are published to, if the publisher asks for none."""
        configured = self.mutations.get(mutation)
        return (configured.stream if configured else None) or self.stream[0]


SETTING_NAMES: tuple[str, ...] = tuple(field.alias or name for name, field in Settings.model_fields.items())
_LIST_SETTINGS = {"api_key", "publisher_key", "admin_key", "allowed_origins", "stream", "trusted_proxies"}
_FILE_ONLY_SETTINGS = {
    "subscriptions",
    "mutations",
    "resolver",
    "data_source",
    "environment_variables",
    "cognito",
    "oidc",
    "iam",
    "lambda_authorizer",
}
RESOLVER_SETTINGS = (
    "resolvers",
    "resolver",
    "data_source",
    "environment_variables",
    "resolver_processes",
    "resolver_time_limit_ms",
    "resolver_memory_bytes",
    "resolver_stack_bytes",
    "max_waiting_resolver_calls",
)
"""Fields of `Settings` that what runs resolvers is made by."""
RELOADED = (
    "schema_path",
    "subscriptions",
    *RESOLVER_SETTINGS,
    "auth_mode",
    "anonymous",
    "cognito",
    "oidc",
    "iam",
    "lambda_authorizer",
    "api_key",
    "publisher_key",
    "admin_key",
    "log_level",
)
"""Fields of `Settings` that a reload changes; connections, and what is in Redis, depend on all others."""


def load_settings(
    options: Mapping[str, Any],
    environment: Mapping[str, str],
    config_path: Path | None = None,
) -> Settings:
    """Merge command line, environment and file (in this order of precedence) and check the result.

    Args:
        options: settings given on the command line, by name; None means not given.
        environment: environment variables; only `FANOUT_*` are looked at, lists are separated by commas.
        config_path: TOML file whose keys are setting names, or None.

    Raises:
        ConfigurationError: an unreadable file, an unknown name or a bad value, naming the place it came from.
    """
    merged: dict[str, Any] = {}
    origins: dict[str, str] = {}
    for origin, values in (
        (str(config_path), _read_file(config_path) if config_path else {}),
        ("environment variable", _read_environment(environment)),
        ("option", {name: value for name, value in options.items() if value is not None}),
    ):
        for name, value in values.items():
            if name not in SETTING_NAMES:
                raise ConfigurationError(f"{_describe(origin, name)}: unknown setting{_suggest(name)}")
            merged[name] = value
            origins[name] = origin
    try:
        return Settings.model_validate(merged, context={"environment": environment})
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        path = ".".join(str(part) for part in first["loc"])
        where = _describe(origins.get(path.split(".")[0], ""), path) if path else "settings"
        # Of a table in the file; settings themselves have been looked at before.
        what = "unknown setting" if first["type"] == "extra_forbidden" else first["msg"].removeprefix("Value error, ")
        raise ConfigurationError(f"{where}: {what}") from None


@dataclass(frozen=True, slots=True)
class SettingsSource:
    """Where a process's settings come from, so that they can be read again.

    Args:
        options, environment, config_path: see `load_settings`.
        generated: development keys by setting, for settings that nobody gives.
    """

    options: Mapping[str, Any]
    environment: Mapping[str, str]
    config_path: Path | None
    generated: Mapping[str, tuple[str, ...]]

    def read(self) -> Settings:
        """The settings as they are given now.

        Raises:
            ConfigurationError: see `load_settings`.
        """
        settings = load_settings(self.options, self.environment, self.config_path)
        missing = {name: keys for name, keys in self.generated.items() if not getattr(settings, name)}
        return settings.model_copy(update=missing)


def renew_settings(settings: Settings, source: SettingsSource) -> tuple[Settings, list[str]]:
    """What is in force after a reload, and the names of settings that were changed and take a restart.

    Raises:
        ConfigurationError: see `load_settings`.
    """
    read = source.read()
    renewed = settings.model_copy(update={name: getattr(read, name) for name in RELOADED})
    names = (name for name in Settings.model_fields if name not in RELOADED)
    return renewed, [public_name(name) for name in names if getattr(read, name) != getattr(settings, name)]


def public_name(field: str) -> str:
    """What a field of `Settings` is called where it is given."""
    return Settings.model_fields[field].alias or field


def _read_file(path: Path) -> dict[str, Any]:
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigurationError(f"{path}: cannot read the configuration file: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path}: not valid TOML: {error}") from None
    if isinstance(values.get("resolvers"), dict):  # with --resolvers it would be overridden unseen
        raise ConfigurationError(
            f'{path}: resolvers: this is the directory; settings of one are in [resolver."Type.field"]'
        )
    return values


def _read_environment(environment: Mapping[str, str]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for variable, text in environment.items():
        if not variable.startswith(ENVIRONMENT_PREFIX) or variable in ENVIRONMENT_BESIDE_SETTINGS:
            continue
        if _KUBERNETES_LINK.fullmatch(f"{variable}={text}"):
            continue
        name = variable.removeprefix(ENVIRONMENT_PREFIX).lower()
        if not text:
            raise ConfigurationError(f"environment variable {variable} is empty: give it a value, or unset it")
        if name in _FILE_ONLY_SETTINGS:
            raise ConfigurationError(f"environment variable {variable}: set this in the configuration file")
        if name in _LIST_SETTINGS:
            values[name] = tuple(part.strip() for part in text.split(",") if part.strip())
        else:
            values[name] = text
    return values


def _describe(origin: str, name: str) -> str:
    if origin == "environment variable":
        return f"environment variable {ENVIRONMENT_PREFIX}{name.upper()}"
    if origin == "option":
        return f"option --{name.replace('_', '-')}"
    return f"{origin}: {name}" if origin else name


def _suggest(name: str) -> str:
    close = difflib.get_close_matches(name, SETTING_NAMES, n=1)
    return f", did you mean {close[0]!r}?" if close else ", see docs/operations.md for the list"
