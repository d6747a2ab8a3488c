"""The room of decisions about identity, pure: who is asking, and which fields they may use.

No I/O, no asyncio; the clock is passed in. What has to be fetched to decide (key sets of issuers, answers of an
authorizer function) is fetched by `fanout.trust`.
"""

from __future__ import annotations

from fanout.auth.api_keys import ApiKeys, digest_key, generate_key, name_digest
from fanout.auth.authorizer import Authorizer, Decision, Provider
from fanout.auth.fields import FieldRules, Modes, list_warnings, read_modes
from fanout.auth.iam import IamProvider
from fanout.auth.names import ISSUER_END, is_identity_name, shorten_subject
from fanout.auth.refusals import Refusals
from fanout.auth.tokens import (
    AUTHORIZATION_HEADER,
    CognitoRules,
    OidcRules,
    PublicKey,
    Token,
    TokenRules,
    parse_key_set,
    read_token,
    refuse,
    strip_bearer,
    verify,
)

__all__ = [
    "AUTHORIZATION_HEADER",
    "ISSUER_END",
    "ApiKeys",
    "Authorizer",
    "CognitoRules",
    "Decision",
    "FieldRules",
    "IamProvider",
    "Modes",
    "OidcRules",
    "Provider",
    "PublicKey",
    "Refusals",
    "Token",
    "TokenRules",
    "digest_key",
    "generate_key",
    "is_identity_name",
    "list_warnings",
    "name_digest",
    "parse_key_set",
    "read_modes",
    "read_token",
    "refuse",
    "shorten_subject",
    "strip_bearer",
    "verify",
]
