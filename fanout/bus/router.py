"""Routes one stream while this gateway holds its lease: read in order, look up, forward, deliver, move on. Hot module.

Why no event is lost, doubled or overtaken, whatever is interrupted where:

- A lookup begins after its events were read, so it finds every gateway whose registration was finished before the
  event was published. That holds for any router, also for one that was stopped and does not know yet that another
  has taken over. So each router writes to an inbox all that the gateway was promised, in stream order.
- The checkpoint moves after the forwarding, and only under the lease. Who comes next starts there: entries may be
  forwarded twice, and the gateway's intake drops what it has already taken.
- This gateway's own events do not take the way through its inbox. So before the first of them, everything that the
  holder before has put into the inbox is taken.

Knows nothing of subscribers.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from redis.exceptions import ResponseError

from fanout.bus.client import BLOCK_MS, Backoff, Command, CommandRefused, Link
from fanout.bus.entries import (
    RELEASED,
    REPLACED,
    TRIMMED,
    DescribeMismatch,
    EntryId,
    Malformed,
    Note,
    dead_letter_fields,
    inbox_fields,
    note_fields,
    parse_event,
    parse_id,
)
from fanout.bus.epochs import renew_epoch
from fanout.bus.intake import Intake
from fanout.bus.keys import Keys
from fanout.bus.lease import Lease, LeaseLost
from fanout.bus.lookup import Lookup
from fanout.bus.placement import Placement
from fanout.bus.positions import Position, Replaced, StreamInfo, advance, parse_stream_info, present_position
from fanout.bus.read_size import ReadSize
from fanout.bus.refusals import Refusals
from fanout.bus.succession import Checkpoint, Hearing, dismiss, holds, look
from fanout.errors import Unavailable
from fanout.log_limit import LogLimit, tell_held_back
from fanout.metrics import Metrics
from fanout.model import Event
from fanout.settings import Settings

_logger = logging.getLogger(__name__)

_LONGEST_HEARING_PAUSE_MS = 100

Route = Callable[[str], tuple[str, ...] | None]


class Gateway(Protocol):
    """What a router needs of the gateway that it is a part of."""

    @property
    def gateway_id(self) -> str: ...

    async def wait_verified(self) -> None:
        """Wait until Redis answers and knows this gateway."""

    async def wait_inbox_read(self, gateway_id: str, up_to: EntryId) -> None:
        """Wait until the inbox was read up to and including an entry, as long as the gateway has this id."""

    def entered_at(self, stream: str) -> Position:
        """Where the stream was when this gateway joined."""

    def note(self, note: Note) -> None:
        """Do what a router's note asks for."""


@dataclass(slots=True)
class _Batch:
    """What became of the entries of one read."""

    ids: list[EntryId]
    events: list[tuple[Event, Sequence[str]]]
    keys: list[str]
    dead: list[Command]


