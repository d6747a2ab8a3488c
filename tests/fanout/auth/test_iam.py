from __future__ import annotations

import logging
import re
import time
import tomllib
from collections.abc import Mapping
from typing import Any

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from fanout.auth.iam import IamProvider
from fanout.auth_settings import IamSettings, IamUser
from fanout.errors import ConfigurationError, Unauthorized
from fanout.model import AuthMode, Call, CallKind, FieldPolicy, Identity
from tests.structure.sources import ROOT

ADA = {"access_key_id": "AKIAADA", "secret_access_key": "ada's secret"}
BOB = {
    "access_key_id": "AKIABOB",
    "secret_access_key": "bob's secret",
    "account_id": "123456789012",
    "username": "bob",
    "statements": [{"resources": ["types/Query/*"]}, {"effect": "Deny", "resources": ["types/Query/fields/secret"]}],
}


def build(*users: Mapping[str, Any], **settings: Any) -> IamProvider:
    return IamProvider(IamSettings(users=users or (ADA, BOB), **settings), time.time)


def sign_call(
    user: Mapping[str, Any] = ADA, addresses: tuple[str, ...] = ("192.0.2.1",), region: str = "us-east-1"
) -> Call:
    request = AWSRequest("POST", "https://localhost/graphql/connect", data=b"{}")
    signer = Credentials(user["access_key_id"], user["secret_access_key"], user.get("session_token"))
    SigV4Auth(signer, "appsync", region).add_auth(request)
    headers = {name.lower(): value for name, value in request.headers.items()}
    return Call(CallKind.CONNECT, {"host": "localhost", **headers}, addresses=addresses)


def test_a_user_has_appsync_s_identity() -> None:
    identity = build().decide(sign_call(BOB, ("192.0.2.1", "10.0.0.1")))
    assert identity.mode is AuthMode.IAM
    assert identity.subject == "AKIABOB"
    assert identity.expires_at == float("inf")
    assert identity.policy == FieldPolicy(("Query.*",), ("Query.secret",))
    assert identity.claims == {
        "accountId": "123456789012",
        "cognitoIdentityPoolId": None,
        "cognitoIdentityId": None,
        "sourceIp": ["192.0.2.1", "10.0.0.1"],
        "username": "bob",
        "userArn": "arn:aws:iam::123456789012:user/bob",
        "cognitoIdentityAuthType": None,
        "cognitoIdentityAuthProvider": None,
    }


def test_what_is_not_given_is_made_up() -> None:
    claims = build().decide(sign_call()).claims
    assert (claims["accountId"], claims["username"]) == ("000000000000", "AKIAADA")
    assert claims["userArn"] == "arn:aws:iam::000000000000:user/AKIAADA"
    named = build({**ADA, "user_arn": "arn:aws:sts::1:assumed-role/r/s"}).decide(sign_call())
    assert named.claims["userArn"] == "arn:aws:sts::1:assumed-role/r/s"
    assert named.policy is None


def test_the_same_user_at_the_same_addresses_is_the_same_object() -> None:
    provider = build()
    first = provider.decide(sign_call())
    assert provider.decide(sign_call()) is first
    other = provider.decide(sign_call(addresses=("192.0.2.2",)))
    assert other.claims["sourceIp"] == ["192.0.2.2"]
    assert other != first
    assert provider.decide(sign_call(BOB)) != first


def test_what_is_kept_of_users_is_bounded() -> None:
    provider = build()
    first = provider.decide(sign_call(addresses=("first",)))
    call = sign_call()
    for number in range(2000):
        provider.decide(Call(call.kind, call.headers, addresses=(str(number),)))
    again = provider.decide(sign_call(addresses=("first",)))
    assert again == first
    assert again is not first
    long = ("x" * 10_000,)
    assert provider.decide(sign_call(addresses=long)) is not provider.decide(sign_call(addresses=long))


