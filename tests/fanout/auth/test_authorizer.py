from __future__ import annotations

from hashlib import sha256

import pytest

from fanout.auth import ApiKeys, Authorizer
from fanout.errors import Unauthorized
from fanout.model import Identity

AUTHORIZER = Authorizer(ApiKeys(["client"]), ApiKeys(["publisher"]), ApiKeys(["admin"]))


def test_each_key_opens_its_own_door() -> None:
    assert AUTHORIZER.authorize_client({"x-api-key": "client", "host": "h"}) == _identity("client")
    assert AUTHORIZER.authorize_publisher({"x-api-key": "publisher"}) == _identity("publisher")
    assert AUTHORIZER.authorize_admin({"x-api-key": "admin"}) == _identity("admin")


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"x-api-key": ""},
        {"x-api-key": "wrong"},
        {"x-api-key": "publisher"},
        {"x-api-key": "admin"},
        {"x-api-key": "client, client"},
        {"authorization": "client"},
    ],
)
def test_nothing_else_opens_the_client_s(headers: dict[str, str]) -> None:
    with pytest.raises(Unauthorized):
        AUTHORIZER.authorize_client(headers)


@pytest.mark.parametrize(
    "headers", [{}, {"x-api-key": "client"}, {"x-api-key": "wrong"}, {"authorization": "publisher"}]
)
def test_nothing_else_opens_the_publisher_s(headers: dict[str, str]) -> None:
    with pytest.raises(Unauthorized):
        AUTHORIZER.authorize_publisher(headers)


@pytest.mark.parametrize("headers", [{}, {"x-api-key": "client"}, {"x-api-key": "publisher"}, {"x-api-key": "wrong"}])
def test_nothing_else_opens_the_operator_s(headers: dict[str, str]) -> None:
    for authorizer in (AUTHORIZER, Authorizer(ApiKeys(["client"]), ApiKeys(["publisher"]))):
        with pytest.raises(Unauthorized):
            authorizer.authorize_admin(headers)


def test_it_becomes_another() -> None:
    authorizer = Authorizer(ApiKeys(["old"]), ApiKeys(["publisher"]))
    old = authorizer.authorize_client({"x-api-key": "old"})
    assert authorizer.holds(old)
    assert not authorizer.has_admin_keys
    authorizer.become(Authorizer(ApiKeys(["new@9999-12-31T00:00Z"]), ApiKeys(["other"]), ApiKeys(["admin"])))
    assert authorizer.authorize_client({"x-api-key": "new"}) == _identity("new")
    assert authorizer.authorize_publisher({"x-api-key": "other"}) == _identity("other")
    assert authorizer.has_admin_keys
    assert authorizer.authorize_admin({"x-api-key": "admin"}) == _identity("admin")
    assert not authorizer.holds(old)
    assert authorizer.next_expiry() < float("inf")
    for decide, key in ((authorizer.authorize_client, "old"), (authorizer.authorize_publisher, "publisher")):
        with pytest.raises(Unauthorized):
            decide({"x-api-key": key})


def _identity(key: str) -> Identity:
    return Identity("API_KEY", subject=f"sha256:{sha256(key.encode()).hexdigest()[:16]}")
