"""Signs requests to data sources with AWS Signature Version 4. Pure.

Source: the AWS documentation of SigV4 ("Create a signed AWS API request"). The canonical form is that of
`fanout.auth.signatures`, which verifies what clients sign; here is what a signer adds to it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from hashlib import sha256
from typing import Final
from urllib.parse import unquote

from fanout.auth.signatures import ALGORITHM, canonicalize, sign
from fanout.resolver_settings import SigningSettings

# S3 takes a path as it is; all other services want what is encoded to be encoded once more.
_S3: Final = ("s3", "s3-object-lambda", "s3express")
# `authorization` is replaced; the others are about the way, and proxies on it may change them.
_NOT_SIGNED: Final = frozenset(("authorization", "user-agent", "accept-encoding", "content-length"))


class RequestSigner:
    """Signs with one pair of credentials for one service in one region.

    Args:
        settings: the three.
        now: seconds since 1970.
    """

    def __init__(self, settings: SigningSettings, now: Callable[[], float]) -> None:
        self._settings = settings
        self._secret = settings.secret_access_key.get_secret_value().encode()
        self._token = settings.session_token.get_secret_value() if settings.session_token else ""
        self._now = now

    def sign(self, method: str, target: str, headers: Mapping[str, str], body: bytes) -> dict[str, str]:
        """The headers to add to a request.

        Args:
            method: of HTTP.
            target: path and query as they are sent, percent-encoded; each parameter as `name=value`.
            headers: all others that are sent, `host` among them; names in lower case. Those are signed that are
                not only about the way.
            body: as it is sent.
        """
        settings = self._settings
        timestamp = datetime.fromtimestamp(self._now(), UTC).strftime("%Y%m%dT%H%M%SZ")
        scope = f"{timestamp[:8]}/{settings.region}/{settings.service}/aws4_request"
        digest = sha256(body).hexdigest()
        added = {"x-amz-date": timestamp}
        if self._token:
            added["x-amz-security-token"] = self._token
        is_s3 = settings.service in _S3
        if is_s3:
            added["x-amz-content-sha256"] = digest
        signed = {name: value for name, value in headers.items() if name not in _NOT_SIGNED} | added
        names = sorted(signed)
        path, _, query = target.partition("?")
        pairs = sorted(pair.partition("=")[::2] for pair in query.split("&")) if query else []
        canonical = canonicalize(
            method,
            unquote(path) if is_s3 else path,
            "&".join(f"{name}={value}" for name, value in pairs),
            signed,
            names,
            digest,
        )
        signature = sign(self._secret, timestamp, scope, canonical)
        added["authorization"] = (
            f"{ALGORITHM} Credential={settings.access_key_id}/{scope}, "
            f"SignedHeaders={';'.join(names)}, Signature={signature}"
        )
        return added
