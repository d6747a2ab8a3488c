"""AWS Signature Version 4: whether a call was signed with credentials that we know. Pure.

Sources: the AWS documentation of SigV4 ("Create a signed AWS API request"), and the AppSync guide's page
"real-time-websocket-client" for what a signature of a connection and of a subscription covers. May not know: who the
holder of the credentials is, or what they may do.

A signature is bound to a moment, not to one use: whoever has seen a signed call can send the same call again until the
clock skew is over. So it is with AppSync; docs/authorization.md tells operators.
"""

from __future__ import annotations

import hmac
import re
import secrets
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from urllib.parse import quote, unquote_to_bytes

from fanout.model import Call, CallKind

ALGORITHM = "AWS4-HMAC-SHA256"
SERVICE = "appsync"
_TERMINATION = "aws4_request"
_METHOD = "POST"  # of every call: AppSync's clients sign a connection and a subscription as if they posted them
_CONNECT_BODY = b"{}"
_DATE_HEADER = "x-amz-date"
_TOKEN_HEADER = "x-amz-security-token"  # noqa: S105 - a name
_ALWAYS_SIGNED = frozenset({"host", _DATE_HEADER})

# Amplify's and botocore's are about 350 characters long; each signed name makes work.
_LONGEST_AUTHORIZATION = 4096
_PARAMETERS = {"Credential", "SignedHeaders", "Signature"}
# Names as in RFC 9110 section 5.6.2, in lower case.
_NAMES = re.compile(r"[!#$%&'*+.^_`|~0-9a-z-]+(?:;[!#$%&'*+.^_`|~0-9a-z-]+)*")
_SIGNATURE = re.compile(r"[0-9a-f]{64}")
# The basic format of ISO 8601, as all signers of today write it, and the extended one.
_TIME = re.compile(r"(\d{4})-?(\d\d)-?(\d\d)T(\d\d):?(\d\d):?(\d\d)(?:\.\d{1,9})?Z", re.ASCII)


class BadSignature(Exception):
    """Why a call is not accepted: for a log, never for who called. Holds no credential."""


@dataclass(frozen=True, slots=True, repr=False)
class Credentials:
    """What somebody signs with.

    Args:
        access_key_id: names them in each signature.
        secret: the secret access key.
        session_token: of temporary credentials; empty otherwise.
    """

    access_key_id: str
    secret: bytes
    session_token: bytes = b""


@dataclass(frozen=True, slots=True)
class Authorization:
    """The parts of an `Authorization` header.

    Args:
        access_key_id: of `Credential`, what stands before the scope.
        scope: the rest of it, `DATE/REGION/SERVICE/aws4_request`.
        signed_names: `SignedHeaders`, in order: sorted, none twice.
        signature: 64 hexadecimal digits.
    """

    access_key_id: str
    scope: str
    signed_names: tuple[str, ...]
    signature: str


class SignatureVerifier:
    """Verifies signatures of any of these credentials.

    Args:
        credentials: no access key twice.
        region: what a scope has to name.
        clock_skew_s: how far the time of a call may be from now, in seconds.
        path_prefix: what clients have in front of `/graphql` in their endpoint and a proxy takes off; they may sign
            with it or without.
        now: seconds since 1970.
    """

    __slots__ = ("_clock_skew_s", "_credentials", "_now", "_path_prefix", "_region", "_unknown")

    def __init__(
        self,
        credentials: Iterable[Credentials],
        region: str,
        clock_skew_s: float,
        path_prefix: str,
        now: Callable[[], float],
    ) -> None:
        self._credentials = {each.access_key_id: each for each in credentials}
        self._region = region
        self._clock_skew_s = clock_skew_s
        self._path_prefix = path_prefix
        self._now = now
        # An access key that nobody has takes as long as a wrong signature of one that somebody has.
        self._unknown = Credentials("", secrets.token_bytes(40))

    def verify(self, call: Call) -> str:
        """The access key that a call was signed with.

        Costs 23 us with a body of 200 bytes (`python -m tests.bench.measure_modules`), for the good and the bad.

        Raises:
            BadSignature: not signed, not with credentials that we know, not for this API, or not about now.
        """
        headers = call.headers
        authorization = parse_authorization(headers.get("authorization", ""))
        if not _ALWAYS_SIGNED.issubset(authorization.signed_names):
            raise BadSignature(f"{' and '.join(sorted(_ALWAYS_SIGNED))} have to be signed")
        for name in authorization.signed_names:
            if name not in headers:
                raise BadSignature("a signed header is not there")
        timestamp, instant = _read_time(headers[_DATE_HEADER])
        if authorization.scope != f"{timestamp[:8]}/{self._region}/{SERVICE}/{_TERMINATION}":
            raise BadSignature(f"the scope has to be the date of {_DATE_HEADER}/{self._region}/{SERVICE}/aws4_request")
        path, body = call.path, call.body
        rests_on_connection = _rests_on_connection(call)
        if call.kind is CallKind.CONNECT or rests_on_connection:
            path, body = f"{path}/connect", _CONNECT_BODY
        if abs(self._now() - instant) > self._clock_skew_s and not rests_on_connection:
            raise BadSignature(f"{_DATE_HEADER} is more than {self._clock_skew_s:g} s from the time here")

        known = self._credentials.get(authorization.access_key_id)
        credentials = known or self._unknown
        digest = sha256(body).hexdigest()
        is_good = False
        for candidate in self._list_paths(path):
            for query in _list_queries(call.query_string):
                canonical = canonicalize(_METHOD, candidate, query, headers, authorization.signed_names, digest)
                signature = sign(credentials.secret, timestamp, authorization.scope, canonical)
                is_good |= hmac.compare_digest(signature, authorization.signature)
        # Checked by who signs without, too: nobody is to learn by time whether a key is of temporary credentials.
        token = headers.get(_TOKEN_HEADER, "") if _TOKEN_HEADER in authorization.signed_names else ""
        has_token = hmac.compare_digest(token.encode("utf-8", "surrogatepass"), credentials.session_token)
        if known is None:
            raise BadSignature("nobody has this access key")
        if not is_good:
            raise BadSignature("the signature is of something else, or made with another secret")
        if credentials.session_token and not has_token:
            raise BadSignature(f"{_TOKEN_HEADER} is missing, not signed, or not the one of these credentials")
        return known.access_key_id

    def _list_paths(self, path: str) -> Sequence[str]:
        return (path, self._path_prefix + path) if self._path_prefix else (path,)