@pytest.mark.parametrize(
    "user",
    [{**ADA, "secret_access_key": "not ada's"}, {**ADA, "access_key_id": "AKIANOBODY"}, {**BOB, "session_token": "t"}],
)
def test_wrong_signatures_are_answered_alike(user: dict[str, Any], caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "fanout.auth.iam")
    provider = build(ADA, {**BOB, "session_token": "token"})
    call = sign_call(user)
    assert provider.recognizes(call)
    with pytest.raises(Unauthorized) as caught:
        provider.decide(call)
    assert str(caught.value) == "You are not authorized to make this call."
    (record,) = caplog.records
    assert record.levelno == logging.DEBUG
    assert record.getMessage().startswith("a WebSocket connection is refused: ")
    assert call.headers["authorization"][-64:] not in caplog.text
    assert user["secret_access_key"] not in caplog.text


def test_only_signatures_are_recognized() -> None:
    assert build().recognizes(Call(CallKind.HTTP, {"authorization": "AWS4-HMAC-SHA256 junk"}))
    for headers in ({}, {"x-api-key": "k"}, {"authorization": "eyJ"}, {"authorization": "Bearer AWS4-HMAC-SHA256"}):
        assert not build().recognizes(Call(CallKind.HTTP, headers))


def test_region_skew_and_prefix_are_as_configured() -> None:
    assert build(region="eu-west-1").recognizes(sign_call())
    with pytest.raises(Unauthorized):
        build(region="eu-west-1").decide(sign_call())
    later = IamProvider(IamSettings(users=(ADA,), clock_skew_seconds=60), lambda: time.time() + 90)
    with pytest.raises(Unauthorized):
        later.decide(sign_call())
    call = sign_call()
    with pytest.raises(Unauthorized):
        build(path_prefix="/api").decide(Call(call.kind, call.headers, path="/other"))


HOLDS = [
    ((ADA, BOB), True),
    ((BOB, ADA), True),
    (({**ADA, "username": "AKIAADA"},), True),
    ((BOB,), False),
    (({**ADA, "secret_access_key": "rotated"},), False),
    (({**ADA, "session_token": "t"},), False),
    (({**ADA, "username": "ada"},), False),
    (({**ADA, "account_id": "1"},), False),
    (({**ADA, "statements": [{"resources": ["types/Query/*"]}]},), False),
]


@pytest.mark.parametrize(("users", "holds"), HOLDS)
def test_an_identity_holds_while_its_user_is_the_same(users: tuple[dict[str, Any], ...], holds: bool) -> None:
    for identity in (build().decide(sign_call()), build().decide(sign_call(addresses=()))):
        assert build(*users).holds(identity) is holds


def test_what_no_user_was_decided_by_does_not_hold() -> None:
    assert not build().holds(Identity(AuthMode.IAM, {"sourceIp": []}, "AKIAADA"))
    assert not build().holds(Identity(AuthMode.IAM, {}, "AKIANOBODY"))


def test_an_identity_shows_no_credential() -> None:
    identity = build().decide(sign_call())
    assert "digest" not in repr(identity)
    assert "digest" not in identity.claims
    assert ADA["secret_access_key"] not in repr(build())


def test_a_bad_statement_names_its_user() -> None:
    with pytest.raises(ConfigurationError, match=r"^iam.users 2, statement 1: 'Query' is no resource"):
        build(ADA, {**BOB, "statements": [{"resources": ["Query"]}]})


def test_the_configuration_in_the_docs_is_good() -> None:
    text = (ROOT / "docs/authorization.md").read_text(encoding="utf-8")
    section = text[text.index("## AWS_IAM") :]
    found = re.search(r"```toml\n(.*?)```", section, re.DOTALL)
    assert found is not None
    settings = IamSettings.model_validate(
        tomllib.loads(found[1])["iam"], context={"environment": {"REPORTS_SECRET": "secret"}}
    )
    call = sign_call({"access_key_id": "AKIAREPORTS", "secret_access_key": "secret"}, region=settings.region)
    identity = IamProvider(settings, time.time).decide(call)
    assert identity.claims["userArn"] == "arn:aws:iam::123456789012:user/reports"
    assert identity.policy == FieldPolicy(("Subscription.onCreate*", "Query.*"), ("Query.getSalary",))
    tables = section.partition("\n## ")[0]
    for model in (IamSettings, IamUser):
        for name in model.model_fields:
            assert f"`{name}`" in tables or name == "users", f"docs/authorization.md does not tell of {name}"
