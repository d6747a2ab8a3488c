"""AWS_IAM: requests that are signed with configured credentials, and who is behind them. Pure.

Source of the identity's shape: AppSync guide, "Resolver context reference", `AppSyncIAMIdentity`. May not know: how a
signature is verified (`signatures`), or what is done with a policy.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from hashlib import sha256

from fanout.auth.policies import build_policy
from fanout.auth.signatures import BadSignature, Credentials, SignatureVerifier, is_signed
from fanout.auth_settings import IamSettings, IamUser
from fanout.errors import Unauthorized
from fanout.model import AuthMode, Call, FieldPolicy, Identity

logger = logging.getLogger("fanout.auth.iam")

# Per user; about 1 KB each. What is forgotten is made anew, equal but not the same.
_MOST_IDENTITIES = 1024
_LONGEST_KEPT_ADDRESSES = 512  # characters of all together; `X-Forwarded-For` is as long as its sender likes


@dataclass(frozen=True, slots=True)
class SignedIdentity(Identity):
    """An identity that knows which credentials it was decided by, without knowing them.

    Args:
        credentials_digest: SHA-256 of secret and session token.
    """

    credentials_digest: bytes = field(default=b"", repr=False)


class _User:
    """One user: what their identities have in common, and those that were made."""

    __slots__ = ("_account_id", "_identities", "_user_arn", "_username", "credentials", "digest", "policy", "subject")

    def __init__(self, settings: IamUser, where: str) -> None:
        secret = settings.secret_access_key.get_secret_value().encode()
        token = settings.session_token.get_secret_value().encode() if settings.session_token else b""
        self.subject = settings.access_key_id
        self.credentials = Credentials(self.subject, secret, token)
        self.digest = sha256(len(secret).to_bytes(8, "big") + secret + token).digest()
        self.policy: FieldPolicy | None = build_policy(settings.statements, where)
        self._account_id = settings.account_id
        self._username = settings.username or self.subject
        self._user_arn = settings.user_arn or f"arn:aws:iam::{settings.account_id}:user/{self._username}"
        self._identities: dict[tuple[str, ...], Identity] = {}

    def identify(self, addresses: tuple[str, ...]) -> Identity:
        """This user at these addresses: the same object again, as long as it is kept."""
        known = self._identities.get(addresses)
        if known is not None:
            return known
        identity = self.make_identity(addresses)
        if sum(map(len, addresses)) <= _LONGEST_KEPT_ADDRESSES:
            if len(self._identities) >= _MOST_IDENTITIES:
                del self._identities[next(iter(self._identities))]
            self._identities[addresses] = identity
        return identity

    def make_identity(self, addresses: tuple[str, ...]) -> Identity:
        claims = {
            "accountId": self._account_id,
            "cognitoIdentityPoolId": None,
            "cognitoIdentityId": None,
            "sourceIp": list(addresses),
            "username": self._username,
            "userArn": self._user_arn,
            "cognitoIdentityAuthType": None,
            "cognitoIdentityAuthProvider": None,
        }
        return SignedIdentity(AuthMode.IAM, claims, self.subject, policy=self.policy, credentials_digest=self.digest)


class IamProvider:
    """Decides by signatures (`fanout.auth.Provider`). Never waits, asks nobody.

    Args:
        settings: who may sign, and with what.
        now: seconds since 1970.

    Raises:
        ConfigurationError: a statement that is not understood.
    """

    mode = AuthMode.IAM
    __slots__ = ("_users", "_verifier")

    def __init__(self, settings: IamSettings, now: Callable[[], float]) -> None:
        users = [_User(user, f"iam.users {number}") for number, user in enumerate(settings.users, start=1)]
        self._users = {user.subject: user for user in users}
        self._verifier = SignatureVerifier(
            [user.credentials for user in users],
            settings.region,
            settings.clock_skew_seconds,
            settings.path_prefix,
            now,
        )

    def recognizes(self, call: Call) -> bool:
        """Whether the call is signed, in whatever way."""
        return is_signed(call.headers)

    def decide(self, call: Call) -> Identity:
        """Who has signed; the same object for the same user at the same addresses.

        Raises:
            Unauthorized: whatever is wrong; the log tells what, at level debug.
        """
        try:
            subject = self._verifier.verify(call)
        except BadSignature as bad:
            logger.debug("%s is refused: %s", call.kind.value, bad)
            raise Unauthorized from None
        return self._users[subject].identify(call.addresses)

    def holds(self, identity: Identity) -> bool:
        """Whether the user is still there with the same credentials, name and policy."""
        user = self._users.get(identity.subject)
        return user is not None and identity == user.make_identity(tuple(identity.claims["sourceIp"]))
