"""How many entries to ask for in one read, so that a batch stays bounded in bytes. Hot module: one call per batch.

Redis bounds reads by count only. So the count follows the size of the entries that were read last, and grows from a
small one only while there is a backlog: what can be in memory beyond the bound is one batch of entries that are
suddenly larger than those before.
"""

from __future__ import annotations

from collections.abc import Sequence

_FIRST_COUNT = 64


class ReadSize:
    """The `COUNT` of the reads of one stream.

    Args:
        most_entries: never more.
        most_bytes: about so much in one batch; a single entry may be larger.
    """

    def __init__(self, most_entries: int, most_bytes: int) -> None:
        self._most_entries = most_entries
        self._most_bytes = most_bytes
        self.count = min(most_entries, _FIRST_COUNT)
        """What to ask for next."""

    def note(self, entries: Sequence[tuple[bytes, Sequence[bytes]]]) -> None:
        """Learn from a batch, of at least one entry, that was read with the present count."""
        read_bytes = sum([sum(map(len, fields)) for _, fields in entries])
        fitting = self._most_bytes * len(entries) // max(1, read_bytes)
        has_backlog = len(entries) >= self.count
        wanted = 2 * self.count if has_backlog else _FIRST_COUNT
        self.count = max(1, min(self._most_entries, fitting, wanted))
