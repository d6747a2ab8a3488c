"""Spots by an element of a list: for `contains` and `containsAny`. Knows nothing of strings that are searched."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, TypeVar

M = TypeVar("M")


class Elements(dict[object, M]):
    """What hangs on each string or number that a list may have as an element."""

    __slots__ = ()

    def find(self, field: Any) -> Iterable[M]:
        """What hangs on the elements of a list, however often it has them. Cost: 0.1 us per element."""
        elements = {element for element in field if element.__class__ in (str, int, float)}
        return [self[element] for element in self.keys() & elements]
