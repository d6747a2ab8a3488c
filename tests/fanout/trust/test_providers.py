from __future__ import annotations

import base64
import json
from typing import Any

import httpx
import pytest

from fanout.auth_settings import CognitoSettings, LambdaSettings, OidcSettings
from fanout.errors import ConfigurationError
from fanout.model import AuthMode, Call, CallKind
from fanout.settings import Settings
from fanout.trust import build_providers

POOL = CognitoSettings(user_pool_id="eu-west-1_A")
POOL_ISSUER = "https://cognito-idp.eu-west-1.amazonaws.com/eu-west-1_A"
ISSUER = OidcSettings(issuer="https://login.example.com")


async def test_nothing_is_configured_by_default(http: httpx.AsyncClient) -> None:
    assert build_providers(Settings(), http, lambda: 0.0) == []


async def test_pools_come_before_issuers(http: httpx.AsyncClient) -> None:
    providers = build_providers(Settings(oidc=(ISSUER,), cognito=(POOL,)), http, lambda: 0.0)
    assert [provider.mode for provider in providers] == [AuthMode.COGNITO, AuthMode.OIDC]


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"cognito": (POOL, POOL)}, "AMAZON_COGNITO_USER_POOLS: an issuer is configured twice"),
        ({"oidc": (ISSUER, ISSUER)}, "OPENID_CONNECT: an issuer is configured twice"),
        ({"cognito": (POOL,), "oidc": (OidcSettings(issuer=POOL_ISSUER + "/"),)}, "and of an .* table, leave one out"),
        ({"oidc": (OidcSettings(issuer="http://login.example.com"),)}, "by https only"),
        ({"cognito": (CognitoSettings(user_pool_id="local"),)}, "user_pool_id has to be like"),
    ],
)
async def test_what_cannot_be_used_is_told(http: httpx.AsyncClient, settings: dict[str, Any], problem: str) -> None:
    with pytest.raises(ConfigurationError, match=problem):
        build_providers(Settings(**settings), http, lambda: 0.0)


async def test_signatures_are_asked_first_and_an_authorizer_function_last(http: httpx.AsyncClient) -> None:
    signing = {"iam": {"users": [{"access_key_id": "A", "secret_access_key": "s"}]}}
    function = LambdaSettings(url="http://127.0.0.1:1/")
    settings = Settings.model_validate({**signing, "oidc": (ISSUER,), "lambda_authorizer": function})
    providers = build_providers(settings, http, lambda: 0.0)
    assert [provider.mode for provider in providers] == [AuthMode.IAM, AuthMode.OIDC, AuthMode.LAMBDA]
    with pytest.raises(ConfigurationError):
        build_providers(Settings(lambda_authorizer=LambdaSettings(url="nowhere")), http, lambda: 0.0)


def write_token(issuer: str) -> str:
    """As one that is signed looks to whoever does not verify it."""
    parts = ({"alg": "RS256", "kid": "k"}, {"iss": issuer, "sub": "s"}, "signature")
    return ".".join(base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in parts)


@pytest.mark.parametrize(
    ("token", "mode"),
    [
        ("AWS4-HMAC-SHA256 Credential=A", AuthMode.IAM),
        (write_token(ISSUER.issuer), AuthMode.OIDC),
        (f"Bearer {write_token(ISSUER.issuer)}", AuthMode.OIDC),
        (write_token("https://other.example.com"), AuthMode.LAMBDA),
        (f"mine-{write_token(ISSUER.issuer)}", AuthMode.LAMBDA),
        ("token", AuthMode.LAMBDA),
    ],
)
async def test_what_others_can_read_never_reaches_an_authorizer_function(
    http: httpx.AsyncClient, token: str, mode: AuthMode
) -> None:
    signing = {"iam": {"users": [{"access_key_id": "A", "secret_access_key": "s"}]}}
    function = LambdaSettings(url="http://127.0.0.1:1/")
    settings = Settings.model_validate({**signing, "oidc": (ISSUER,), "lambda_authorizer": function})
    call = Call(CallKind.CONNECT, {"authorization": token})
    providers = build_providers(settings, http, lambda: 0.0)
    assert next(provider.mode for provider in providers if provider.recognizes(call)) is mode
