"""Rules of tokens: what is good in each mode, and a table of what is not."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import math
from typing import Any

import orjson
import pytest
from cryptography.hazmat.primitives import serialization
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from fanout.auth import CognitoRules, OidcRules, TokenRules, parse_key_set, read_token, strip_bearer, verify
from fanout.auth_settings import CognitoSettings, OidcSettings
from fanout.errors import ConfigurationError, Unauthorized
from fanout.model import AuthMode, Identity
from tests.issuer import CURVES, make_key, show_key, sign

relaxed = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])

NOW = 1_800_000_000.0
POOL = "eu-west-1_AbCdEfGhI"
POOL_ISSUER = f"https://cognito-idp.eu-west-1.amazonaws.com/{POOL}"
ISSUER = "https://login.example.com/"
KEYS = parse_key_set(orjson.dumps({"keys": [show_key(make_key("k1"), "k1"), show_key(make_key("k2"), "k2")]}))

ACCESS = {
    "sub": "u-1",
    "iss": POOL_ISSUER,
    "client_id": "app",
    "token_use": "access",
    "username": "ada",
    "cognito:groups": ["staff", "editors"],
    "auth_time": int(NOW) - 60,
    "iat": int(NOW) - 60,
    "exp": int(NOW) + 600,
}
ID = {
    "sub": "u-1",
    "iss": POOL_ISSUER,
    "aud": "app",
    "token_use": "id",
    "cognito:username": "ada",
    "iat": int(NOW) - 60,
    "exp": int(NOW) + 600,
}
OIDC = {"sub": "u-2", "iss": ISSUER, "aud": ["web", "other"], "iat": int(NOW) - 60, "exp": int(NOW) + 600}


def build_cognito(**options: Any) -> CognitoRules:
    return CognitoRules(CognitoSettings(**{"user_pool_id": POOL, "app_id_client_regex": "app|app2", **options}))


def build_oidc(**options: Any) -> OidcRules:
    return OidcRules(OidcSettings(**{"issuer": ISSUER, "client_id": "web", **options}))


def decide(text: str, rules: TokenRules, addresses: tuple[str, ...] = ("10.0.0.1",)) -> Identity:
    """What a provider does with a token, without its cache and network."""
    token = read_token(strip_bearer(text))
    if token is None or token.issuer != rules.issuer:
        raise Unauthorized
    verify(token, KEYS.get(token.key_id))
    return rules.identify(token.claims, addresses, NOW)


def encode(part: object) -> str:
    data = part if isinstance(part, bytes) else json.dumps(part).encode()
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def test_an_access_token_of_a_pool() -> None:
    identity = decide(sign(ACCESS), build_cognito(), ("192.0.2.1", "10.0.0.1"))
    assert identity == Identity(
        AuthMode.COGNITO,
        {
            "sub": "u-1",
            "issuer": POOL_ISSUER,
            "username": "ada",
            "claims": ACCESS,
            "sourceIp": ["192.0.2.1", "10.0.0.1"],
            "groups": ["staff", "editors"],
            "defaultAuthStrategy": "ALLOW",
        },
        f"{POOL_ISSUER}|u-1",
        NOW + 600,
        frozenset({"staff", "editors"}),
    )


def test_an_id_token_of_a_pool() -> None:
    identity = decide("Bearer " + sign(ID), build_cognito(default_action="DENY"))
    assert (identity.claims["username"], identity.claims["groups"], identity.groups) == ("ada", None, frozenset())
    assert identity.claims["defaultAuthStrategy"] == "DENY"


def test_a_token_of_an_issuer() -> None:
    identity = decide(sign(OIDC), build_oidc())
    shape = {"sub": "u-2", "issuer": ISSUER, "claims": OIDC}
    assert identity == Identity(AuthMode.OIDC, shape, f"{ISSUER}|u-2", NOW + 600)


@pytest.mark.parametrize("prefix", ["", "Bearer ", "bearer ", "BEARER  "])
def test_with_or_without_bearer(prefix: str) -> None:
    assert decide(prefix + sign(OIDC), build_oidc()).subject.endswith("|u-2")


@pytest.mark.parametrize(
    ("options", "claims", "seconds"),
    [
        ({"iat_ttl_ms": 90_000}, {}, 30),
        ({"iat_ttl_ms": 9_000_000}, {}, 600),
        ({"auth_ttl_ms": 100_000}, {"auth_time": int(NOW) - 90}, 10),
        ({"auth_ttl_ms": 100_000, "iat_ttl_ms": 65_000}, {"auth_time": int(NOW) - 90}, 5),
        ({}, {"exp": NOW + 0.5}, 0.5),
        ({}, {"auth_time": "ignored where no auth_ttl_ms is set"}, 600),
    ],
)
def test_the_earliest_end_counts(options: dict[str, Any], claims: dict[str, Any], seconds: float) -> None:
    assert decide(sign(OIDC | claims), build_oidc(**options)).expires_at == NOW + seconds


@pytest.mark.parametrize(
    ("aud", "azp"), [("web", None), (["x", "web"], None), (None, "web"), ("other", "web"), ([1, "web"], 7)]
)
def test_client_ids_of_an_issuer_are_aud_or_azp(aud: Any, azp: Any) -> None:
    claims = {name: value for name, value in {**OIDC, "aud": aud, "azp": azp}.items() if value is not None}
    assert decide(_sign_anything(claims), build_oidc()).mode is AuthMode.OIDC


def test_without_a_regular_expression_any_client_is_good() -> None:
    claims = {name: value for name, value in OIDC.items() if name != "aud"}
    assert decide(sign(claims), build_oidc(client_id="")).subject
    assert decide(sign(ACCESS | {"client_id": "whoever"}), build_cognito(app_id_client_regex="")).subject


def test_a_clock_that_is_a_little_ahead_is_borne() -> None:
    assert decide(sign(OIDC | {"iat": int(NOW) + 9, "nbf": int(NOW) + 9}), build_oidc()).subject


@pytest.mark.parametrize("algorithm", ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512"])
def test_algorithms_that_are_taken(algorithm: str) -> None:
    kind = {"ES256": "P-256", "ES384": "P-384", "ES512": "P-521"}.get(algorithm, "RSA")
    key = make_key("any", kind)
    keys = parse_key_set(orjson.dumps({"keys": [show_key(key, "any")]}))
    token = read_token(sign(OIDC, key, "any", algorithm))
    assert token is not None
    verify(token, keys["any"])
    other = parse_key_set(orjson.dumps({"keys": [show_key(make_key("other", kind), "any")]}))
    with pytest.raises(Unauthorized):
        verify(token, other["any"])


def _sign_anything(claims: Any, header: dict[str, Any] | None = None) -> str:
    """A good signature over whatever: PyJWT would refuse to write such claims."""
    signed = f"{encode({'alg': 'RS256', 'kid': 'k1', **(header or {})})}.{encode(claims)}"
    key = make_key("k1")
    from jwt.algorithms import RSAAlgorithm

    return f"{signed}.{encode(RSAAlgorithm(RSAAlgorithm.SHA256).sign(signed.encode(), key))}"


def _sign_with_public_key() -> str:
    """The classic: HS256 with the published key as the secret."""
    secret = (
        make_key("k1")
        .public_key()
        .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    )
    signed = f"{encode({'alg': 'HS256', 'kid': 'k1', 'typ': 'JWT'})}.{encode(ACCESS)}"
    return f"{signed}.{encode(hmac.new(secret, signed.encode(), hashlib.sha256).digest())}"


GOOD = sign(ACCESS)
HEAD, BODY, SIGNATURE = GOOD.split(".")

BAD_TOKENS = {
    "nothing": "",
    "no token": "secret",
    "two parts": f"{HEAD}.{BODY}",
    "four parts": f"{GOOD}.x",
    "truncated": GOOD[:-10],
    "truncated to one character of a signature": f"{HEAD}.{BODY}.A",
    "without a signature": f"{HEAD}.{BODY}.",
    "another token's claims": f"{HEAD}.{encode(ACCESS | {'sub': 'u-9'})}.{SIGNATURE}",
    "not base64": f"{HEAD}.{BODY}.%%%%",
    "with padding": f"{HEAD}.{BODY}.{SIGNATURE}==",
    "huge": sign(ACCESS | {"more": "x" * 20_000}),
    "not ASCII": GOOD + "ü",
    "a lone surrogate": GOOD + "\ud800",
    "a newline": GOOD + "\n",
    "header is junk": f"{encode(b'{')}.{BODY}.{SIGNATURE}",
    "header is a list": f"{encode([1])}.{BODY}.{SIGNATURE}",
    "payload is junk": f"{HEAD}.{encode(b'{')}.{SIGNATURE}",
    "payload is a text": _sign_anything("text"),
    "payload is deep": f"{HEAD}.{encode(b'[' * 5000)}.{SIGNATURE}",
    "none": f"{encode({'alg': 'none', 'kid': 'k1'})}.{BODY}.",
    "None": f"{encode({'alg': 'None', 'kid': 'k1'})}.{BODY}.",
    "none with a signature": _sign_anything(ACCESS, {"alg": "none"}),
    "HS256 by the public key": _sign_with_public_key(),
    "alg of no kind": _sign_anything(ACCESS, {"alg": "XX256"}),
    "alg is a number": _sign_anything(ACCESS, {"alg": 256}),
    "alg is a list": _sign_anything(ACCESS, {"alg": ["RS256"]}),
    "alg of another kind of key": _sign_anything(ACCESS, {"alg": "ES256"}),
    "another alg than signed by": _sign_anything(ACCESS, {"alg": "PS256"}),
    "no kid": _sign_anything(ACCESS, {"kid": None}),
    "kid is a number": _sign_anything(ACCESS, {"kid": 1}),
    "unknown kid": sign(ACCESS, key_id="k9"),
    "another key's kid": sign(ACCESS, key_id="k2"),
    "another key": sign(ACCESS, key=make_key("k9")),
    "what has to be understood": _sign_anything(ACCESS, {"crit": ["b64"], "b64": False}),
    "expired": sign(ACCESS | {"exp": int(NOW)}),
    "expired long ago": sign(ACCESS | {"exp": 0}),
    "not yet": sign(ACCESS | {"nbf": int(NOW) + 11}),
    "issued in the future": sign(ACCESS | {"iat": int(NOW) + 11}),
    "another issuer": sign(ACCESS | {"iss": POOL_ISSUER + "x"}),
    "refresh token": sign(ACCESS | {"token_use": "refresh"}),
    "access token with aud only": sign({**ID, "token_use": "access"}),
    "id token with client_id only": sign({**ACCESS, "token_use": "id"}),
    "another client": sign(ACCESS | {"client_id": "app3"}),
    "another client whose name begins alike": sign(ACCESS | {"client_id": "app2x"}),
    "no token_use": sign({name: value for name, value in ACCESS.items() if name != "token_use"}),
    **{
        f"{name} is {value!r}": _sign_anything({**ACCESS, name: value})
        for name, values in {
            "iss": (None, 1, [POOL_ISSUER]),
            "sub": (None, "", 7, {}),
            "exp": (None, "1900000000", True, [], 1e400, -1),
            "nbf": ("soon", False, {}),
            "iat": ("now", True),
            "token_use": (None, ["access"]),
            "client_id": (None, 7, ["app"]),
            "username": (7, ["ada"]),
            "cognito:groups": ("staff", [1], {"staff": 1}),
        }.items()
        for value in values
    },
}


@pytest.mark.parametrize("token", BAD_TOKENS.values(), ids=BAD_TOKENS)
def test_what_is_not_good(token: str) -> None:
    with pytest.raises(Unauthorized) as refused:
        decide(token, build_cognito())
    assert str(refused.value) == str(Unauthorized())


BAD_OIDC_CLAIMS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "no iat": ({"iat": None}, {}),
    "iat is a text": ({"iat": "1"}, {}),
    "too long after iat": ({}, {"iat_ttl_ms": 60_000}),
    "no auth_time": ({}, {"auth_ttl_ms": 60_000}),
    "auth_time is a text": ({"auth_time": "1"}, {"auth_ttl_ms": 60_000}),
    "too long after auth_time": ({"auth_time": int(NOW) - 60}, {"auth_ttl_ms": 60_000}),
    "expired": ({"exp": int(NOW)}, {"iat_ttl_ms": 9_000_000}),
    "another audience": ({"aud": "website"}, {}),
    "other audiences": ({"aud": ["website", 1]}, {}),
    "no audience": ({"aud": None}, {}),
    "audience is an object": ({"aud": {"web": 1}}, {}),
    "no subject": ({"sub": None}, {}),
}


@pytest.mark.parametrize(("claims", "options"), BAD_OIDC_CLAIMS.values(), ids=BAD_OIDC_CLAIMS)
def test_what_is_not_good_of_an_issuer(claims: dict[str, Any], options: dict[str, Any]) -> None:
    written = {name: value for name, value in {**OIDC, **claims}.items() if value is not None}
    with pytest.raises(Unauthorized):
        decide(_sign_anything(written), build_oidc(**options))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text("a7\u00fc"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("ab", max_size=2), inner, max_size=3),
    max_leaves=5,
)


@relaxed
@given(st.dictionaries(st.sampled_from([*ACCESS, *ID, *OIDC, "azp", "nbf", "auth_time"]), JSON))
def test_whatever_is_claimed_gives_an_identity_or_a_refusal(claims: dict[str, Any]) -> None:
    for usual, rules in ((ACCESS, build_cognito()), (OIDC, build_oidc(iat_ttl_ms=100_000, auth_ttl_ms=100_000))):
        try:
            identity = rules.identify({**usual, **claims}, (), NOW)
        except Unauthorized:
            continue
        assert NOW < identity.expires_at < math.inf
        assert identity.subject == f"{rules.issuer}|{identity.claims['sub']}"


@relaxed
@given(st.text() | st.text("abcdefgABC019-_.=", max_size=60) | st.binary().map(lambda raw: f"{encode(raw)}.{BODY}."))
@example("..")
@example(f".{BODY}.")
def test_whatever_is_sent_reads_or_does_not(text: str) -> None:
    token = read_token(strip_bearer(text))
    assert token is None or isinstance(token.issuer, str)


@relaxed
@given(st.integers(0, len(GOOD) - 1), st.sampled_from("AZaz09-_."))
def test_no_changed_character_is_let_through(position: int, character: str) -> None:
    changed = GOOD[:position] + character + GOOD[position + 1 :]
    if _same_bits(changed):
        return
    with pytest.raises(Unauthorized):
        decide(changed, build_cognito())


def _same_bits(changed: str) -> bool:
    """The last character of a signature has bits that mean nothing."""
    return changed[:-1] == GOOD[:-1] and base64.urlsafe_b64decode(
        changed.rpartition(".")[2] + "=="
    ) == base64.urlsafe_b64decode(SIGNATURE + "==")


def test_keys_that_cannot_be_used_are_left_out() -> None:
    rsa, elliptic = make_key("k1"), make_key("any", "P-256")
    listed = [
        "junk",
        None,
        {},
        {"kty": "oct", "kid": "symmetric", "k": "c2VjcmV0", "alg": "HS256"},
        show_key(rsa, "enc", use="enc"),
        show_key(rsa, "signing", key_ops=["sign"]),
        show_key(rsa, "hs", alg="HS256"),
        show_key(rsa, "alg", alg=256),
        show_key(rsa, ""),
        show_key(rsa, 7),  # type: ignore[arg-type]
        {**show_key(rsa, "broken"), "n": "!"},
        {**show_key(rsa, "null"), "e": None},
        {**show_key(rsa, "zero"), "n": "AA", "e": "AA"},
        show_key(make_key("small", bits=1024), "small"),
        {**show_key(elliptic, "curve"), "crv": "secp256k1"},
        {**show_key(elliptic, "point"), "x": "AAAA"},
        {"kty": "OKP", "crv": "Ed25519", "x": "AAAA", "kid": "okp"},
        show_key(rsa, "good", alg="PS512"),
        show_key(make_key("k2"), "good"),
        show_key(elliptic, "elliptic", key_ops=["verify"]),
    ]
    keys = parse_key_set(orjson.dumps({"keys": listed}))
    assert {name: key.algorithms for name, key in keys.items()} == {
        "good": {"PS512"},
        "elliptic": {"ES256"},
    }


def test_private_members_are_not_looked_at() -> None:
    from jwt.algorithms import RSAAlgorithm

    shown = {**RSAAlgorithm.to_jwk(make_key("k1"), as_dict=True), "kid": "k1", "key_ops": ["sign", "verify"]}
    assert "d" in shown
    (key,) = parse_key_set(orjson.dumps({"keys": [shown]})).values()
    assert not hasattr(key.key, "private_numbers")
    assert key == KEYS["k1"]


@pytest.mark.parametrize(
    ("document", "problem"),
    [
        (b"", "not JSON"),
        (b"<html>", "not JSON"),
        (b"[]", "no list"),
        (b'{"keys":{}}', "no list"),
        (b'{"keys":[]}', "no key"),
        (b'{"keys":[{"kty":"oct","kid":"a","k":"AAAA"}]}', "no key"),
        (b'{"keys":[' + b",".join([b"{}"] * 101) + b"]}", "more than 100"),
    ],
)
def test_what_is_no_key_set_is_told(document: bytes, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        parse_key_set(document)


@relaxed
@given(st.lists(st.dictionaries(st.sampled_from(["kty", "kid", "n", "e", "crv", "x", "y", "alg", "use"]), JSON)))
def test_whatever_an_issuer_says_its_keys_are(listed: list[Any]) -> None:
    for kind in ("RSA", "EC"):
        try:
            parse_key_set(json.dumps({"keys": [{"kid": "a", **entry, "kty": kind} for entry in listed]}).encode())
        except ValueError:
            pass


def test_curves_are_tested_with_all_there_are() -> None:
    assert set(CURVES) == {"P-256", "P-384", "P-521"}


def test_the_reason_is_for_the_operator(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    with pytest.raises(Unauthorized):
        decide(sign(ACCESS | {"client_id": "app3"}), build_cognito())
    assert f"a token of {POOL_ISSUER} is not good: its client id is none that is let in" in caplog.text
    assert "app3" not in caplog.text
    assert HEAD not in caplog.text


def test_pools_name_their_issuer() -> None:
    assert build_cognito().issuer == POOL_ISSUER
    china = build_cognito(user_pool_id="cn-north-1_Ab")
    assert china.issuer == "https://cognito-idp.cn-north-1.amazonaws.com.cn/cn-north-1_Ab"
    assert build_cognito(user_pool_id="local", issuer="http://localhost/local").issuer == "http://localhost/local"


def test_what_cannot_be_used_is_told() -> None:
    with pytest.raises(ConfigurationError, match=r"cognito local: user_pool_id has to be like eu-west-1_"):
        build_cognito(user_pool_id="local")
    with pytest.raises(ConfigurationError, match=f"cognito {POOL}: app_id_client_regex: not a regular expression"):
        build_cognito(app_id_client_regex="(")
    with pytest.raises(ConfigurationError, match="client_id: not a regular expression"):
        build_oidc(client_id="*")
