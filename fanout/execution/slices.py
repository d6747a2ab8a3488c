"""Long lists are completed in slices: between them the event loop has a turn. Knows no field and no event loop.

graphql-core walks a list at once, and prepares a call for each item whose fields have resolvers, 15 us each.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Generator, Sequence
from typing import Any, Final

SLICE: Final = 100
"""Items that are completed in one turn of the event loop."""


class _Turn:
    """Awaited by a task, it lets all others run first: asyncio's `sleep(0)`."""

    def __await__(self) -> Generator[None, None, None]:
        yield


class Slices:
    """A list as graphql-core may read it in slices.

    Args:
        items: the list.
    """

    __slots__ = ("_items",)

    def __init__(self, items: Sequence[Any]) -> None:
        self._items = items

    async def __aiter__(self) -> AsyncIterator[Any]:
        turn = _Turn()
        for index, item in enumerate(self._items):
            if index % SLICE == SLICE - 1:
                await turn
            yield item


def slice_list(value: Any) -> Any:
    """A list that is longer than a slice as `Slices`; everything else as it is."""
    return Slices(value) if value.__class__ is list and len(value) > SLICE else value
