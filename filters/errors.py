"""The one error of this library. Knows nothing of who shows it.

Several clients look for parts of AppSync's own texts: DataStore subscribes again without a filter when it reads one
of them. Those texts are built here and nowhere else, so that they stay as the service writes them (what is looked
for: amplify-js, `datastore/src/sync/processors/subscription.ts`; the rest of each sentence: captures of answers).
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import islice

_LONGEST_QUOTE = 60
_MOST_NAMES = 3


class FilterError(ValueError):
    """A filter that is not acceptable; its text is meant for the client that sent it.

    Args:
        message: what is wrong and where.
        error_code: the `errorCode` that AppSync sends along, or None where it is not known to send one.
    """

    def __init__(self, message: str, error_code: int | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.error_code = error_code

    @classmethod
    def too_many_attributes(cls, limit: int) -> FilterError:
        return cls(f"Filters exceed maximum attributes limit {limit} for subscription")

    @classmethod
    def too_many_combinations(cls, limit: int) -> FilterError:
        return cls(f"Filters combination exceed maximum limit {limit} for subscription.")

    @classmethod
    def repeated_field(cls) -> FilterError:
        return cls("subscription filter uses same fieldName multiple time")

    @classmethod
    def too_many_values(cls, operator_name: str, limit: int) -> FilterError:
        # The only one of these texts that was captured together with a code.
        return cls(f"subscription exceeds maximum value limit {limit} for operator `{operator_name}`.", 400)

    @classmethod
    def negated_group(cls) -> FilterError:
        return cls("The variables input contains a field name 'not' that is not supported in subscription filters")


def quote(value: object) -> str:
    """A short description of any value for an error's text, whatever its size, depth or encoding."""
    if isinstance(value, str):
        return repr(value) if len(value) <= _LONGEST_QUOTE else f"{value[:_LONGEST_QUOTE]!r}..."
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return "a number"
    if isinstance(value, Mapping):
        return "an object"
    return "a list" if isinstance(value, (list, tuple)) else f"a {type(value).__name__}"


def quote_shape(value: object) -> str:
    """As `quote`, for where an object was expected: of another object its first names, since they tell what it is."""
    if not isinstance(value, Mapping):
        return quote(value)
    names = ", ".join(quote(name) for name in islice(value, _MOST_NAMES))
    more = ", ..." if len(value) > _MOST_NAMES else ""
    return f"one of {names}{more}" if names else "an empty one"
