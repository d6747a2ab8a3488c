"""Tokens of Cognito user pools and OpenID Connect issuers: how one reads, whose signature it is, what it has to say.

Pure: the keys are given and the clock is passed in; `fanout.trust` fetches key sets and remembers what was verified.
May not know: where keys come from, or which fields an identity may use.

Of JSON Web Tokens (RFC 7515, 7517, 7518, 7519) only signatures with public keys are taken: RS, PS and ES with 256, 384
and 512, each only by a key of its own kind. HS is never taken from a public key set (the "public key as a secret"
trick), and `none` never. Which claims count is AppSync's (guide "Configuring authorization and authentication").
"""

from __future__ import annotations

import base64
import binascii
import functools
import hashlib
import logging
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import orjson

from fanout.auth_settings import CognitoSettings, OidcSettings
from fanout.errors import ConfigurationError, Unauthorized
from fanout.model import AuthMode, Identity

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
    from jwt.algorithms import Algorithm

logger = logging.getLogger("fanout.auth")

AUTHORIZATION_HEADER = "authorization"
_LEEWAY_S = 10.0
"""How far an issuer's clock may be ahead of ours. An end (`exp`) has none: who is let in would be closed at once."""
_MAX_TOKEN_LENGTH = 16 * 1024
_MAX_KEYS = 100
_RSA_BITS = range(2048, 8193)  # RFC 7518 section 3.3; above, each verification would take milliseconds
_TOKEN = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*")
_BEARER = re.compile(r"bearer +", re.IGNORECASE)
_POOL = re.compile(r"([a-z]{2}(?:-[a-z0-9]+)+)_[A-Za-z0-9]+")

_RSA_ALGORITHMS = frozenset({"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"})
_EC_ALGORITHMS = {"P-256": "ES256", "P-384": "ES384", "P-521": "ES512"}
_ALGORITHMS = _RSA_ALGORITHMS | set(_EC_ALGORITHMS.values())


@dataclass(frozen=True, slots=True)
class Token:
    """A token as it reads; nothing that it says is believed yet.

    Args:
        algorithm: `alg`; empty where it is none that is ever taken.
        key_id: `kid`; empty without one.
        issuer: `iss`.
        claims: all of its payload.
        signed: the bytes that the signature is of.
        signature: as sent, decoded.
    """

    algorithm: str
    key_id: str
    issuer: str
    claims: Mapping[str, Any]
    signed: bytes
    signature: bytes


@dataclass(frozen=True, slots=True)
class PublicKey:
    """One key of an issuer. Equal to one of another fetch, if it is the same key for the same algorithms.

    Args:
        algorithms: by which signatures of it are taken.
        digest: of the key itself.
        key: for verifying.
    """

    algorithms: frozenset[str]
    digest: bytes
    key: RSAPublicKey | EllipticCurvePublicKey = field(compare=False, repr=False)


def strip_bearer(authorization: str) -> str:
    """The token in an `Authorization` header, which has `Bearer ` in front of it or not, as AppSync takes both."""
    match = _BEARER.match(authorization)
    return authorization[match.end() :] if match else authorization


def read_token(text: str) -> Token | None:
    """What a token says, not verified; None if this is no JSON Web Token that names an issuer. Costs about 10 us."""
    if len(text) > _MAX_TOKEN_LENGTH or _TOKEN.fullmatch(text) is None:
        return None
    signed, _, signature = text.rpartition(".")
    header_text, _, payload_text = signed.partition(".")
    try:
        header = orjson.loads(_decode(header_text))
        claims = orjson.loads(_decode(payload_text))
        signature_bytes = _decode(signature)
    except ValueError:  # of both, base64 and JSON
        return None
    if not isinstance(header, dict) or not isinstance(claims, dict) or not isinstance(claims.get("iss"), str):
        return None
    algorithm, key_id = header.get("alg"), header.get("kid")
    # What `crit` names has to be understood (RFC 7515 section 4.1.11), and nothing is.
    if not isinstance(algorithm, str) or algorithm not in _ALGORITHMS or "crit" in header:
        algorithm = ""
    return Token(
        algorithm=algorithm,
        key_id=key_id if isinstance(key_id, str) else "",
        issuer=claims["iss"],
        claims=claims,
        signed=signed.encode(),
        signature=signature_bytes,
    )


def parse_key_set(document: bytes) -> dict[str, PublicKey]:
    """The keys of a JWKS document (RFC 7517) that can verify signatures, by `kid`.

    Keys of other kinds and uses are left out, since an issuer may have such too: symmetric ones, for encryption,
    without `kid`, of unknown curves, RSA below 2048 bits. Of several with one `kid` the first counts.

    Raises:
        ValueError: not a key set, or nothing in it can be used; the text says which.
    """
    try:
        parsed = orjson.loads(document)
    except orjson.JSONDecodeError:
        raise ValueError("the key set is not JSON") from None
    listed = parsed.get("keys") if isinstance(parsed, dict) else None
    if not isinstance(listed, list):
        raise ValueError("the key set has no list of keys")
    if len(listed) > _MAX_KEYS:
        raise ValueError(f"the key set has more than {_MAX_KEYS} keys")
    keys: dict[str, PublicKey] = {}
    for entry in listed:
        key = _parse_key(entry) if isinstance(entry, dict) else None
        if key is not None:
            keys.setdefault(entry["kid"], key)
    if not keys:
        raise ValueError("the key set has no key that signatures could be verified with")
    return keys


