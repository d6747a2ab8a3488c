"""Whose subscriptions are, where connections are of others; that they end is in test_gateway_authorization.py."""

from __future__ import annotations

import math
from typing import Any

from fanout.gateway.guests import Guests
from fanout.model import AuthMode, Identity


class Connection:
    def __init__(self, identity: Identity | None) -> None:
        self.identity = identity


def name(subject: str, expires_at: float = math.inf) -> Identity:
    return Identity(AuthMode.OIDC, {}, subject, expires_at)


async def test_who_is_behind_the_connection_is_no_guest() -> None:
    guests = Guests()
    connection: Any = Connection(name("ada"))
    guests.note(connection, "equal", name("ada"))
    guests.note(connection, "other", name("bob"))
    assert len(guests) == 1
    assert guests.get(connection, "equal") is None
    assert guests.get(connection, "other") == name("bob")
    assert guests.find(lambda identity: identity.subject == "ada") == []
    assert guests.find(lambda identity: identity.subject == "bob") == [(connection, "other")]
    guests.forget(connection, "equal")
    guests.forget(connection, "other")
    assert not guests


async def test_the_next_to_expire_is_known() -> None:
    guests = Guests()
    connection: Any = Connection(None)
    for id, expires_at in {"late": 90.0, "soon": 60.0, "never": math.inf}.items():
        guests.note(connection, id, name(id, expires_at))
    assert guests.expire_at == 60
    assert guests.find_expired(60) == [(connection, "soon")]
    assert guests.expire_at == 90
    assert guests.find_expired(90) == [(connection, "late"), (connection, "soon")]
    assert guests.expire_at == math.inf
