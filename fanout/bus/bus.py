"""The bus: events between all gateways by way of Redis. Wires the modules of this room and runs their tasks.

Knows how the parts are put together and nothing of what they do.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Sequence

from fanout.bus.announcements import Announced, Announcements, Handle, Teller
from fanout.bus.client import AccessRefused, Backoff, Endpoint, Link
from fanout.bus.entries import DescribeMismatch
from fanout.bus.key_store import KeyStore
from fanout.bus.keys import Keys
from fanout.bus.local import LocalGateway
from fanout.bus.path_limit import PathLimit
from fanout.bus.placement import Placement
from fanout.bus.publisher import Publisher
from fanout.bus.refusals import Refusals
from fanout.bus.replay import ReplayReader
from fanout.bus.router import Route, Router
from fanout.bus.slots import find_slot
from fanout.errors import ConfigurationError, Unavailable
from fanout.metrics import Metrics
from fanout.model import Bucket, Event, NewEvent
from fanout.settings import Settings

_logger = logging.getLogger(__name__)

_STOP_TIMEOUT_S = 2.0


class Bus:
    """One gateway's way to all events, and to all other gateways.

    Args:
        settings: streams, key prefix, times and sizes.
        redis_url: where Redis is.
        route: gives the subscription fields that a mutation is linked to, `()` if nobody is; None: no such mutation.
        deliver: called with a stream and its next events, in stream order, never with an id twice. It may not await;
            the bus waits for it, so what it takes is what the next events wait.
        missed: called with a reason when events may have passed this gateway by: its subscribers have to be told.
            The reasons are `inbox-trimmed`, `history-trimmed`, `history-lost`, `membership-lost`, `failed-over`,
            `internal-error`, and `announcements-missed`: then what an operator ordered may have passed by.
        metrics: counted into, see `fanout.metrics`.
        announced: called with each announcement, this gateway's own included; see `Announcements`.
        describe_mismatch: says why data cannot be the result of a mutation; such entries are put aside.

    Raises:
        ConfigurationError: a URL that cannot be used.
    """

    def __init__(
        self,
        settings: Settings,
        redis_url: str,
        route: Route,
        deliver: Callable[[str, list[Event]], None],
        missed: Callable[[str], None],
        metrics: Metrics,
        announced: Handle | None = None,
        describe_mismatch: DescribeMismatch | None = None,
    ) -> None:
        self._endpoint = Endpoint(redis_url)
        self._endpoint.topology.failed_over = self._note_failover
        self._streams = settings.stream
        self._missed = missed
        self._metrics = metrics
        self._links: list[Link] = []
        self._tasks: list[asyncio.Task[None]] = []
        keys = self._keys = Keys(settings.key_prefix)
        self._refusals = Refusals()
        self._paths = PathLimit(settings.max_indexed_paths, metrics)
        self._local = LocalGateway(
            settings, keys, self._open_link, deliver, self._tell_missed, self._wake_router, metrics, self._refusals
        )
        self._registration = self._local.membership.registration
        self._announcements = Announcements(
            keys,
            self._open_link("announcements"),
            lambda: self.gateway_id,
            announced or _ignore,
            lambda: self._tell_missed("announcements-missed"),
        )
        self._teller = Teller(keys, self._open_link("announcer"))
        self.key_store = KeyStore(keys, self._open_link("keys"))
        """The keys that operators have made."""
        self._stream_of = settings.stream_of
        self._publishers = {
            stream: Publisher(
                stream,
                settings.stream_max_length,
                settings.publish_buffer_bytes,
                self._open_link("publisher"),
                metrics,
                self._refusals,
            )
            for stream in settings.stream
        }
        placement = Placement(len(settings.stream), settings.lease_ms)
        self.history = ReplayReader(
            settings,
            keys,
            self._open_link("history"),
            self._open_link("positions"),
            self._local,
            self._local.intake,
            route,
            metrics,
            describe_mismatch,
        )
        """The streams' past, for subscribers who resume."""
        self._routers = {
            stream: Router(
                stream,
                settings,
                keys,
                self._open_link("router"),
                self._open_link("stream"),
                self._local,
                route,
                self._local.intake,
                metrics,
                placement,
                self._refusals,
                describe_mismatch,
            )
            for stream in settings.stream
        }

    @property
    def gateway_id(self) -> str:
        """The id of this gateway; another one after it was written off and has joined anew."""
        return self._local.gateway_id

    @property
    def is_ready(self) -> bool:
        """Whether Redis answers, knows this gateway, and refuses it nothing. Events published now arrive."""
        return bool(self._tasks) and self._local.membership.is_verified and not self._refusals.reason

    @property
    def refusal(self) -> str:
        """What Redis refuses this gateway now, in words that may be shown to anybody; empty: nothing."""
        return self._refusals.reason

    async def start(self) -> None:
        """Join the gateways and begin to read.

        Raises:
            Unavailable: Redis cannot be reached.
            ConfigurationError: Redis is too old, or refuses us.
        """
        membership = self._local.membership
        try:
            await self._announcements.join()
            await membership.enter()
        except AccessRefused as error:
            await self._close_links()
            raise ConfigurationError(str(error)) from None
        except Unavailable as error:
            await self._close_links()
            raise Unavailable(f"{error}; check that it runs and that redis_url is right") from None
        except ConfigurationError:
            await self._close_links()
            raise
        self._run("membership", membership.run)
        self._run("inbox", self._local.read_inbox)
        self._run("announcements", self._announcements.run)
        for stream, publisher in self._publishers.items():
            self._run(f"publisher to {stream}", publisher.run, is_delivering=False)
        if len(self._routers) > 1:
            self._run("positions", self.history.run)
        for stream, router in self._routers.items():
            self._run(f"router of {stream}", router.run)

    async def stop(self) -> None:
        """Give back leases, leave all buckets, and remove heartbeat and inbox; if Redis is away, the others will."""
        tasks, self._tasks = self._tasks, []
        for publisher in self._publishers.values():
            publisher.close()
        self.history.stop()
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
            try:
                async with asyncio.timeout(_STOP_TIMEOUT_S):
                    for router in self._routers.values():
                        await router.release()
                    await self._local.membership.leave()
            except (Unavailable, TimeoutError) as error:
                _logger.warning("could not tell Redis that this gateway is gone: %s", error)
        await self._close_links()

    async def register(self, buckets: Iterable[Bucket]) -> None:
        """Count one more registration of each bucket; return when every event published from now on is looked up so.

        Waits while Redis is away. A cancelled call leaves nothing behind. Costs one shared round trip, or nothing if
        this gateway is in all of the buckets.
        """
        buckets = tuple(buckets)
        try:
            await self._registration.register(self._paths.place(buckets))
        except asyncio.CancelledError:
            self._paths.take_back(buckets)
            raise

    def release(self, buckets: Iterable[Bucket]) -> None:
        """Count one registration of each bucket less; the last one is left after `bucket_linger_ms`. Never awaits."""
        self._registration.release(self._paths.take_back(buckets))

    async def publish(self, events: Sequence[NewEvent]) -> list[str]:
        """Append events to their streams and return their ids.

        Those of one stream are appended all or none and in order. Streams are appended to one after the other, so if
        one fails, then what goes to streams named before it may have been published.

        Raises:
            Unavailable: Redis did not answer or refused; see `Publisher.publish`.
        """
        parts: dict[str, list[int]] = {}
        for index, event in enumerate(events):
            parts.setdefault(event.stream or self._stream_of(event.mutation), []).append(index)
        ids = [""] * len(events)
        for stream, indexes in parts.items():
            appended = await self._publishers[stream].publish([events[index] for index in indexes])
            for index, entry_id in zip(indexes, appended, strict=True):
                ids[index] = entry_id
        return ids

    async def announce(self, body: bytes, wait_s: float) -> Announced:
        """Tell all live gateways something, and wait for their answers, at most `wait_s`.

        Raises:
            Unavailable: Redis did not answer; see `Teller.announce`.
        """
        return await self._teller.announce(body, wait_s)

    def _open_link(self, name: str) -> Link:
        link = Link(self._endpoint, f"fanout-{name}", lambda: self._local.membership.suspect())
        self._links.append(link)
        return link

    async def _close_links(self) -> None:
        for link in self._links:
            await link.close()

    def _note_failover(self, slots: frozenset[int]) -> None:
        """A replica serves these slots of a cluster now, and may lack the last writes to them."""
        if find_slot(("GET", self._keys.announcements)) in slots:
            self._announcements.note_loss()
            self._tell_missed("announcements-missed")
        membership = self._local.membership
        for key in (self._keys.inbox(membership.gateway_id), *self._streams):
            if find_slot(("GET", key)) in slots:
                _logger.warning("a replica has taken over %s, whose last entries may be lost", key)
                membership.join_anew("failed-over")
                return
        # All else is compared with what this gateway has written, and written again.
        membership.suspect()

    def _wake_router(self, stream: str) -> None:
        if router := self._routers.get(stream):
            router.wake()

    def _tell_missed(self, reason: str) -> None:
        if reason == "membership-lost":
            self._announcements.note_loss()
        self._metrics.missed[reason] += 1
        self._missed(reason)

    def _run(self, name: str, run: Callable[[], Awaitable[None]], *, is_delivering: bool = True) -> None:
        running = self._keep_running(name, run, is_delivering)
        self._tasks.append(asyncio.create_task(running, name=f"bus {name}"))

    async def _keep_running(self, name: str, run: Callable[[], Awaitable[None]], is_delivering: bool) -> None:
        """Run a task that ends only by a defect of ours, or of `deliver`; then run it again.

        If it is one that events go through on their way to subscribers, these are told.
        """
        backoff = Backoff()
        has_failed = False
        while True:
            try:
                if has_failed:
                    has_failed = False
                    if is_delivering:
                        self._tell_missed("internal-error")
                await run()
            except Exception:  # our defect in one task: the others go on, and it is begun again
                _logger.exception("defect in the bus (%s), starting it again", name)
                has_failed = True
                await backoff.pause()


async def _ignore(body: bytes) -> bytes:
    del body
    return b""
