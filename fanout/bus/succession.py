"""Whether all that was routed is still there: what the next router of a stream may believe of its checkpoint.

Redis answers before its replicas or its disk have a write. A replica that takes over, or a server that comes back, may
lack the last writes to a stream, and the checkpoint's last moves with them, so that the two agree; new entries follow,
perhaps under ids that were used before. So the checkpoint also says which server it was written to (the process, and
what that was a replica of before). The same server has lost nothing. When it is another one, every gateway says
beside the checkpoint which entry it has taken last (`bear_witness`), and whoever takes the lease hears them all
(`Hearing`) before it goes on: if each of those entries is there, nothing is lost that anybody has seen. Who died cannot
say it.

What is lost is the end of what was written, so a gateway that has left in order has seen nothing of it: its leaving
would be lost too. What no router has read is missed by nobody here. Knows nothing of routing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from fanout.bus.client import Link
from fanout.bus.entries import EntryId, parse_id
from fanout.bus.keys import Keys
from fanout.bus.positions import Position, parse_stream_info

# Asked for in a script, so that in a cluster it is the server that has the checkpoint which answers. The id of the
# process alone would not show that it was a replica for a while; the id of its replication says nothing: it is made
# anew when a first replica comes. A user without permission is answered nothing.
_FIND_PRESENT = """
local function find(section, pattern)
  local info = redis.pcall('INFO', section)
  return type(info) == 'string' and string.match(info, pattern) or nil
end
local run, before = find('server', 'run_id:(%x+)'), find('replication', 'master_replid2:(%x+)')
local present = run and before and run .. ':' .. before or ''
"""

_LOOK = (
    _FIND_PRESENT
    + """
local noted = redis.call('HMGET', KEYS[1], 'id', 'read', 'server')
noted[4] = present
return noted
"""
)

# Testimonies are fields of the checkpoint, so that all of this has one key. The first one for a server stands: a
# gateway that has joined anew since has forgotten what it had taken.
_TESTIFY = (
    _FIND_PRESENT
    + """
local noted = redis.call('HGET', KEYS[1], 'server')
if not noted or noted == '' or present == '' or noted == present then return end
local former = redis.call('HGET', KEYS[1], ARGV[1])
if not former or string.sub(former, 1, #present) ~= present then
  redis.call('HSET', KEYS[1], ARGV[1], present .. ' ' .. ARGV[2])
end
"""
)

_SUMMON = """
for _, field in ipairs(ARGV) do redis.call('HSETNX', KEYS[1], field, '') end
return redis.call('HGETALL', KEYS[1])
"""

_DISMISS = """
for _, field in ipairs(redis.call('HKEYS', KEYS[1])) do
  if string.sub(field, 1, 2) == 'w:' then redis.call('HDEL', KEYS[1], field) end
end
"""

_FIELD = "w:"


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A stream's checkpoint, and the server that has it now.

    Args:
        position: up to where the stream has been routed; None if nobody knows.
        server: which server that was written to; empty: unknown.
        present: which server has it now; empty: it does not tell.
    """

    position: Position | None
    server: str
    present: str

    @property
    def is_doubtful(self) -> bool:
        """Whether what was routed may be gone."""
        return bool(self.server and self.present) and self.server != self.present


async def look(link: Link, keys: Keys, stream: str) -> Checkpoint:
    """Read a stream's checkpoint. One round trip."""
    ((entry_id, read, server, present),) = await link.call(("EVAL", _LOOK, 1, keys.checkpoint(stream)))
    return Checkpoint(
        position=Position(parse_id(entry_id), int(read)) if entry_id and read else None,
        server=(server or b"").decode(),
        present=present.decode(),
    )


async def holds(link: Link, stream: str, *entry_ids: EntryId) -> bool:
    """Whether a stream still has all of these entries that it had, or has trimmed them in due course. One round trip.

    New entries may follow where some were lost, so numbers do not show it.

    Raises:
        CommandRefused: what is there is no stream.
    """
    info, *found = await link.call(
        ("XINFO", "STREAM", stream), *(("XRANGE", stream, str(id), str(id)) for id in entry_ids), refusable=1
    )
    first_kept_id = parse_stream_info(info).first_kept_id
    return all(entries or id < first_kept_id for id, entries in zip(entry_ids, found, strict=True))


async def bear_witness(link: Link, keys: Keys, gateway_id: str, taken: Mapping[str, EntryId]) -> None:
    """Say which entry of each stream this gateway has taken last, where the server is another one. One round trip."""
    await link.call(
        *(
            ("EVAL", _TESTIFY, 1, keys.checkpoint(stream), _FIELD + gateway_id, str(last))
            for stream, last in taken.items()
        )
    )


class Hearing:
    """Hears what all gateways have taken of one stream. One for each doubt.

    Args:
        keys: key names.
        stream: the event stream.
        present: which server has it now.
    """

    def __init__(self, keys: Keys, stream: str, present: str) -> None:
        self._keys = keys
        self._stream = stream
        self._present = present
        self.is_over = False
        """Nobody is to be waited for any more."""
        self.is_whole = False
        """When it is over: all have said something, and all that they have taken is there."""

    async def listen(self, link: Link) -> None:
        """Look who has said what; to be repeated until `is_over`. Two or three round trips."""
        checkpoint = self._keys.checkpoint(self._stream)
        (answer,) = await link.call(("SMEMBERS", self._keys.gateways))
        members = {_FIELD + member.decode() for member in answer}
        (fields,) = await link.call(("EVAL", _SUMMON, 1, checkpoint, *sorted(members)))
        said = {
            name.decode(): value.decode()
            for name, value in zip(fields[::2], fields[1::2], strict=True)
            if name.startswith(_FIELD.encode())
        }
        silent = {name for name, value in said.items() if not value.startswith(self._present)}
        if silent & members:
            return
        self.is_over = True
        taken = {parse_id(value.partition(" ")[2]) for name, value in said.items() if name not in silent}
        self.is_whole = not silent and await holds(link, self._stream, *sorted(taken))


async def dismiss(link: Link, keys: Keys, stream: str) -> None:
    """What gateways have said is of no use any more: the checkpoint names the present server."""
    await link.call(("EVAL", _DISMISS, 1, keys.checkpoint(stream)))
