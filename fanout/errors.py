"""The error tree: whose fault it is decides what happens. Knows no room.

    FanoutError
    ├── ClientFault           the client's mistake: answered, never logged above info
    │   ├── BadRequest        a message, document, variable or filter that is not acceptable
    │   ├── Unauthorized      missing, wrong or expired credentials
    │   ├── FieldDenied       a field that is not open to who asks
    │   ├── LimitExceeded     a limit of the deployment, named in the message
    │   ├── PositionExpired   not everything after a position is there any more
    │   ├── DuplicatedOperation   an id that is in use on the same connection
    │   └── SubscriptionEnded     no mistake, but told in the same form: the service has ended a subscription
    ├── Unavailable           an upstream (Redis) cannot answer now; retryable
    └── ConfigurationError    the operator's mistake: one line on stderr, exit code 2
        ├── ConfigurationErrors   several: one line each
        └── SchemaError       with the line and column in the SDL

Anything else that is raised is our own defect and is logged with its traceback. Errors carry fields; the
reply text is derived from them in `fanout.protocol`, the HTTP status in `fanout.web`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


class FanoutError(Exception):
    """Root of all errors that Fanout raises on purpose."""


class ClientFault(FanoutError):
    """The client's mistake.

    Args:
        message: what is wrong, where, and what to do; shown to the client.
        error_type: AppSync's `errorType`, on which clients match.
        error_code: AppSync's `errorCode` (HTTP-like), or None where the service sends none.
        errors: ready GraphQL errors (each with at least `message`) where one message is not enough.
    """

    default_type = "BadRequestException"
    default_code: int | None = 400

    def __init__(
        self,
        message: str,
        *,
        error_type: str | None = None,
        error_code: int | None = None,
        errors: Sequence[Mapping[str, Any]] = (),
    ) -> None:
        super().__init__(message)
        self.message = message
        self.error_type = error_type or self.default_type
        self.error_code = self.default_code if error_code is None else error_code
        self._errors = errors

    @property
    def errors(self) -> list[dict[str, Any]]:
        """One entry per error as AppSync writes it: `errorType`, `message`, `errorCode` and what else is known."""
        listed = self._errors or ({"message": self.message},)
        return [self._complete(error) for error in listed]

    def _complete(self, error: Mapping[str, Any]) -> dict[str, Any]:
        completed: dict[str, Any] = {"errorType": self.error_type, **error}
        if self.error_code is not None:
            completed.setdefault("errorCode", self.error_code)
        return completed


class BadRequest(ClientFault):
    """A message, document, variable or filter that is not acceptable."""


class Unauthorized(ClientFault):
    """Missing, wrong or expired credentials. The text never says which, and never holds the credential."""

    default_type = "UnauthorizedException"
    default_code = 401

    def __init__(self, message: str = "You are not authorized to make this call.", **fields: Any) -> None:
        super().__init__(message, **fields)


class FieldDenied(ClientFault):
    """A field that is not open to who asks, in AppSync's words.

    Args:
        type_name: the object type.
        field_name: the field.
    """

    default_type = "Unauthorized"
    default_code = None

    def __init__(self, type_name: str, field_name: str) -> None:
        super().__init__(f"Not Authorized to access {field_name} on type {type_name}")


class LimitExceeded(ClientFault):
    """A limit of the deployment; the message names the limit and the setting's value."""

    default_type = "LimitExceededError"
    default_code = None


class PositionExpired(ClientFault):
    """A position that cannot be resumed from: not everything after it is kept, or it was given by other streams."""

    default_type = "PositionExpired"
    default_code = 410

    def __init__(self, why: str) -> None:
        super().__init__(f"The position cannot be resumed from: {why}. Load the data anew and subscribe from there.")


class DuplicatedOperation(ClientFault):
    """A second subscription with an id that is in use on the same connection, or a document with two root fields."""

    default_type = "DuplicatedOperationError"
    default_code = None


class SubscriptionEnded(ClientFault):
    """The service has ended a subscription that was accepted: invalidated, or no part of the API any more."""

    default_type = "SubscriptionEnded"
    default_code = None


class Unavailable(FanoutError):
    """An upstream cannot answer now; the same request may succeed later."""


class ConfigurationError(FanoutError):
    """The operator's mistake. The text is one line that says what is wrong, where, and what to do."""


class ConfigurationErrors(ConfigurationError):
    """Several mistakes that were found at once. The text is the first one and how many more there are.

    Args:
        mistakes: at least two, in the order in which they are told.
    """

    def __init__(self, mistakes: Sequence[ConfigurationError]) -> None:
        super().__init__(f"{mistakes[0]} (and {len(mistakes) - 1} more)")
        self.mistakes = tuple(mistakes)


class SchemaError(ConfigurationError):
    """A schema that cannot be served; `line` and `column` are 1-based and 0 where unknown."""

    def __init__(self, message: str, *, source: str = "schema", line: int = 0, column: int = 0) -> None:
        where = f"{source}:{line}:{column}" if line else source
        super().__init__(f"{where}: {message}")
        self.message = message
        self.source = source
        self.line = line
        self.column = column
