"""The Redis side: event streams, bucket index, routing, inboxes, and the embedded server.

    bus          facade: wiring and tasks
    local        this gateway: membership, open inbox, intake
    router       one stream: read, look up, forward; with lease, lookup, positions
    membership   join, heartbeat, registration, sweep
    publisher    append to a stream
    placement    which gateway routes which stream
    refusals, read_size, path_limit    bounds, and what Redis refuses
    announcements       tell all gateways something
    key_store    API keys that operators have made
    entries, keys       formats, names
    client       links: to one server (node) or to a cluster (cluster, with slots and topology)
    embedded     a Valkey server of our own

docs/architecture.md has the picture; design and interleavings are explained where they are kept: `router`,
`registration`, `intake`.
"""

from fanout.bus.announcements import Announced
from fanout.bus.bus import Bus
from fanout.bus.embedded import EmbeddedServer, find_running
from fanout.bus.key_store import open_key_store

__all__ = ["Announced", "Bus", "EmbeddedServer", "find_running", "open_key_store"]
