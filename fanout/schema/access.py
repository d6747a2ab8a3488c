"""What of the schema an identity may use: asked here, decided elsewhere (`fanout.auth.fields`).

A subscription is checked when it is planned: all that its selection touches, nested fields too, and of interfaces
and unions the fields of every object type that an event could be of. Nothing is asked per event.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Protocol
from weakref import WeakKeyDictionary

from fanout.errors import FieldDenied
from fanout.model import Identity
from fanout.schema.projection import Projection

# Answers kept per selection. With a policy for each user there are more classes: then they are worked out again.
_MAX_VERDICTS: Final = 64
Place = tuple[str, str]
"""Object type and field."""
_UNKNOWN: Final[Place] = ("", "")


class Access(Protocol):
    """What the identities of one class may use; hashable, the same object for the same class."""

    def may_use(self, type_name: str, field_name: str) -> bool:
        """Whether a field of an object type is open to them."""
        ...


AccessOf = Callable[[Identity], Access | None]
"""What an identity may use; None: everything."""


def open_to_all(identity: Identity) -> None:
    """No field is closed to anybody: an `AccessOf`."""
    del identity


class Verdicts:
    """Whether selections are open, kept by selection and class of identities: 10,000 who ask alike are decided once."""

    __slots__ = ("_known",)

    def __init__(self) -> None:
        self._known: WeakKeyDictionary[Projection, dict[Access, Place | None]] = WeakKeyDictionary()

    def find_denial(self, projection: Projection, access: Access) -> FieldDenied | None:
        """The first field that is not open, outer ones first; None: all are.

        Takes 0.5 us if it was asked before, else 0.5 us per field.
        """
        known = self._known.get(projection)
        if known is None:
            known = self._known[projection] = {}
        denied = known.get(access, _UNKNOWN)
        if denied is _UNKNOWN:
            if len(known) >= _MAX_VERDICTS:
                known.clear()
            denied = next((place for place in projection.fields if not access.may_use(*place)), None)
            known[access] = denied
        return None if denied is None else FieldDenied(*denied)

    def check(self, projection: Projection, access: Access) -> None:
        """Raises FieldDenied unless all fields are open."""
        denial = self.find_denial(projection, access)
        if denial is not None:
            raise denial
