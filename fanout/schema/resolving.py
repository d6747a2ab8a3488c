"""What executing and subscribing need of resolvers: values that go in and come out, and who resolves. Knows no runtime.

`fanout.resolvers` fulfils the protocol; nothing here knows JavaScript, processes or data sources.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final, Protocol

import orjson

from fanout.errors import ClientFault
from fanout.model import Identity

NO_HEADERS: Final[Mapping[str, str]] = MappingProxyType({})
"""Of whoever asks for none."""


_MOST_LEVELS_AROUND: Final = 8


class ResolverFault(ClientFault):
    """A field could not be resolved: its resolver said so (`util.error`, `util.unauthorized`), or failed.

    Args:
        message: what the client is told.
        error_type: AppSync's `errorType`; None where the resolver gave none.
        data: what the resolver gives in place of the field, to be cut to what the client selected.
        error_info: JSON that is passed on as it is.
        appended: what it had added by `util.appendError` before; told to the client too.
        headers: of the response, as it had asked for them before; see `Resolved`.
    """

    default_type = "Code"
    default_code = None

    def __init__(
        self,
        message: str,
        *,
        error_type: str | None = None,
        data: Any = None,
        error_info: Any = None,
        appended: tuple[ResolverFault, ...] = (),
        headers: Mapping[str, str] = NO_HEADERS,
    ) -> None:
        super().__init__(message, error_type=error_type)
        self.data = data
        self.error_info = error_info
        self.appended = appended
        self.headers = headers


def can_be_written(value: Any) -> bool:
    """Whether JSON of a resolver can be written inside of a response or message: orjson reads deeper nesting than it
    writes, and what it cannot write would take all of it along.
    """
    for _ in range(_MOST_LEVELS_AROUND):
        value = [value]
    try:
        orjson.dumps(value)
    except orjson.JSONEncodeError:
        return False
    return True


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks, and how: what resolvers see of a request beside the document.

    Args:
        identity: who it is.
        headers: of the request, names in lower case; they may hold credentials, which are never logged.
    """

    identity: Identity
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class SelectionText:
    """What the client selected below a field, as `ctx.info` has it.

    Args:
        names: `selectionSetList`: paths like `author/name`, aliases in place of names.
        text: `selectionSetGraphQL`.
    """

    names: tuple[str, ...]
    text: str


@dataclass(frozen=True, slots=True)
class Invocation:
    """One field that is to be resolved for one request.

    Args:
        type_name: the parent type.
        field_name: the field.
        arguments: coerced, as JSON.
        source: the parent's value; None for root fields.
        caller: who asks.
        variables: of the operation, as JSON.
        describe_selection: works out what is selected; only called where the resolver asks for it.
    """

    type_name: str
    field_name: str
    arguments: Mapping[str, Any]
    source: Any
    caller: Caller
    variables: Mapping[str, Any]
    describe_selection: Callable[[], SelectionText]


@dataclass(frozen=True, slots=True)
class Invalidate:
    """A resolver's wish to end subscriptions (`extensions.invalidateSubscriptions`).

    Args:
        field: the subscription field.
        payload: JSON object that invalidation filters are matched against.
    """

    field: str
    payload: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Resolved:
    """What a resolver came to.

    Args:
        value: JSON, made anew by each call: nobody else holds a part of it.
        errors: what it added by `util.appendError`.
        filter: as given to `extensions.setSubscriptionFilter`, not checked; None: not set.
        invalidation_filter: the same of `setSubscriptionInvalidationFilter`.
        invalidations: in order; who executes a request counts those of all its fields.
        headers: of the response, as the resolver asks for them (`util.http.addResponseHeader`); not checked.
    """

    value: Any
    errors: tuple[ResolverFault, ...] = ()
    filter: object = None
    invalidation_filter: object = None
    invalidations: tuple[Invalidate, ...] = ()
    headers: Mapping[str, str] = field(default_factory=dict)


class Resolver(Protocol):
    """Resolves one field of the schema."""

    @property
    def version(self) -> str:
        """Equal for equal code and settings: whether subscriptions that it set up may outlive a reload."""
        ...

    def resolve(self, invocation: Invocation) -> Awaitable[Resolved]:
        """Resolve the field once.

        Raises:
            ResolverFault: by its awaitable: it said so, failed, or exceeded a limit.
            Unavailable: by its awaitable: too many are waiting already.
        """
        ...


Resolvers = Mapping[tuple[str, str], Resolver]
"""By type and field; most fields have none."""
