"""Tokens of issuers over HTTP: recognized, decided at once or later, remembered, and no longer good."""

from __future__ import annotations

import asyncio
import gc
import inspect
from typing import Any

import httpx
import pytest

from fanout.auth import Decision, OidcRules
from fanout.auth_settings import CognitoSettings, OidcSettings
from fanout.errors import ConfigurationError, Unauthorized, Unavailable
from fanout.model import AuthMode, Call, CallKind, Identity
from fanout.settings import Settings
from fanout.trust import KeySets, build_providers
from fanout.trust.key_sets import LIFESPAN_S
from fanout.trust.token_provider import Issuer as KnownIssuer
from fanout.trust.token_provider import TokenProvider
from tests.fanout.trust.conftest import Clock
from tests.issuer import Issuer, make_key, serve_issuer, sign

POOL = "eu-west-1_AbCdEfGhI"
POOL_ISSUER = f"https://cognito-idp.eu-west-1.amazonaws.com/{POOL}"


def describe(token: str, *addresses: str) -> Call:
    return Call(CallKind.CONNECT, {"authorization": token}, addresses=addresses or ("10.0.0.1",))


class Scene:
    """One issuer and one pool, both with the keys of the served issuer."""

    def __init__(self, issuer: Issuer, clock: Clock, http: httpx.AsyncClient, key_sets: KeySets) -> None:
        self.issuer, self.clock, self._http, self._key_sets = issuer, clock, http, key_sets
        self.cognito, self.oidc = self.build()

    def build(self, pool: dict[str, Any] | None = None, oidc: dict[str, Any] | None = None) -> list[TokenProvider]:
        """The providers of a configuration; as after a reload."""
        keys_url = f"{self.issuer.url}/.well-known/jwks.json"
        settings = Settings(
            cognito=(CognitoSettings(**{"user_pool_id": POOL, "jwks_url": keys_url, **(pool or {})}),),
            oidc=(OidcSettings(**{"issuer": self.issuer.url, **(oidc or {})}),),
        )
        providers = build_providers(settings, self._http, self.clock, self._key_sets)
        assert all(isinstance(provider, TokenProvider) for provider in providers)
        return providers  # type: ignore[return-value]

    def sign_oidc(self, **claims: Any) -> str:
        now = int(self.clock.now)
        usual = {"iss": self.issuer.url, "sub": "u-2", "aud": "web", "iat": now, "exp": now + 3600}
        return sign({**usual, **claims})

    def sign_access(self, **claims: Any) -> str:
        now = int(self.clock.now)
        usual = {"iss": POOL_ISSUER, "sub": "u-1", "client_id": "app", "token_use": "access", "username": "ada"}
        return sign({**usual, "iat": now, "exp": now + 3600, "cognito:groups": ["staff"], **claims})


@pytest.fixture
def scene(issuer: Issuer, clock: Clock, http: httpx.AsyncClient, key_sets: KeySets) -> Scene:
    return Scene(issuer, clock, http, key_sets)


async def wait_for(decision: Decision) -> Identity:
    assert inspect.isawaitable(decision)
    return await asyncio.wait_for(asyncio.ensure_future(decision), 20)


async def test_the_first_waits_for_keys_and_all_others_are_decided_at_once(scene: Scene) -> None:
    call = describe(scene.sign_oidc())
    identity = await wait_for(scene.oidc.decide(call))
    assert identity.subject == f"{scene.issuer.url}|u-2"
    assert scene.oidc.decide(call) is identity
    another = scene.oidc.decide(describe("Bearer " + scene.sign_oidc(sub="u-3")))
    assert isinstance(another, Identity)
    assert another.subject == f"{scene.issuer.url}|u-3"
    assert len(scene.issuer.requests) == 2


async def test_calls_that_wait_together_get_the_same_identity(scene: Scene) -> None:
    call = describe(scene.sign_oidc())
    scene.issuer.may_answer.clear()
    waiting = [asyncio.ensure_future(wait_for(scene.oidc.decide(call))) for _ in range(5)]
    scene.issuer.may_answer.set()
    first, *others = await asyncio.gather(*waiting)
    assert all(other is first for other in others)


async def test_where_a_pool_s_user_comes_from_is_part_of_the_identity(scene: Scene) -> None:
    token = scene.sign_access()
    identity = await wait_for(scene.cognito.decide(describe(token, "192.0.2.1", "10.0.0.1")))
    assert identity.claims["sourceIp"] == ["192.0.2.1", "10.0.0.1"]
    elsewhere = scene.cognito.decide(describe(token, "192.0.2.2"))
    assert isinstance(elsewhere, Identity)
    assert elsewhere.claims["sourceIp"] == ["192.0.2.2"]
    assert scene.cognito.decide(describe(token, "192.0.2.1", "10.0.0.1")) is identity


