"""What a group of subscriptions with a policy for slow readers needs: the payloads of a batch, and their values.

Such subscriptions form groups of their own (the policy is part of the group's key), so that what is kept here is
kept once for all of them, and nobody else pays. May not know: connections, and who is slow.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

import orjson

from fanout.engine.registry import JoinParts
from fanout.model import Overflow, OverflowPolicy

_NOWHERE = b"null"
_POSITION_AT_END = re.compile(rb',"extensions":\{"fanout":\{"position":"[^"]*"\}\}\}\Z')


class Keeper:
    """The `join_parts` of a group with a policy: joins as any other, and remembers what it has joined.

    Args:
        join: how data messages of the group are written.
        overflow: what its subscribers asked for; the policy is not `CLOSE`.
        note: called when a batch is kept, so that it is let go after this turn of the event loop.
    """

    __slots__ = ("_join", "_keys", "_note", "batch", "overflow")

    def __init__(self, join: JoinParts, overflow: Overflow, note: Callable[[Keeper], None]) -> None:
        self._join = join
        self._note = note
        self._keys: list[bytes] | None = None
        self.overflow = overflow
        self.batch: Sequence[bytes] = ()
        """The payloads that are being written to the group's members."""

    def __call__(self, payloads: Sequence[bytes], id_bytes_length: int) -> list[bytes]:
        """As `fanout.protocol.join_parts`."""
        if not self.batch:
            self._note(self)
        if payloads is not self.batch:  # it comes once for each length that ids have
            self.batch = payloads
            self._keys = None
        return self._join(payloads, id_bytes_length)

    def let_go(self) -> None:
        """The batch has been written."""
        self.batch = ()
        self._keys = None

    @property
    def keys(self) -> Sequence[bytes]:
        """For `LATEST`: per payload of the batch, the value that is kept apart. Worked out once for all members."""
        if self._keys is None:
            self._keys = [read_value(payload, self.overflow.path) for payload in self.batch]
        return self._keys

    def build_frame(self, payload: bytes, dropped: int, id_bytes: bytes) -> bytes:
        """One frame for one subscriber; `dropped` says how many events before it the subscriber did not get."""
        if dropped:
            payload = add_dropped(payload, dropped)
        return id_bytes.join(self._join([payload], len(id_bytes)))


def name_policy(overflow: Overflow) -> str:
    """For a group's key: different for subscriptions whose payloads are not to be kept together."""
    match overflow.policy:
        case OverflowPolicy.CLOSE:
            return ""
        case OverflowPolicy.DROP_OLDEST:
            return f"+{overflow.policy.value}"
        case OverflowPolicy.LATEST:
            return f"+{overflow.policy.value}:{'.'.join(overflow.path)}"


def read_value(payload: bytes, path: Sequence[str]) -> bytes:
    """The value at a path below the one field of a payload's `data`, as canonical JSON; a path to nowhere is null."""
    data = orjson.loads(payload).get("data")
    value = next(iter(data.values()), None) if isinstance(data, dict) else None
    for name in path:
        if not isinstance(value, dict):
            return _NOWHERE
        value = value.get(name)
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS) if path else _NOWHERE


def add_dropped(payload: bytes, dropped: int) -> bytes:
    """A payload (a JSON object with members) that tells how many events were left out before it.

    Beside its position, if it tells one: that is its last member, and nothing else can end like it, since whatever an
    event holds is inside `data` or `errors` and so followed by more brackets.
    """
    if _POSITION_AT_END.search(payload):
        return b'%b,"dropped":%d}}}' % (payload[:-3], dropped)
    return b'%b,"extensions":{"fanout":{"dropped":%d}}}' % (payload[:-1], dropped)
