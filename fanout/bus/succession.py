"""Whether all that was routed is still there: what the next router of a stream may believe of its checkpoint.

Redis answers before its replicas or its disk have a write. A replica that takes over, or a server that comes back, may
lack the last writes to a stream, and the checkpoint's last moves with them, so that the two agree; new entries follow,
perhaps under ids that were used before. So the checkpoint also says which server it was written to (`server`: the
process, and what it was a replica of before) and by which gateway (`holder`):

- The same server has lost nothing.
- After another one, the holder knows what it has read, and looks whether that is there: it comes first (`Patience`).
- If the holder is gone, nobody knows what it had read and others had been given: then all are told.

What no router has read is missed by nobody here. Knows nothing of routing.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from fanout.bus.client import Link
from fanout.bus.entries import EntryId, parse_id
from fanout.bus.keys import Keys
from fanout.bus.positions import Position, parse_stream_info

# Asked for in a script, so that in a cluster it is the server that has the checkpoint which answers. The id of the
# process alone would not show that it was a replica for a while; the id of its replication says nothing: it is made
# anew when a first replica comes. A user without permission is answered nothing.
_LOOK = """
local function find(section, pattern)
  local info = redis.pcall('INFO', section)
  return type(info) == 'string' and string.match(info, pattern) or nil
end
local run, before = find('server', 'run_id:(%x+)'), find('replication', 'master_replid2:(%x+)')
local noted = redis.call('HMGET', KEYS[1], 'id', 'read', 'holder', 'server')
noted[5] = run and before and run .. ':' .. before or ''
return noted
"""

_RENAME = """
if redis.call('HGET', KEYS[1], 'holder') == ARGV[1] then redis.call('HSET', KEYS[1], 'holder', ARGV[2]) end
"""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A stream's checkpoint, and the server that has it now.

    Args:
        position: up to where the stream has been routed; None if nobody knows.
        holder: id of the gateway that wrote it last; empty: it had done with it, or nobody has yet.
        server: which server that was written to; empty: unknown.
        present: which server has it now; empty: it does not tell.
    """

    position: Position | None
    holder: str
    server: str
    present: str

    @property
    def is_doubtful(self) -> bool:
        """Whether what the holder has read may be gone."""
        return bool(self.holder and self.server and self.present) and self.server != self.present


async def look(link: Link, keys: Keys, stream: str) -> Checkpoint:
    """Read a stream's checkpoint. One round trip."""
    ((entry_id, read, holder, server, present),) = await link.call(("EVAL", _LOOK, 1, keys.checkpoint(stream)))
    return Checkpoint(
        position=Position(parse_id(entry_id), int(read)) if entry_id and read else None,
        holder=(holder or b"").decode(),
        server=(server or b"").decode(),
        present=present.decode(),
    )


async def holds(link: Link, stream: str, entry_id: EntryId) -> bool:
    """Whether a stream still has an entry that it had, or has trimmed it in due course. One round trip.

    New entries may follow where some were lost, so numbers do not show it.

    Raises:
        CommandRefused: what is there is no stream.
    """
    info, entries = await link.call(
        ("XINFO", "STREAM", stream), ("XRANGE", stream, str(entry_id), str(entry_id)), refusable=1
    )
    return bool(entries) or entry_id < parse_stream_info(info).first_kept_id


async def rename_holder(link: Link, keys: Keys, stream: str, old_id: str, new_id: str) -> None:
    """A gateway goes by another id now, and knows what it knew."""
    await link.call(("EVAL", _RENAME, 1, keys.checkpoint(stream), old_id, new_id))


class Patience:
    """Leaves a doubtful stream to the gateway that knows most of it, as long as that may come back.

    Args:
        keys: key names.
        longest_ms: how long at most; whoever is silent for longer counts as dead anyway.
    """

    def __init__(self, keys: Keys, longest_ms: int) -> None:
        self._keys = keys
        self._longest_s = longest_ms / 1000
        self._until: float | None = None

    async def is_due(self, link: Link, checkpoint: Checkpoint, own_id: str) -> bool:
        """Whether to leave the stream to the checkpoint's holder for now. A round trip if there is doubt, else none."""
        if not checkpoint.is_doubtful or checkpoint.holder == own_id:
            self._until = None
            return False
        now = asyncio.get_running_loop().time()
        if self._until is None:
            self._until = now + self._longest_s
        (is_member,) = await link.call(("SISMEMBER", self._keys.gateways, checkpoint.holder))
        return bool(is_member) and now < self._until