def is_signed(headers: Mapping[str, str]) -> bool:
    """Whether headers (names in lower case) hold a signature, good or bad, of this or another AWS algorithm."""
    return headers.get("authorization", "").startswith("AWS4-")


def parse_authorization(text: str) -> Authorization:
    """Read an `Authorization` header; its three parameters may come in any order, with spaces around commas.

    Raises:
        BadSignature: anything else, also what AWS would forgive.
    """
    algorithm, _, rest = text.partition(" ")
    if algorithm != ALGORITHM or len(text) > _LONGEST_AUTHORIZATION:
        raise BadSignature(f"authorization has to be {ALGORITHM} and {_LONGEST_AUTHORIZATION} characters at most")
    parts = [part.strip(" ").partition("=") for part in rest.split(",")]
    parameters = {name: value for name, _, value in parts}
    if len(parts) != len(_PARAMETERS) or parameters.keys() != _PARAMETERS:
        raise BadSignature("authorization has to have Credential, SignedHeaders and Signature, each once")
    access_key_id, _, scope = parameters["Credential"].partition("/")
    names = tuple(parameters["SignedHeaders"].split(";"))
    if _NAMES.fullmatch(parameters["SignedHeaders"]) is None or list(names) != sorted(set(names)):
        raise BadSignature("SignedHeaders have to be names in lower case, sorted, none twice")
    if _SIGNATURE.fullmatch(parameters["Signature"]) is None:
        raise BadSignature("Signature has to be 64 hexadecimal digits in lower case")
    return Authorization(access_key_id, scope, names, parameters["Signature"])


def canonicalize(
    method: str, path: str, query: str, headers: Mapping[str, str], signed_names: Sequence[str], body_digest: str
) -> bytes:
    """The canonical request: what the client and we have to have written alike.

    Args:
        method: of HTTP.
        path: as it stands in the request, percent-encoded; encoded once more, as all services but S3 want it.
        query: canonical, see `_list_queries`.
        headers: by lower-case name.
        signed_names: which of them are signed, sorted.
        body_digest: SHA-256 of the body in hexadecimal.
    """
    # Neither names nor values can bring a line of their own: names are tokens, and space of any kind is one blank.
    lines = [f"{name}:{' '.join(headers[name].split())}" for name in signed_names]
    text = "\n".join((method, quote(path, safe="/"), query, *lines, "", ";".join(signed_names), body_digest))
    return text.encode("utf-8", "surrogatepass")


def sign(secret: bytes, timestamp: str, scope: str, canonical: bytes) -> str:
    """The signature of a canonical request, 64 hexadecimal digits.

    Args:
        secret: the secret access key.
        timestamp: of the call, `20261121T153000Z`.
        scope: `DATE/REGION/SERVICE/aws4_request`.
        canonical: see `canonicalize`.
    """
    key = b"AWS4" + secret
    for part in scope.split("/"):
        key = hmac.digest(key, part.encode(), "sha256")
    text = f"{ALGORITHM}\n{timestamp}\n{scope}\n{sha256(canonical).hexdigest()}"
    return hmac.digest(key, text.encode(), "sha256").hex()


def _rests_on_connection(call: Call) -> bool:
    """Whether a subscription has nothing that could be signed: in all dialects but AppSync's.

    Its headers are then those that the connection was let in with, at a time that was right then.
    """
    return call.kind is CallKind.SUBSCRIBE and not call.body


def _read_time(text: str) -> tuple[str, float]:
    """The time as it stands in what is signed, and in seconds since 1970."""
    found = _TIME.fullmatch(text.strip())
    if found is not None:
        year, month, day, hour, minute, second = found.groups()
        try:
            instant = datetime(int(year), int(month), int(day), int(hour), int(minute), int(second), tzinfo=UTC)
        except ValueError:
            pass
        else:
            return f"{year}{month}{day}T{hour}{minute}{second}Z", instant.timestamp()
    raise BadSignature(f"{_DATE_HEADER} has to be a time like 20261121T153000Z")


def _list_queries(query_string: str) -> Iterator[str]:
    """Canonical forms of a query string: of its parameters as they are, and as they should have been encoded.

    botocore takes a URL's parameters for encoded; Amplify decodes them, as a form does, and encodes them.
    """
    pairs = [pair.partition("=") for pair in query_string.split("&")] if query_string else []
    plain = sorted((name, value) for name, _, value in pairs)
    yield _join_query(plain)
    encoded = sorted((_encode_again(name), _encode_again(value)) for name, value in plain)
    if encoded != plain:
        yield _join_query(encoded)


def _join_query(pairs: Iterable[tuple[str, str]]) -> str:
    return "&".join(f"{name}={value}" for name, value in pairs)


def _encode_again(text: str) -> str:
    return quote(unquote_to_bytes(text.replace("+", " ")), safe="")
