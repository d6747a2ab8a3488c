"""From settings to the providers of all authorization modes but API keys, in the order in which they are asked."""

from __future__ import annotations

from collections.abc import Callable

import httpx

from fanout.auth import CognitoRules, IamProvider, OidcRules, Provider
from fanout.errors import ConfigurationError
from fanout.model import AuthMode
from fanout.settings import Settings
from fanout.trust.key_sets import KeySets
from fanout.trust.lambda_authorizer import ReadAddress, build_lambda_authorizer, read_peer
from fanout.trust.token_provider import Issuer, TokenProvider


def build_providers(
    settings: Settings,
    http: httpx.AsyncClient,
    now: Callable[[], float],
    key_sets: KeySets | None = None,
    read_address: ReadAddress = read_peer,
) -> list[Provider]:
    """What is configured: signatures first, then issuers, an authorizer function last.

    Args:
        settings: `iam`, `cognito`, `oidc`, `lambda_authorizer`.
        http: for what has to be fetched; closed by whoever made it.
        now: seconds since 1970.
        key_sets: of issuers; those of a reload are the former ones.
        read_address: where calls come from, which an authorizer function's calls are shared out by.

    Raises:
        ConfigurationError: a setting that cannot be used; nothing is fetched yet.
    """
    providers: list[Provider] = []
    if settings.iam is not None:
        providers.append(IamProvider(settings.iam, now))
    providers += _build_token_providers(settings, key_sets or KeySets(http), now)
    if settings.lambda_authorizer is not None:
        providers.append(build_lambda_authorizer(settings.lambda_authorizer, http, read_address))
    return providers


def _build_token_providers(settings: Settings, key_sets: KeySets, now: Callable[[], float]) -> list[Provider]:
    """Pools, then issuers."""
    pools = []
    for pool in settings.cognito:
        rules = CognitoRules(pool)
        keys_url = pool.jwks_url or rules.issuer.rstrip("/") + "/.well-known/jwks.json"
        pools.append(Issuer(rules, key_sets.open(rules.issuer, keys_url)))
    issuers = [Issuer(OidcRules(issuer), key_sets.open(issuer.issuer, issuer.jwks_url)) for issuer in settings.oidc]
    cognito, oidc = TokenProvider(AuthMode.COGNITO, pools, now), TokenProvider(AuthMode.OIDC, issuers, now)
    twice = cognito.issuer_names & oidc.issuer_names
    if twice:
        raise ConfigurationError(f"{min(twice)} is the issuer of a [[cognito]] and of an [[oidc]] table, leave one out")
    return [provider for provider in (cognito, oidc) if provider.issuer_names]