class Router:
    """The router of one stream; idle while another gateway holds the lease.

    Args:
        stream: the event stream.
        settings: lease, batch, inbox, dead letter and idempotency sizes and times.
        keys: key names.
        commands: connection of its own, for everything but the blocking read.
        reads: connection of its own for that.
        gateway: this gateway.
        route: the subscription fields that a mutation is linked to; None for an unknown mutation.
        intake: takes this gateway's own events.
        metrics: what is routed, forwarded and put aside is counted.
        placement: shared by all routers of this gateway.
        refusals: noted when Redis refuses to do what routing needs.
        describe_mismatch: says why data cannot be a mutation's result; None: nothing is looked at.
    """

    def __init__(
        self,
        stream: str,
        settings: Settings,
        keys: Keys,
        commands: Link,
        reads: Link,
        gateway: Gateway,
        route: Route,
        intake: Intake,
        metrics: Metrics,
        placement: Placement,
        refusals: Refusals,
        describe_mismatch: DescribeMismatch | None = None,
    ) -> None:
        self._stream = stream
        self._settings = settings
        self._keys = keys
        self._commands = commands
        self._reads = reads
        self._gateway = gateway
        self._route = route
        self._intake = intake
        self._metrics = metrics
        self._placement = placement
        self._refusals = refusals
        self._part = f"router of {stream}"
        self._describe_mismatch = describe_mismatch
        self._read_size = ReadSize(settings.read_batch_size, settings.read_batch_bytes)
        self._log_limit = LogLimit()
        self._lookup = Lookup(keys, lambda: gateway.gateway_id)
        self._lease = Lease(keys, stream, settings.lease_ms)
        self._wake = asyncio.Event()
        self._position = Position()
        self._routed_as = ""
        self._server = ""
        self._next_look = 0.0
        self._has_complained = False

    def wake(self) -> None:
        """The lease may be free: try at once. Never awaits."""
        self._wake.set()

    async def run(self) -> None:
        """Route whenever the lease is ours, for ever, through any absence of Redis."""
        backoff = Backoff()
        while True:
            await self._gateway.wait_verified()
            try:
                self._wake.clear()
                taken_for_ms = await self._acquire()
                if taken_for_ms:
                    await self._wait_ms(min(taken_for_ms, self._renew_ms))
                else:
                    await self._serve(*await self._look_for_losses())
                backoff.reset()
            except LeaseLost:
                _logger.warning("the lease of stream %s went to another gateway", self._stream)
            except CommandRefused as error:
                # Nobody else notices: the connection is good. For example a stream's key that holds something else.
                if self._refusals.note(self._part, error):
                    _logger.warning("cannot route stream %s: %s", self._stream, error)
                await backoff.pause()
            except Unavailable:
                await backoff.pause()

    async def release(self) -> None:
        """Give the lease back and tell the other gateways; to be called when `run` has ended.

        Raises:
            Unavailable: Redis did not answer; the lease will expire.
        """
        if await self._lease.release(self._commands):
            await self._tell_released()

    async def _tell_released(self) -> None:
        await self._lookup.refresh(self._commands)
        await self._tell_others(Note(RELEASED, self._stream))

    async def _acquire(self) -> int:
        """Take the lease, unless somebody who routes fewer streams comes first. Returns 0, or how many ms to wait."""
        placement = self._placement
        if (pause_ms := placement.pause_ms) and await self._lease.is_free(self._commands):
            await asyncio.sleep(pause_ms / 1000)
        taken_for_ms = await self._lease.acquire(self._commands)
        if taken_for_ms and placement.is_needed:
            await self._lease.wish(self._commands, placement.held, placement.wish_lasts_ms)
        return taken_for_ms

    async def _wait_ms(self, ms: int) -> None:
        try:
            async with asyncio.timeout(ms / 1000):
                await self._wake.wait()
        except TimeoutError:
            pass

    async def _serve(self, checkpoint: Checkpoint, is_whole: bool) -> None:
        """Hold the lease: take over where the holder before stopped, then route until it is lost or given up."""
        placement = self._placement
        self._metrics.routed_streams += 1
        placement.held += 1
        try:
            await self._take_over(checkpoint, is_whole)
            if checkpoint.is_doubtful:
                await dismiss(self._commands, self._keys, self._stream)
            _logger.info("routing stream %s from %s", self._stream, self._position.id)
            while True:
                await self._route_next()
                self._refusals.clear(self._part)
                if placement.is_needed and placement.may_give_up(await self._lease.read_wish(self._commands)):
                    break
        finally:
            self._metrics.routed_streams -= 1
            placement.held -= 1
        # Whoever takes it goes on after the checkpoint, which is behind the last batch.
        _logger.info("giving up stream %s to a gateway that routes fewer", self._stream)
        if await self._lease.give_up(self._commands):
            await self._tell_released()

    async def _look(self) -> Checkpoint:
        checkpoint = await look(self._commands, self._keys, self._stream)
        self._next_look = asyncio.get_running_loop().time() + self._renew_ms / 1000
        if not checkpoint.present and not self._has_complained:
            self._has_complained = True
            _logger.warning(
                "Redis does not tell which server it is, so a failover that lost events may go unnoticed: "
                "allow the user of redis_url to run INFO (ACL +info)"
            )
        return checkpoint

    async def _look_for_losses(self) -> tuple[Checkpoint, bool]:
        """Read the checkpoint; and if it was written to another server, hear all gateways, as long as they may live."""
        checkpoint = await self._look()
        if not checkpoint.is_doubtful:
            return checkpoint, True
        clock = asyncio.get_running_loop().time
        until = clock() + self._settings.heartbeat_timeout_ms / 1000
        hearing = Hearing(self._keys, self._stream, checkpoint.present)
        await hearing.listen(self._commands)
        while not hearing.is_over and clock() < until:
            await self._lease.renew(self._commands)
            await asyncio.sleep(min(self._renew_ms, _LONGEST_HEARING_PAUSE_MS) / 1000)
            await hearing.listen(self._commands)
        return checkpoint, hearing.is_whole

    async def _take_over(self, checkpoint: Checkpoint, is_whole: bool) -> None:
        # Under another id it has joined anew since it routed, and its clients know that something was lost.
        has_routed = self._routed_as == self._gateway.gateway_id
        self._routed_as = self._gateway.gateway_id
        self._server = checkpoint.present
        self._lookup.forget()
        await self._lookup.refresh(self._commands)
        await self._read_out_inbox()
        if checkpoint.position is None:
            _logger.warning("the checkpoint of stream %s is gone", self._stream)
            await self._restart()
            return
        if not is_whole or (has_routed and not await holds(self._commands, self._stream, self._position.id)):
            _logger.warning(
                "stream %s has lost entries that were routed before, or nobody is left who knows", self._stream
            )
            await self._restart()
            return
        # Alone, what came before this gateway is for nobody; after a long absence of all it may be a lot.
        entered_at = self._gateway.entered_at(self._stream)
        is_alone = not self._lookup.others
        present = checkpoint.position
        self._position = max(present, entered_at, key=lambda position: position.id) if is_alone else present
        await self._check(await self._read_info(), [])
        await self._advance()

    async def _look_again(self) -> None:
        """The server may have become another one without a broken connection: behind a proxy, or in a cluster."""
        checkpoint = await self._look()
        if checkpoint.present == self._server:
            return
        self._server = checkpoint.present
        if not await holds(self._commands, self._stream, self._position.id, self._intake.last(self._stream)):
            _logger.warning("stream %s has lost entries that were routed before", self._stream)
            await self._restart()
        else:
            await self._advance()

    async def _advance(self) -> None:
        await self._lease.advance(self._commands, self._position, self._server)

    async def _read_out_inbox(self) -> None:
        """Wait until all that is in the own inbox now was taken."""
        gateway_id = self._gateway.gateway_id
        (answer,) = await self._commands.call(("XINFO", "STREAM", self._keys.inbox(gateway_id)), refusable=1)
        last_id = parse_stream_info(answer).last_id
        while True:
            try:
                async with asyncio.timeout(self._renew_ms / 1000):
                    return await self._gateway.wait_inbox_read(gateway_id, last_id)
            except TimeoutError:
                await self._lease.renew(self._commands)

    async def _route_next(self) -> None:
        """Read what is there, or wait for it, and route it."""
        if asyncio.get_running_loop().time() >= self._next_look:
            await self._look_again()
        block_ms = min(self._renew_ms, BLOCK_MS)
        command = ("XREAD", "COUNT", self._read_size.count, "BLOCK", block_ms, "STREAMS", self._stream)
        (answer,) = await self._reads.call((*command, str(self._position.id)), wait_ms=block_ms)
        if answer is None:
            await self._lease.renew(self._commands)
            await self._check(await self._read_info(), [])
            return
        entries = answer[0][1]
        self._read_size.note(entries)
        batch = self._parse(entries)
        targets, answers = await self._lookup.find(
            self._commands, batch.events, [("XINFO", "STREAM", self._stream), *self._claims(batch)], refusable=1
        )
        if not await self._check(parse_stream_info(answers[0]), batch.ids):
            return
        duplicates = self._find_duplicates(batch, answers[1:])
        if duplicates:
            await self._note_duplicates(duplicates, parse_stream_info(answers[0]))
        await self._forward(batch, targets, duplicates)
        self._metrics.events_routed += len(batch.ids)
        await self._advance()

    def _parse(self, entries: Sequence[Any]) -> _Batch:
        batch = _Batch([], [], [], [])
        for entry_id, fields in entries:
            batch.ids.append(parse_id(entry_id))
            try:
                event, key = parse_event(entry_id, fields, self._describe_mismatch)
                linked = self._route(event.mutation)
                if linked is None:
                    raise Malformed(f"mutation {event.mutation[:100]!r} is not in the schema")
            except Malformed as error:
                batch.dead.append(self._dead_letter(entry_id, fields, str(error)))
                continue
            if linked:
                batch.events.append((event, linked))
                batch.keys.append(key)
        return batch

    def _dead_letter(self, entry_id: bytes, fields: Sequence[bytes], reason: str) -> Command:
        if (held_back := self._log_limit.admit()) is not None:
            more = tell_held_back(held_back)
            _logger.warning("entry %s of stream %s is put aside%s: %s", entry_id.decode(), self._stream, more, reason)
        self._metrics.dead_letters += 1
        key, length = self._keys.dead_letters(self._stream), self._settings.dead_letter_max_length
        # Under the id that it had, so that an entry that is routed twice is put aside once.
        return ("XADD", key, "MAXLEN", "~", length, entry_id, *dead_letter_fields(reason, fields))

    def _claims(self, batch: _Batch) -> list[Command]:
        """Claim idempotency keys for the entries that bring them; answered with the entry that was first, if any."""
        window_ms = self._settings.idempotency_window_ms
        return [
            ("SET", self._keys.idempotency(self._stream, key), event.id, "NX", "GET", "PX", window_ms)
            for (event, _), key in zip(batch.events, batch.keys, strict=True)
            if key
        ]

    def _find_duplicates(self, batch: _Batch, answers: Sequence[bytes | None]) -> set[str]:
        claimed = iter(answers)
        duplicates = set()
        for (event, _), key in zip(batch.events, batch.keys, strict=True):
            # An entry that was routed before finds itself.
            if key and (first := next(claimed)) is not None and first != event.id.encode():
                duplicates.add(event.id)
        self._metrics.duplicates += len(duplicates)
        return duplicates

    async def _note_duplicates(self, duplicates: set[str], info: StreamInfo) -> None:
        """Write down what is dropped, before anything of the batch is taken, so that replays drop the same."""
        key, oldest = self._keys.duplicates(self._stream), str(info.first_kept_id)
        # Under the id that it has. Refused for those that were written down before.
        await self._commands.call(
            *(("XADD", key, "MINID", "~", oldest, id, "d", "") for id in sorted(duplicates, key=parse_id)),
            refusable=len(duplicates),
        )

    async def _forward(self, batch: _Batch, targets: list[frozenset[str]], duplicates: set[str]) -> None:
        events: list[Event] = []
        appends: dict[str, list[Command]] = {}
        for (event, _), gateway_ids in zip(batch.events, targets, strict=True):
            if duplicates and event.id in duplicates:
                continue
            events.append(event)
            if gateway_ids:
                fields = inbox_fields(self._stream, event)
                for gateway_id in gateway_ids:
                    appends.setdefault(gateway_id, []).append(self._append(gateway_id, fields))
        commands: list[Command] = list(batch.dead)
        for part in appends.values():
            # All or none: were one refused (no memory, a cluster that is down for a moment) and a later one not, the
            # gateway would take the later one and drop the other when it is forwarded again.
            commands += part if len(part) == 1 else [("MULTI",), *part, ("EXEC",)]
        if commands:
            await self._commands.send(commands)
        # While Redis writes to the inboxes: delivering here does not hold up the other gateways.
        if events:
            self._intake.take(self._stream, events)
        if not commands:
            return
        answers = iter((await self._commands.receive(refusable=len(batch.dead)))[len(batch.dead) :])
        gone = set()
        for gateway_id, part in appends.items():
            self._metrics.events_forwarded += len(part)
            ids = [next(answers) for _ in part]
            if len(part) > 1:
                next(answers)
                ids = next(answers)
            if isinstance(error := ids[0], ResponseError):
                raise CommandRefused(f"Redis refused to append to {self._keys.inbox(gateway_id)}: {error}", error)
            if ids[0] is None:
                gone.add(gateway_id)
        if gone:
            await self._lookup.remove(self._commands, gone)

    def _append(self, gateway_id: str, fields: Sequence[Any]) -> Command:
        # NOMKSTREAM: an inbox that was removed stays removed, which is how its gateway knows.
        key, length = self._keys.inbox(gateway_id), self._settings.inbox_max_length
        return ("XADD", key, "NOMKSTREAM", "MAXLEN", "~", length, "*", *fields)

    async def _check(self, info: StreamInfo, batch: list[EntryId]) -> bool:
        """Move the position over a batch and tell everybody if something before it was lost.

        Returns False if the stream is not the one that was read so far; routing goes on from its present end then.
        """
        try:
            position, lost = advance(self._position, batch, info)
        except Replaced:
            _logger.warning("stream %s was replaced by another one", self._stream)
            await self._restart()
            return False
        if lost:
            # Who was stopped and has lost the lease knows nothing of what its successor has routed.
            await self._lease.renew(self._commands)
            _logger.warning("%d entries of stream %s were trimmed before they were routed", lost, self._stream)
            await self._tell_all(Note(TRIMMED, self._stream, info.first_kept_id))
        self._position = position
        return True

    async def _restart(self) -> None:
        """Go on from the present, after telling everybody."""
        position = present_position(await self._read_info())
        await self._lease.renew(self._commands)
        # First, so that no position from before outlives it, whatever is interrupted here.
        await renew_epoch(self._commands, self._keys, self._stream)
        await self._tell_all(Note(REPLACED, self._stream, position.id))
        self._position = position
        await self._advance()

    async def _read_info(self) -> StreamInfo:
        (answer,) = await self._commands.call(("XINFO", "STREAM", self._stream), refusable=1)
        return parse_stream_info(answer)

    async def _tell_all(self, note: Note) -> None:
        await self._lookup.refresh(self._commands)
        await self._tell_others(note)
        self._gateway.note(note)

    async def _tell_others(self, note: Note) -> None:
        fields = note_fields(note)
        await self._commands.call(*(self._append(gateway_id, fields) for gateway_id in sorted(self._lookup.others)))

    @property
    def _renew_ms(self) -> int:
        return max(1, self._settings.lease_ms // 3)
