"""A request -> `ctx`, as the handlers of each stage see it. JSON only; calls nothing.

Source: AppSync developer guide, "AWS AppSync JavaScript resolver context object reference". `args` is made of
`arguments` by the library; `__auth`, how the caller was let in, is taken out there and is what `util.authType` reads.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final

from fanout.schema import Invocation, SelectionText

_MOST_DIGITS: Final = 2**63


class ContextBuilder:
    """Makes the contexts of one field's resolution; what is the same in all stages is made once.

    Args:
        invocation: the field and who asks for it.
        environment: `ctx.env`.
    """

    __slots__ = ("_invocation", "_selection", "_shared")

    def __init__(self, invocation: Invocation, environment: Mapping[str, str]) -> None:
        caller = invocation.caller
        self._invocation = invocation
        self._selection: SelectionText | None = None
        self._shared: dict[str, Any] = {
            "arguments": dict(invocation.arguments),
            # Of an API key there is no identity; all other modes have claims.
            "identity": dict(caller.identity.claims) or None,
            "source": invocation.source,
            "request": {"headers": dict(caller.headers), "domainName": None},
            "env": dict(environment),
            "__auth": caller.identity.mode.value,
        }

    def build(
        self,
        *,
        stash: Mapping[str, Any],
        wants_selection: bool,
        previous: Mapping[str, Any] | None = None,
        fetched: Mapping[str, Any] | None = None,
        errors: list[dict[str, Any]] | None = None,
    ) -> dict[str, Any]:
        """The context of one stage.

        Args:
            stash: as the last stage left it.
            wants_selection: the module looks at what is selected.
            previous: `ctx.prev`, in pipelines.
            fetched: `result`, and `error` where the data source failed; None before it was asked.
            errors: `outErrors`: what was added by `util.appendError` so far.
        """
        invocation = self._invocation
        info: dict[str, Any] = {
            "fieldName": invocation.field_name,
            "parentTypeName": invocation.type_name,
            "variables": dict(invocation.variables),
        }
        if wants_selection:
            if self._selection is None:
                self._selection = invocation.describe_selection()
            info["selectionSetList"] = self._selection.names
            info["selectionSetGraphQL"] = self._selection.text
        context = {**self._shared, "info": info, "stash": stash, "outErrors": errors or []}
        if previous is not None:
            context["prev"] = previous
        if fetched is not None:
            context.update(fetched)
        return context


def make_json_safe(value: Any) -> Any:
    """JSON that can be written: what came from a token or a document may hold more than JSON does.

    Numbers beyond 64 bits become what JavaScript makes of them, halves of characters become U+FFFD.

    Raises:
        RecursionError: nested about a thousand times.
    """
    match value:
        case bool():
            return value
        case int() if not -_MOST_DIGITS <= value < _MOST_DIGITS:
            try:
                return float(value)
            except OverflowError:
                return math.inf if value > 0 else -math.inf
        case str():
            return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
        case Mapping():
            return {make_json_safe(str(name)): make_json_safe(each) for name, each in value.items()}
        case list() | tuple():
            return [make_json_safe(each) for each in value]
    return value
