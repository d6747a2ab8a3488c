"""Policies: from the statements of a user (AWS's words) to the fields that they may use. Pure.

Source: AppSync guide, "Configuring authorization", section AWS_IAM authorization. A statement says what it is about by
resources: `types/TYPE/fields/FIELD`, `types/TYPE/*`, `*`, or an ARN that ends so. May not know: who the user is.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from fanout.auth_settings import IamStatement
from fanout.errors import ConfigurationError
from fanout.model import FieldPolicy

_ARN = re.compile(r"arn:[^:]+:appsync:[^:]*:[^:]*:(?:apis/[^/]+/)?(.+)")
_FIELD = re.compile(r"types/([A-Za-z0-9_*]+)/fields/([A-Za-z0-9_*]+)")
_TYPE = re.compile(r"types/([A-Za-z0-9_*]+)/\*")
# In AWS `*` is any text, a slash too: what begins so goes on to all fields.
_BEGINNING = re.compile(r"types/([A-Za-z0-9_*]*\*)")
_EVERYTHING = frozenset({"*", "types/*", "apis/*"})


def build_policy(statements: Iterable[IamStatement], where: str) -> FieldPolicy | None:
    """What statements allow; None where that is everything.

    As in AWS, what no statement allows is not allowed, and what one denies is denied whatever another says.

    Args:
        statements: of one user.
        where: whose, for error messages.

    Raises:
        ConfigurationError: a resource that is not understood.
    """
    patterns: dict[str, list[str]] = {"Allow": [], "Deny": []}
    for position, statement in enumerate(statements, start=1):
        for resource in statement.resources:
            pattern = _read_resource(resource)
            if pattern is None:
                raise ConfigurationError(
                    f"{where}, statement {position}: {resource!r} is no resource: write types/TYPE/fields/FIELD, "
                    "types/TYPE/*, * or an ARN of AppSync that ends so, with * for any text"
                )
            patterns[statement.effect].append(pattern)
    if "*" in patterns["Allow"] and not patterns["Deny"]:
        return None
    return FieldPolicy(tuple(patterns["Allow"]), tuple(patterns["Deny"]))


def _read_resource(resource: str) -> str | None:
    """The pattern `Type.field` of a resource. One deployment serves one API: which one an ARN names is not asked."""
    arn = _ARN.fullmatch(resource)
    path = arn[1] if arn else resource
    if path in _EVERYTHING:
        return "*"
    if field := _FIELD.fullmatch(path):
        return f"{field[1]}.{field[2]}"
    if type_ := _TYPE.fullmatch(path):
        return f"{type_[1]}.*"
    beginning = _BEGINNING.fullmatch(path)
    return beginning[1] if beginning else None
