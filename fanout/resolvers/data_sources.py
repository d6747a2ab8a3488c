"""What a resolver's request goes to: the protocol and its errors. Knows no runtime and no kind of source.

A further kind of data source is a class with `invoke`, settings in `fanout.resolver_settings`, and its line where
`fanout.resolvers.runtime` makes sources; neither sandboxes nor resolvers have to be touched. NONE is no source: both
handlers of a resolver on it are one call, and the library gives the one's `payload` to the other.
"""

from __future__ import annotations

from typing import Any, Protocol


class DataSourceError(Exception):
    """The source failed: the resolver's response handler finds it in `ctx.error`, and decides what it means.

    Args:
        message: what happened; holds no credential, no header and no query of the request.
        type: AppSync's `errorType`.
    """

    def __init__(self, message: str, type: str) -> None:
        super().__init__(message)
        self.message = message
        self.type = type


class InvalidRequest(Exception):
    """The resolver asks for what the source cannot be asked for: the field's error, the source was not asked."""


class DataSource(Protocol):
    """Where a request goes between a resolver's two handlers."""

    async def invoke(self, request: Any) -> Any:
        """Carry out one request.

        Args:
            request: JSON, as the request handler returned it: nothing of it was checked.

        Returns:
            JSON: `ctx.result`.

        Raises:
            DataSourceError: see the class.
            InvalidRequest: see the class.
        """
        ...