def verify(token: Token, key: PublicKey | None) -> None:
    """Check that the key's owner has signed the token. Costs about 60 us for RS256.

    Raises:
        Unauthorized: no such key, not an algorithm of it, or another signature.
    """
    if key is None:
        raise refuse(token.issuer, "its kid names no key of the issuer")
    if token.algorithm not in key.algorithms:
        raise refuse(token.issuer, "its alg is none that its key is for")
    if not _load_algorithms()[token.algorithm].verify(token.signed, key.key, token.signature):
        raise refuse(token.issuer, "the signature is not of its key")


def refuse(issuer: str, reason: str) -> Unauthorized:
    """The one answer to all bad tokens; why it is one is for the operator, and names nothing of the token."""
    logger.debug("a token of %s is not good: %s", issuer, reason)
    return Unauthorized()


class TokenRules(Protocol):
    """What tokens of one issuer have to say."""

    @property
    def mode(self) -> AuthMode: ...

    @property
    def issuer(self) -> str: ...

    @property
    def tells_addresses(self) -> bool:
        """Whether where a call comes from is part of the identity."""
        ...

    def identify(self, claims: Mapping[str, Any], addresses: tuple[str, ...], now: float) -> Identity:
        """Who it is by claims that were verified to be the issuer's.

        Raises:
            Unauthorized: they are not what they have to be, or not now.
        """
        ...


class CognitoRules:
    """Tokens of one user pool, access or id.

    Raises:
        ConfigurationError: a pool id or regular expression that cannot be used.
    """

    mode = AuthMode.COGNITO
    tells_addresses = True

    def __init__(self, settings: CognitoSettings) -> None:
        _load_algorithms()
        self.issuer = settings.issuer or _name_pool_issuer(settings.user_pool_id)
        self._client_id = _compile(
            settings.app_id_client_regex, f"cognito {settings.user_pool_id}: app_id_client_regex"
        )
        self._default_action = settings.default_action

    def identify(self, claims: Mapping[str, Any], addresses: tuple[str, ...], now: float) -> Identity:
        """See `TokenRules`."""
        subject, expires_at = _check_usual(self.issuer, claims, now)
        match claims.get("token_use"):
            case "access":
                client_id, username = claims.get("client_id"), claims.get("username")
            case "id":
                client_id, username = claims.get("aud"), claims.get("cognito:username")
            case _:
                raise refuse(self.issuer, "token_use is neither access nor id")
        if not isinstance(client_id, str) or not _is_meant(self._client_id, client_id):
            raise refuse(self.issuer, "its client id is none that is let in")
        if not isinstance(username, str | None):
            raise refuse(self.issuer, "its user name is no text")
        groups = claims.get("cognito:groups")
        if groups is not None and not (isinstance(groups, list) and all(isinstance(group, str) for group in groups)):
            raise refuse(self.issuer, "cognito:groups is no list of names")
        shape = {
            "sub": subject,
            "issuer": self.issuer,
            "username": username,
            "claims": claims,
            "sourceIp": list(addresses),
            "groups": groups,
            "defaultAuthStrategy": self._default_action,
        }
        return Identity(self.mode, shape, _name_subject(self.issuer, subject), expires_at, frozenset(groups or ()))


class OidcRules:
    """Tokens of one OpenID Connect issuer.

    Raises:
        ConfigurationError: a regular expression that cannot be used.
    """

    mode = AuthMode.OIDC
    tells_addresses = False

    def __init__(self, settings: OidcSettings) -> None:
        _load_algorithms()
        self.issuer = settings.issuer
        self._client_id = _compile(settings.client_id, f"oidc {settings.issuer}: client_id")
        self._iat_ttl_s = settings.iat_ttl_ms / 1000 or math.inf
        self._auth_ttl_s = settings.auth_ttl_ms / 1000 or math.inf

    def identify(self, claims: Mapping[str, Any], addresses: tuple[str, ...], now: float) -> Identity:
        """See `TokenRules`; addresses are no part of this identity."""
        subject, expires_at = _check_usual(self.issuer, claims, now)
        issued_at = _read_instant(self.issuer, claims, "iat")
        if issued_at is None:
            raise refuse(self.issuer, "iat is missing")
        expires_at = min(expires_at, issued_at + self._iat_ttl_s)
        if self._auth_ttl_s != math.inf:
            authenticated_at = _read_instant(self.issuer, claims, "auth_time")
            if authenticated_at is None:
                raise refuse(self.issuer, "auth_time is missing, and auth_ttl_ms is set")
            expires_at = min(expires_at, authenticated_at + self._auth_ttl_s)
        if now >= expires_at:
            raise refuse(self.issuer, "iat_ttl_ms or auth_ttl_ms is over")
        if self._client_id is not None:
            audience = claims.get("aud")
            clients = [*(audience if isinstance(audience, list) else [audience]), claims.get("azp")]
            if not any(isinstance(client, str) and _is_meant(self._client_id, client) for client in clients):
                raise refuse(self.issuer, "neither aud nor azp is a client id that is let in")
        shape = {"sub": subject, "issuer": self.issuer, "claims": claims}
        return Identity(self.mode, shape, _name_subject(self.issuer, subject), expires_at)


