"""What runs the resolvers of an API: their code, the processes it runs in, its data sources; replaced as a whole.

A reload makes a new one beside the one that serves. Requests that have begun by the former end by it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from fanout.errors import ConfigurationError
from fanout.metrics import Metrics
from fanout.resolvers.data_sources import DataSource
from fanout.resolvers.definitions import ResolverCode, compute_version
from fanout.resolvers.directory import read_directory, read_limits
from fanout.resolvers.http_clients import HttpClients
from fanout.resolvers.http_source import HttpSource
from fanout.resolvers.log import ResolverLog
from fanout.resolvers.pool import Pool
from fanout.resolvers.resolver import FieldResolver, Means
from fanout.schema import ApiSchema, Resolvers
from fanout.settings import RESOLVER_SETTINGS, Settings

logger = logging.getLogger("fanout.resolvers")

# Who is still served when the gateway ends has had `shutdown_grace_ms`; so long a queue is that of a flood.
_LONGEST_STOP_SECONDS: Final = 5.0
# Each has processes of 30 MB. Whose request still runs when it is reloaded again and again has errors in its fields.
_MOST_FORMER: Final = 3


def load_resolvers(settings: Settings, schema: ApiSchema) -> ResolverCode:
    """Read and check the resolvers that the settings name; without a directory there are none.

    Raises:
        ConfigurationError: see `read_directory`, or settings for resolvers of no directory.
    """
    if settings.resolvers is None:
        for key in settings.resolver:
            raise ConfigurationError(
                f'[resolver."{key}"]: give the directory of the resolvers, by `resolvers` or --resolvers'
            )
        return ResolverCode({})
    return read_directory(settings.resolvers, settings, schema)


class Runtime:
    """Processes and data sources for the code of one API.

    Nothing runs before `start`, and nothing ever where no field has code.

    Args:
        code: checked.
        settings: limits, data sources and environment.
        clients: for data sources on HTTP.
        log: of the resolvers.
        metrics: see `Means`.
    """

    def __init__(
        self, code: ResolverCode, settings: Settings, clients: HttpClients, log: ResolverLog, metrics: Metrics
    ) -> None:
        self.code = code
        """What they are made from."""
        self._settings = tuple(getattr(settings, name) for name in RESOLVER_SETTINGS)
        bodies = {name: module.body for name, module in code.modules.items()}
        self._pool = Pool(
            bodies, read_limits(settings), settings.resolver_processes, settings.max_waiting_resolver_calls
        )
        sources: dict[str, DataSource] = {
            name: HttpSource(name, each, clients) for name, each in settings.data_source.items()
        }
        self._has_code = bool(code.fields)
        self._is_started = False
        means = Means(self._pool, sources, MappingProxyType(settings.environment_variables), log, metrics)
        self.resolvers: Resolvers = {
            key: FieldResolver(each, compute_version(each, settings), means) for key, each in code.fields.items()
        }
        """By type and field."""

    def does_the_same(self, other: Runtime) -> bool:
        """Whether both are made from equal code and settings, secrets included."""
        return (self.code, self._settings) == (other.code, other._settings)

    def start(self) -> None:
        """Start the processes on the running loop, once; calls wait until one is up."""
        if self._has_code and not self._is_started:
            self._is_started = True
            self._pool.start()

    async def close(self) -> None:
        """Let calls under way end, then end the processes."""
        if self._is_started:
            await self._pool.close()


@dataclass(frozen=True, slots=True)
class _Retiring:
    """A former runtime on its way out.

    Args:
        task: ends it when no request can go on by it any more.
        is_told: to end it now. Told and not cancelled: it may be ending processes already.
    """

    task: asyncio.Task[None]
    is_told: asyncio.Event


class RuntimeHost:
    """Holds the runtime that serves, and former ones as long as requests may still go on by them.

    Args:
        settings: as they are when the process starts.
        schema: checked.
        metrics: see `Means`.

    Raises:
        ConfigurationError: see `load_resolvers`.
    """

    def __init__(self, settings: Settings, schema: ApiSchema, metrics: Metrics) -> None:
        self._metrics = metrics
        self._clients = HttpClients()
        self._log = ResolverLog()
        self._longest_request_s = settings.request_execution_timeout_ms / 1000
        self._current = self._build(settings, schema)
        self._started: set[Runtime] = set()
        self._retiring: dict[Runtime, _Retiring] = {}  # the longest first

    @property
    def resolvers(self) -> Resolvers:
        """Those that serve."""
        return self._current.resolvers

    def describe(self) -> list[str]:
        """A line per field, for people: what resolves it."""
        return self._current.code.describe()

    def prepare(self, settings: Settings, schema: ApiSchema) -> Runtime:
        """What is to serve by these settings: the current one where nothing has changed. Not for an event loop.

        Raises:
            ConfigurationError: see `load_resolvers`.
        """
        built = self._build(settings, schema)
        return self._current if built.does_the_same(self._current) else built

    def is_current(self, runtime: Runtime) -> bool:
        """Whether it is the one that serves."""
        return runtime is self._current

    def start(self, runtime: Runtime | None = None) -> None:
        """Let a runtime (the current one) be called from now on."""
        runtime = runtime or self._current
        self._retire_all_but(runtime, self._current)  # one that a defect has kept from taking over
        runtime.start()
        self._started.add(runtime)

    def replace(self, runtime: Runtime) -> None:
        """Serve by a started runtime from now on; the others end when all requests that began by them have ended."""
        self._current = runtime
        self._retire_all_but(runtime)

    async def stop(self) -> None:
        """End all processes and connections."""
        serving = self._started - self._retiring.keys()
        for each in self._retiring.values():
            each.is_told.set()
        ending = [
            *(each.task for each in self._retiring.values()),
            *(asyncio.ensure_future(runtime.close()) for runtime in serving),
        ]
        if ending:
            _, left = await asyncio.wait(ending, timeout=_LONGEST_STOP_SECONDS)
            if left:  # the processes end with this one
                logger.warning("calls of resolvers had not ended after %.0f s and were given up", _LONGEST_STOP_SECONDS)
        await self._clients.close()

    def _retire_all_but(self, *kept: Runtime) -> None:
        for former in self._started - set(kept) - self._retiring.keys():
            is_told = asyncio.Event()
            task = asyncio.get_running_loop().create_task(self._retire(former, is_told))
            self._retiring[former] = _Retiring(task, is_told)
        for each in list(self._retiring.values())[:-_MOST_FORMER]:
            each.is_told.set()

    async def _retire(self, runtime: Runtime, is_told: asyncio.Event) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(is_told.wait(), self._longest_request_s)
        await runtime.close()
        self._started.discard(runtime)
        del self._retiring[runtime]

    def _build(self, settings: Settings, schema: ApiSchema) -> Runtime:
        return Runtime(load_resolvers(settings, schema), settings, self._clients, self._log, self._metrics)
