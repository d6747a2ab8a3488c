"""A subscription whose field has a resolver, before it has run: what is known of it, and what the client is told of
the resolver's errors. Knows no filters.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from graphql import GraphQLField

from fanout.errors import ClientFault
from fanout.planning.plans import PlanSource
from fanout.schema.projection import Projection
from fanout.schema.resolving import Resolver, ResolverFault, can_be_written
from fanout.schema.selection import Place

_COUNTED: Final = frozenset({"Code", "Unauthorized"})


@dataclass(frozen=True, slots=True, eq=False)
class Draft:
    """A checked subscription; equal wishes share it, whoever they are of.

    Args:
        field_name: name of the subscription field.
        field: the field.
        arguments: coerced; AWSJSON in them is text.
        projection: what is selected.
        source: what it was made from.
        resolver: what is to run for each subscriber; None: nothing is.
        filtered: always empty; here so that it can be asked whether it is open.
    """

    field_name: str
    field: GraphQLField
    arguments: dict[str, Any]
    projection: Projection
    source: PlanSource
    resolver: Resolver | None
    filtered: tuple[Place, ...] = ()


class RefusedByResolver(ClientFault):
    """The field's resolver did not let somebody subscribe, or failed.

    Its `errors` have AppSync's members: `errorType`, `message`, `data` and `errorInfo` where the resolver gave them.

    Args:
        faults: at least one; what each had added before it is told too.
        projection: `data` is cut to what it selects.
    """

    default_code = None

    def __init__(self, faults: Sequence[ResolverFault], projection: Projection) -> None:
        first = faults[0].error_type
        super().__init__(
            faults[0].message,
            # For the metrics: a resolver may make up any number of types.
            error_type=first if first in _COUNTED else "ResolverError",
            errors=[_describe(each, projection) for fault in faults for each in (fault, *fault.appended)],
        )


def _describe(fault: ResolverFault, projection: Projection) -> dict[str, Any]:
    error: dict[str, Any] = {"errorType": fault.error_type, "message": fault.message}
    if fault.data is not None:
        selected, _ = projection.complete(fault.data)
        data = next(iter(selected.values())) if selected else None
        if can_be_written(data):
            error["data"] = data
    if fault.error_info is not None and can_be_written(fault.error_info):
        error["errorInfo"] = fault.error_info
    return error