@functools.cache
def _load_algorithms() -> Mapping[str, Algorithm]:
    """The cryptography: 10 MB and 0.2 s, so only where rules for tokens are made, and then before the first comes."""
    from jwt.algorithms import get_default_algorithms

    return {name: algorithm for name, algorithm in get_default_algorithms().items() if name in _ALGORITHMS}


def _check_usual(issuer: str, claims: Mapping[str, Any], now: float) -> tuple[str, float]:
    """What all tokens have to say about their time; returns `sub` and `exp`."""
    subject = claims.get("sub")
    if not isinstance(subject, str) or not subject:
        raise refuse(issuer, "sub is missing")
    expires_at = _read_instant(issuer, claims, "exp")
    if expires_at is None or now >= expires_at:
        raise refuse(issuer, "it has expired")
    for name in ("nbf", "iat"):
        begins_at = _read_instant(issuer, claims, name)
        if begins_at is not None and begins_at > now + _LEEWAY_S:
            raise refuse(issuer, f"{name} is in the future")
    return subject, expires_at


def _read_instant(issuer: str, claims: Mapping[str, Any], name: str) -> float | None:
    value = claims.get(name)
    if value is None:
        return None
    if not isinstance(value, int | float) or isinstance(value, bool) or not math.isfinite(value):
        raise refuse(issuer, f"{name} is no instant")
    return float(value)


def _name_subject(issuer: str, subject: str) -> str:
    return f"{issuer}|{subject}"


def _name_pool_issuer(user_pool_id: str) -> str:
    match = _POOL.fullmatch(user_pool_id)
    if match is None:
        raise ConfigurationError(
            f"cognito {user_pool_id}: user_pool_id has to be like eu-west-1_AbCdEfGhI; for a local substitute with "
            f"other ids give issuer and jwks_url"
        )
    domain = "amazonaws.com.cn" if match[1].startswith("cn-") else "amazonaws.com"
    return f"https://cognito-idp.{match[1]}.{domain}/{user_pool_id}"


def _compile(expression: str, where: str) -> re.Pattern[str] | None:
    try:
        return re.compile(expression) if expression else None
    except re.error as error:
        raise ConfigurationError(f"{where}: not a regular expression: {error}") from None


def _is_meant(expression: re.Pattern[str] | None, client_id: str) -> bool:
    return expression is None or expression.fullmatch(client_id) is not None


def _parse_key(entry: Mapping[str, Any]) -> PublicKey | None:
    key_id, algorithm = entry.get("kid"), entry.get("alg")
    operations = entry.get("key_ops", ["verify"])
    if not isinstance(key_id, str) or not key_id or entry.get("use", "sig") != "sig":
        return None
    if not isinstance(operations, list) or "verify" not in operations:
        return None
    from jwt.algorithms import ECAlgorithm, RSAAlgorithm
    from jwt.exceptions import InvalidKeyError

    # Only the public members: an issuer that shows a private key by mistake is not to give us one.
    try:
        match entry.get("kty"):
            case "RSA":
                members = {name: entry[name] for name in ("kty", "n", "e")}
                key: Any = RSAAlgorithm.from_jwk(members)
                algorithms = _RSA_ALGORITHMS if key.key_size in _RSA_BITS else frozenset[str]()
            case "EC":
                members = {name: entry[name] for name in ("kty", "crv", "x", "y")}
                key = ECAlgorithm.from_jwk(members)
                algorithms = frozenset({_EC_ALGORITHMS[members["crv"]]})
            case _:
                return None
    except (KeyError, TypeError, AttributeError, ValueError, OverflowError, InvalidKeyError):
        return None  # what is not a key is no key of ours
    if algorithm is not None:
        algorithms &= {algorithm} if isinstance(algorithm, str) else set()
    digest = hashlib.sha256(orjson.dumps(members, option=orjson.OPT_SORT_KEYS)).digest()
    return PublicKey(algorithms, digest, key) if algorithms else None


def _decode(text: str) -> bytes:
    """Base64url without padding, of characters that were checked (RFC 7515 section 2)."""
    try:
        return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except binascii.Error:
        raise ValueError("not base64url") from None
