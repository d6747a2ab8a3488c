from __future__ import annotations

from hashlib import sha256

import pytest

from fanout.auth import ApiKeys, Authorizer
from fanout.errors import Unauthorized
from fanout.model import AuthMode, Call, CallKind, Identity

AUTHORIZER = Authorizer(ApiKeys(["client"]), ApiKeys(["publisher"]), ApiKeys(["admin"]))


def test_each_key_opens_its_own_door() -> None:
    assert AUTHORIZER.authorize_client(_call({"x-api-key": "client", "host": "h"})) == _identity("client")
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
        AUTHORIZER.authorize_client(_call(headers))


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
    old = authorizer.authorize_client(_call({"x-api-key": "old"}))
    assert authorizer.holds(old)
    assert not authorizer.has_admin_keys
    authorizer.become(Authorizer(ApiKeys(["new@9999-12-31T00:00Z"]), ApiKeys(["other"]), ApiKeys(["admin"])))
    assert authorizer.authorize_client(_call({"x-api-key": "new"})) == _identity("new")
    assert authorizer.authorize_publisher({"x-api-key": "other"}) == _identity("other")
    assert authorizer.has_admin_keys
    assert authorizer.authorize_admin({"x-api-key": "admin"}) == _identity("admin")
    assert not authorizer.holds(old)
    assert authorizer.next_expiry() < float("inf")
    with pytest.raises(Unauthorized):
        authorizer.authorize_client(_call({"x-api-key": "old"}))
    with pytest.raises(Unauthorized):
        authorizer.authorize_publisher({"x-api-key": "publisher"})


class Kind:
    """A provider that takes what begins with its name."""

    def __init__(self, mode: AuthMode, prefix: str) -> None:
        self.mode = mode
        self._prefix = prefix

    def recognizes(self, call: Call) -> bool:
        return call.headers.get("authorization", "").startswith(self._prefix)

    def decide(self, call: Call) -> Identity:
        return Identity(self.mode, subject=self._prefix)

    def holds(self, identity: Identity) -> bool:
        return identity.subject == self._prefix


PROVIDERS = (Kind(AuthMode.IAM, "AWS4"), Kind(AuthMode.OIDC, "ey"), Kind(AuthMode.LAMBDA, ""))


@pytest.mark.parametrize(
    ("headers", "mode"),
    [
        ({"authorization": "AWS4-HMAC-SHA256 Credential=..."}, AuthMode.IAM),
        ({"authorization": "AWS4-HMAC-SHA256 Credential=...", "x-api-key": "client"}, AuthMode.IAM),
        ({"x-api-key": "client"}, AuthMode.API_KEY),
        ({"authorization": "eyJ", "x-api-key": "client"}, AuthMode.API_KEY),
        ({"authorization": "eyJ"}, AuthMode.OIDC),
        ({"authorization": "anything"}, AuthMode.LAMBDA),
        ({}, AuthMode.LAMBDA),
    ],
)
def test_credentials_choose_the_mode(headers: dict[str, str], mode: AuthMode) -> None:
    identity = Authorizer(ApiKeys(["client"]), ApiKeys(()), providers=PROVIDERS).authorize_client(_call(headers))
    assert isinstance(identity, Identity)
    assert identity.mode is mode


def test_an_identity_holds_by_its_own_mode_s_provider() -> None:
    authorizer = Authorizer(ApiKeys(["client"]), ApiKeys(()), providers=PROVIDERS[:2])
    assert authorizer.holds(Identity(AuthMode.IAM, subject="AWS4"))
    assert not authorizer.holds(Identity(AuthMode.IAM, subject="ey"))
    assert not authorizer.holds(Identity(AuthMode.LAMBDA, subject=""))


ANONYMOUS = Authorizer(ApiKeys(["client"]), ApiKeys(["publisher"]), ApiKeys(["admin"]), anonymous=AuthMode.API_KEY)


@pytest.mark.parametrize("kind", CallKind)
def test_nobody_is_anonymous_unless_asked_for(kind: CallKind) -> None:
    with pytest.raises(Unauthorized):
        AUTHORIZER.authorize_client(Call(kind, {"host": "h"}))


@pytest.mark.parametrize("kind", CallKind)
def test_anonymous_clients_are_the_default_mode_s_least(kind: CallKind) -> None:
    identity = ANONYMOUS.authorize_client(Call(kind, {"host": "h", "x-amz-date": "20260101T000000Z"}))
    assert identity == Identity(AuthMode.API_KEY, {}, "anonymous")
    assert identity is ANONYMOUS.authorize_client(Call(kind, {}))
    assert ANONYMOUS.authorize_client(_call({"x-api-key": "client"})) == _identity("client")


@pytest.mark.parametrize(
    "headers",
    [{"x-api-key": ""}, {"x-api-key": "wrong"}, {"authorization": ""}, {"authorization": "token"}],
)
def test_whoever_gives_credentials_is_not_anonymous(headers: dict[str, str]) -> None:
    with pytest.raises(Unauthorized):
        ANONYMOUS.authorize_client(_call(headers))


def test_publishers_and_operators_are_never_anonymous() -> None:
    for authorize in (ANONYMOUS.authorize_publisher, ANONYMOUS.authorize_admin):
        with pytest.raises(Unauthorized):
            authorize({})


@pytest.mark.parametrize("anonymous", [None, AuthMode.OIDC])
def test_anonymous_clients_do_not_outlive_what_let_them_in(anonymous: AuthMode | None) -> None:
    authorizer = Authorizer(ApiKeys(["client"]), ApiKeys(()), anonymous=AuthMode.IAM)
    identity = authorizer.authorize_client(_call({}))
    assert isinstance(identity, Identity)
    assert authorizer.holds(identity)
    lenient = Kind(AuthMode.IAM, "anonymous")
    authorizer.become(Authorizer(ApiKeys(["client"]), ApiKeys(()), providers=[lenient], anonymous=anonymous))
    assert not authorizer.holds(identity)


def _call(headers: dict[str, str]) -> Call:
    return Call(CallKind.CONNECT, headers)


def _identity(key: str) -> Identity:
    return Identity("API_KEY", subject=f"sha256:{sha256(key.encode()).hexdigest()[:16]}")