async def test_whose_tokens_are_recognized(scene: Scene) -> None:
    access, oidc = scene.sign_access(), scene.sign_oidc()
    for token, is_cognito, is_oidc in (
        (access, True, False),
        (oidc, False, True),
        ("Bearer " + oidc, False, True),
        (oidc[:-10], False, True),  # not good, but of this issuer: no authorizer function is asked about it
        (scene.sign_oidc(exp=0), False, True),
        (scene.sign_oidc(iss=scene.issuer.url + "/"), False, True),
        (scene.sign_oidc(iss="https://elsewhere.example.com"), False, False),
        ("prefix-" + oidc, False, False),
        ("secret", False, False),
        ("", False, False),
    ):
        call = describe(token)
        assert (scene.cognito.recognizes(call), scene.oidc.recognizes(call)) == (is_cognito, is_oidc), token
    assert not scene.oidc.recognizes(Call(CallKind.HTTP, {}))
    await wait_for(scene.oidc.decide(describe(oidc)))
    assert scene.oidc.recognizes(describe(oidc))
    assert not scene.cognito.recognizes(describe(oidc))


async def test_an_end_is_an_end_although_it_is_remembered(scene: Scene) -> None:
    call = describe(scene.sign_oidc(exp=int(scene.clock.now) + 10))
    await wait_for(scene.oidc.decide(call))
    scene.clock.now += 9.9
    assert isinstance(scene.oidc.decide(call), Identity)
    scene.clock.now += 0.1
    with pytest.raises(Unauthorized):
        scene.oidc.decide(call)
    with pytest.raises(Unauthorized):
        scene.oidc.decide(call)


@pytest.mark.parametrize("headers", [{"kid": ""}, {"alg": "none"}])
async def test_what_could_never_be_good_asks_nobody(scene: Scene, headers: dict[str, str]) -> None:
    algorithm = headers.pop("alg", "RS256")
    key = None if algorithm == "RS256" else ""
    claims = {"iss": scene.issuer.url, "sub": "a", "exp": int(scene.clock.now) + 10}
    import jwt

    token = jwt.encode(claims, key if key is not None else make_key("k1"), algorithm, headers)
    with pytest.raises(Unauthorized):
        scene.oidc.decide(describe(token))
    with pytest.raises(Unauthorized):
        scene.oidc.decide(describe("no token"))
    assert scene.issuer.requests == []


async def test_bad_tokens_are_not_remembered_and_good_ones_go_on(scene: Scene) -> None:
    good = scene.sign_oidc()
    identity = await wait_for(scene.oidc.decide(describe(good)))
    for bad in (good[:-10], scene.sign_oidc(exp=0), sign({"iss": scene.issuer.url}, make_key("k9"))):
        with pytest.raises(Unauthorized):
            scene.oidc.decide(describe(bad))
    assert scene.oidc.decide(describe(good)) is identity


async def test_a_key_that_was_taken_out_is_not_good_any_more(scene: Scene) -> None:
    call = describe(scene.sign_oidc())
    await wait_for(scene.oidc.decide(call))
    scene.issuer.keys = {"k2": make_key("k2")}
    scene.clock.now += LIFESPAN_S
    with pytest.raises(Unauthorized):
        await wait_for(scene.oidc.decide(call))


async def test_a_key_that_was_replaced_under_its_name_is_not_good_any_more(scene: Scene) -> None:
    call = describe(scene.sign_oidc())
    await wait_for(scene.oidc.decide(call))
    scene.issuer.keys = {"k1": make_key("k2")}
    scene.clock.now += LIFESPAN_S
    for _ in range(2):
        with pytest.raises(Unauthorized):
            await wait_for(scene.oidc.decide(call))


async def test_the_same_keys_again_change_nothing(scene: Scene) -> None:
    call = describe(scene.sign_oidc())
    identity = await wait_for(scene.oidc.decide(call))
    scene.issuer.keys["k2"] = make_key("k2")
    scene.clock.now += LIFESPAN_S
    assert await wait_for(scene.oidc.decide(call)) is identity
    turned = sign({"iss": scene.issuer.url, "sub": "u", "iat": 1, "exp": scene.clock.now + 9}, make_key("k2"), "k2")
    assert isinstance(scene.oidc.decide(describe(turned)), Identity)


