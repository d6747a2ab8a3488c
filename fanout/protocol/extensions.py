"""What a request asks of Fanout beyond GraphQL: the member `extensions.fanout` of its payload, in every dialect.

`{"fanout": {}}` asks for positions, `{"fanout": {"after": POSITION}}` resumes, `overflow` says what a client that
reads too slowly would rather miss; docs/protocols.md has the table. A mistake in it is that one subscription's, never
the connection's: in no dialect is it a bad message. May not know: what a position holds, dialects, sessions.
"""

from __future__ import annotations

from typing import Any

from fanout.errors import BadRequest
from fanout.model import Extensions, Overflow, OverflowPolicy

MEMBER = "fanout"
NONE = Extensions()
"""Nothing was asked for."""

_MEMBERS = ("positions", "after", "overflow")
_LONGEST_POSITION_CHARACTERS = 4096
_LONGEST_PATH_CHARACTERS = 256
_POLICIES = ", ".join(f"'{policy.value}'" for policy in OverflowPolicy)
_NO_OVERFLOW = Overflow()


def read_extensions(value: object) -> Extensions:
    """Read the value of `extensions.fanout`; null is the same as a missing member, here and inside.

    Raises:
        BadRequest: a wrong type, an unknown member, or a value that is none; the text says which and what there is.
    """
    if value is None:
        return NONE
    if not isinstance(value, dict):
        raise BadRequest('extensions.fanout has to be an object, for example {"fanout": {}}.')
    for name in value:
        if name not in _MEMBERS:
            shown = str(name)[:40]
            raise BadRequest(f"extensions.fanout.{shown}: there is no such member; there are {', '.join(_MEMBERS)}.")
    positions = value.get("positions")
    if positions is not None and not isinstance(positions, bool):
        raise BadRequest("extensions.fanout.positions has to be true or false.")
    after = value.get("after")
    if after is not None and (not isinstance(after, str) or not 0 < len(after) <= _LONGEST_POSITION_CHARACTERS):
        raise BadRequest("extensions.fanout.after has to be a position as Fanout sent it, a string.")
    return Extensions(positions is not False, after, _read_overflow(value.get("overflow")))


def _read_overflow(value: Any) -> Overflow:
    if value is None:
        return _NO_OVERFLOW
    if isinstance(value, str):
        return Overflow(_read_policy(value))
    if not isinstance(value, dict) or not value.keys() <= {"policy", "path"}:
        raise BadRequest(
            "extensions.fanout.overflow has to be the name of a policy, or an object with 'policy' and, for "
            "'latest', 'path'."
        )
    policy = _read_policy(value.get("policy"))
    path = value.get("path")
    if path is None:
        return Overflow(policy)
    if policy is not OverflowPolicy.LATEST:
        raise BadRequest("extensions.fanout.overflow.path is for the policy 'latest' only.")
    if not isinstance(path, str) or len(path) > _LONGEST_PATH_CHARACTERS or not all(path.split(".")):
        raise BadRequest("extensions.fanout.overflow.path has to be names joined by dots, for example 'room.id'.")
    return Overflow(policy, tuple(path.split(".")))


def _read_policy(value: object) -> OverflowPolicy:
    for policy in OverflowPolicy:
        if policy.value == value:
            return policy
    raise BadRequest(f"extensions.fanout.overflow: the policies are {_POLICIES}.")
