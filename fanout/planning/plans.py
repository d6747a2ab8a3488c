"""What a wish to subscribe comes to: plans, and what they were made from. Values only; knows no documents."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from fanout.model import Identity
from fanout.schema.projection import Projection
from fanout.schema.selection import Place
from filters import Filter


class PlanSource(NamedTuple):
    """The part of a wish that a plan is made from: document, operation, and variables as JSON."""

    query: str
    operation_name: str | None
    variables: bytes


@dataclass(frozen=True, slots=True)
class Changed:
    """What has become of a plan whose subscribers would get other events now: they are to subscribe anew."""


@dataclass(frozen=True, slots=True)
class Resolution:
    """What the field's resolver has set for one subscriber. It stands until the subscription ends.

    Args:
        version: of the resolver.
        filter: what takes the place of the arguments' filter; None: it has set none.
        invalidation: what ends the subscription, beside what the field's template says; None: it has set none.
    """

    version: str
    filter: Filter | None = None
    invalidation: Filter | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """A valid subscription, ready to be registered.

    Args:
        field: name of the subscription field.
        filter: which of its events the client gets.
        projection: what it gets of them; one object for all plans with the same selection.
        source: what it was made from, for when the API changes.
        identity: who it was made for, where its filters depend on that, else None.
        invalidation: which payloads of `POST /admin/subscriptions/invalidate`, or of a mutation's resolver, end it;
            None: none does.
        filtered: the fields that the client's own enhanced filter reads; shared by plans with the same.
        resolution: what the field's resolver has set; None where it has no resolver.
    """

    field: str
    filter: Filter
    projection: Projection
    source: PlanSource
    identity: Identity | None = None
    invalidation: Filter | None = None
    filtered: tuple[Place, ...] = ()
    resolution: Resolution | None = None

    @property
    def filter_keys(self) -> tuple[str, str | None]:
        """Equal for plans that get, and are ended by, the same events."""
        return self.filter.key, self.invalidation.key if self.invalidation else None

    def stands_for(self, other: Plan) -> bool:
        """Whether what is decided by this plan holds for another of the same group too. Takes up to 1 us."""
        return (
            self.filtered == other.filtered
            and self.filter_keys == other.filter_keys
            and self.resolution == other.resolution
            # By another identity, arguments decide which filter it is: other ones can have come to the same by chance.
            # And a resolver can come to the same by any: then each is valid by its own.
            and ((self._says_all and other._says_all) or self.source == other.source)
        )

    @property
    def _says_all(self) -> bool:
        return self.identity is None and self.resolution is None