async def test_nobody_knows_while_the_issuer_was_never_reached(scene: Scene) -> None:
    scene.issuer.replace_answer("/.well-known/openid-configuration", b"", 503)
    with pytest.raises(Unavailable):
        await wait_for(scene.oidc.decide(describe(scene.sign_oidc())))
    # Another issuer is no concern of that.
    assert (await wait_for(scene.cognito.decide(describe(scene.sign_access())))).groups == {"staff"}


async def test_a_token_is_not_kept(scene: Scene) -> None:
    token = scene.sign_access(sub="somebody to find")
    await wait_for(scene.cognito.decide(describe(token)))
    gc.collect()
    assert not [
        held
        for cache in gc.get_objects()
        if isinstance(cache, dict)
        for held in cache
        if type(held) is str and held == token
    ]


@pytest.mark.parametrize(
    ("pool", "oidc", "held"),
    [
        ({}, {}, (True, True)),
        ({"app_id_client_regex": "app"}, {"client_id": "web"}, (True, True)),
        ({"app_id_client_regex": "other"}, {"client_id": "other"}, (False, False)),
        ({"default_action": "ALLOW"}, {"iat_ttl_ms": 7_200_000}, (True, True)),
        ({"user_pool_id": "eu-west-1_Another"}, {"iat_ttl_ms": 60_000}, (False, False)),
        ({}, {"auth_ttl_ms": 60_000}, (True, False)),
        ({}, {"issuer": "https://elsewhere.example.com"}, (True, False)),
    ],
)
async def test_what_a_reload_leaves_in_force(
    scene: Scene, pool: dict[str, Any], oidc: dict[str, Any], held: tuple[bool, bool]
) -> None:
    user = await wait_for(scene.cognito.decide(describe(scene.sign_access())))
    other = await wait_for(scene.oidc.decide(describe(scene.sign_oidc())))
    asked = len(scene.issuer.requests)
    scene.cognito, scene.oidc = scene.build(pool, oidc)
    assert (scene.cognito.holds(user), scene.oidc.holds(other)) == held
    if held == (True, True):
        # The keys that were fetched outlive the reload too.
        assert isinstance(scene.oidc.decide(describe(scene.sign_oidc(sub="new"))), Identity)
        assert len(scene.issuer.requests) == asked


async def test_a_longer_life_ends_nobody(scene: Scene) -> None:
    (_, oidc) = scene.build(oidc={"iat_ttl_ms": 60_000})
    identity = await wait_for(oidc.decide(describe(scene.sign_oidc())))
    assert identity.expires_at == scene.clock.now + 60
    assert scene.oidc.holds(identity)
    scene.clock.now += 3600
    assert not scene.oidc.holds(identity)


async def test_a_default_action_that_changed_is_another_identity(scene: Scene, http: httpx.AsyncClient) -> None:
    identity = await wait_for(scene.cognito.decide(describe(scene.sign_access())))
    pool = CognitoSettings(user_pool_id=POOL, default_action="DENY")
    settings = Settings(cognito=(pool,), auth_mode=AuthMode.COGNITO)
    (denying,) = build_providers(settings, http, scene.clock)
    assert not denying.holds(identity)


async def test_several_issuers_of_one_mode(scene: Scene, http: httpx.AsyncClient) -> None:
    with serve_issuer() as second:
        second.keys = {"k1": make_key("second")}
        settings = Settings(
            oidc=(OidcSettings(issuer=scene.issuer.url), OidcSettings(issuer=second.url, client_id="mobile"))
        )
        (provider,) = build_providers(settings, http, scene.clock)
        first_claims = {"iss": scene.issuer.url, "sub": "a", "iat": 1, "exp": scene.clock.now + 9}
        second_claims = {**first_claims, "iss": second.url, "aud": "mobile"}
        for claims, name in ((first_claims, "k1"), (second_claims, "second")):
            assert await wait_for(provider.decide(describe(sign(claims, make_key(name)))))
        # No issuer speaks for another, and rules are each one's own.
        for claims, name in (
            (first_claims, "second"),
            (second_claims, "k1"),
            ({**second_claims, "aud": "web"}, "second"),
        ):
            with pytest.raises(Unauthorized):
                provider.decide(describe(sign(claims, make_key(name))))


def test_an_issuer_is_configured_once(http: httpx.AsyncClient) -> None:
    issuers = [
        KnownIssuer(OidcRules(OidcSettings(issuer=url)), KeySets(http).open(url, None))
        for url in ("https://login.example.com", "https://login.example.com/")
    ]
    with pytest.raises(ConfigurationError, match="configured twice"):
        TokenProvider(AuthMode.OIDC, issuers, lambda: 0.0)
