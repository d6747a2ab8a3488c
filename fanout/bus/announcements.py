"""Announcements: what one gateway, or a command, tells all gateways; each is handled once by each, in order.

A capped stream that every gateway reads from where it was when the gateway joined, and a list of answers per
announcement, for whoever made it to count. A gateway that was away goes on where it was; if what it has not read was
trimmed meanwhile, or Redis lost it, that is found by counting (`positions`) and told as missed. Knows nothing of what
is announced.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from fanout.bus.client import BLOCK_MS, Backoff, Link
from fanout.bus.entries import parse_id
from fanout.bus.keys import Keys
from fanout.bus.positions import Position, Replaced, advance, parse_stream_info, present_position
from fanout.errors import Unavailable

_logger = logging.getLogger(__name__)

# Announcements are rare; a gateway that was away for more of them than this is told that it missed some.
_MAX_LENGTH = 1000
_BATCH_SIZE = 100
_ANSWERS_KEPT_MS = 60_000
_FIRST_POLL_S, _LONGEST_POLL_S = 0.002, 0.05

Handle = Callable[[bytes], Awaitable[bytes]]
"""Does what an announcement says and gives this gateway's answer to it."""


@dataclass(frozen=True, slots=True)
class Announced:
    """What became of an announcement.

    Args:
        told: gateways that were members when it was made. One that died within `heartbeat_timeout_ms` still counts.
        answers: what those that have handled it by now say, by gateway id; empty bytes: a defect there, see its log.
    """

    told: int
    answers: Mapping[str, bytes]


class Teller:
    """Tells all gateways; need not be one itself.

    Args:
        keys: key names.
        link: connection of its own.
    """

    def __init__(self, keys: Keys, link: Link) -> None:
        self._keys = keys
        self._link = link
        self._lock = asyncio.Lock()

    async def announce(self, body: bytes, wait_s: float) -> Announced:
        """Tell all gateways and wait until every one has answered, but no longer than `wait_s`.

        Raises:
            Unavailable: Redis did not answer. It is unknown whether the announcement is made.
        """
        key = self._keys.announcements
        async with self._lock:
            # Read before it is announced: whoever is a member then, listens already.
            (members,) = await self._link.call(("SMEMBERS", self._keys.gateways))
            (entry_id,) = await self._link.call(("XADD", key, "MAXLEN", _MAX_LENGTH, "*", "body", body))
        answers: dict[str, bytes] = {}
        poll_s = _FIRST_POLL_S
        try:
            async with asyncio.timeout(wait_s):
                while len(answers) < len(members):
                    await asyncio.sleep(poll_s)
                    poll_s = min(2 * poll_s, _LONGEST_POLL_S)
                    async with self._lock:
                        answers = await self._read_answers(entry_id)
        except TimeoutError:
            pass  # a gateway that is dead, stopped or cut off; it is told when it is back, or has no clients any more
        return Announced(len(members), answers)

    async def _read_answers(self, entry_id: bytes) -> dict[str, bytes]:
        (listed,) = await self._link.call(("LRANGE", self._keys.answers(entry_id.decode()), 0, -1))
        pairs = (item.partition(b" ") for item in listed)
        return {gateway_id.decode(): answer for gateway_id, _, answer in pairs}


class Announcements:
    """Listens for what gateways and operators tell.

    Args:
        keys: key names.
        listener: connection of its own, for blocking reads.
        gateway_id: this gateway's id at the moment.
        handle: called with each announcement, one after the other; the next one waits for it.
        missed: called without arguments when announcements may have passed this gateway by.
    """

    def __init__(
        self,
        keys: Keys,
        listener: Link,
        gateway_id: Callable[[], str],
        handle: Handle,
        missed: Callable[[], None],
    ) -> None:
        self._keys = keys
        self._listener = listener
        self._gateway_id = gateway_id
        self._handle = handle
        self._missed = missed
        self._position = Position()
        self._is_told = False

    async def join(self) -> None:
        """Note where the stream is: what is announced from now on is handled. To be called before this gateway is a
        member, so that whoever counts the members counts those who listen.

        Raises:
            Unavailable: Redis did not answer.
        """
        (info,) = await self._listener.call(("XINFO", "STREAM", self._keys.announcements), refusable=1)
        self._position = present_position(parse_stream_info(info))

    def note_loss(self) -> None:
        """Redis has lost its data and everybody was told so: a stream that is another one is no news."""
        self._is_told = True

    async def run(self) -> None:
        """Listen for ever, through any absence of Redis."""
        backoff = Backoff()
        while True:
            try:
                bodies = await self._read()
                backoff.reset()
            except Unavailable:
                await backoff.pause()
                continue
            for entry_id, body in bodies:
                await self._answer(entry_id, body)

    async def _read(self) -> list[tuple[str, bytes]]:
        key = self._keys.announcements
        (answer,) = await self._listener.call(
            ("XREAD", "COUNT", _BATCH_SIZE, "BLOCK", BLOCK_MS, "STREAMS", key, str(self._position.id)),
            wait_ms=BLOCK_MS,
        )
        entries = answer[0][1] if answer is not None else []
        # Also where nothing came: the ids of a stream that is another one may be below those of the former.
        (info,) = await self._listener.call(("XINFO", "STREAM", key), refusable=1)
        self._follow([parse_id(entry[0]) for entry in entries], info)
        return [(entry_id.decode(), _find_body(fields)) for entry_id, fields in entries]

    def _follow(self, ids: list[Any], info: Any) -> None:
        """Move on past what was read; notice what was not."""
        parsed = parse_stream_info(info)
        try:
            self._position, lost = advance(self._position, ids, parsed)
        except Replaced:
            # Whatever else the new stream holds is past now: told as missed, like all that the old one held.
            self._position = present_position(parsed)
            lost = 0 if self._is_told else 1
        self._is_told = False
        if lost:
            _logger.warning("announcements of other gateways were gone before they were read")
            self._missed()

    async def _answer(self, entry_id: str, body: bytes) -> None:
        try:
            answer = await self._handle(body)
        except Exception:  # our defect with one announcement must not stop the next ones
            _logger.exception("an announcement could not be handled")
            answer = b""
        key = self._keys.answers(entry_id)
        try:
            await self._listener.call(
                ("RPUSH", key, self._gateway_id().encode() + b" " + answer), ("PEXPIRE", key, _ANSWERS_KEPT_MS)
            )
        except Unavailable as error:
            _logger.warning("%s; an announcement was handled and is not answered", error)


def _find_body(fields: list[bytes]) -> bytes:
    return dict(zip(fields[::2], fields[1::2], strict=True)).get(b"body", b"")
