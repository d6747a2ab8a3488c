"""Key sets of issuers: found, fetched, kept for a while, and fetched anew when they turn.

May not know: what a token has to say. One flight per issuer, however many wait for it:

    set is fresh, key is in it         at once; past 4/5 of its life it is fetched anew meanwhile
    set is fresh, key is not in it     fetched anew, at most every 30 s; otherwise there is no such key
    set is older than 300 s            fetched anew
    the issuer does not answer         the last good set counts, at once; it is asked again every 5 s
    it never did                       Unavailable
"""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from urllib.parse import urlsplit
from weakref import WeakValueDictionary

import httpx
import orjson

from fanout.auth import PublicKey, parse_key_set
from fanout.errors import ConfigurationError, Unavailable

logger = logging.getLogger("fanout.trust")

LIFESPAN_S = 300.0
_REFRESH_AHEAD_S = 240.0
UNKNOWN_KEY_PAUSE_S = 30.0
FAILURE_PAUSE_S = 5.0
TIMEOUT_S = 5.0
_MAX_BYTES = 256 * 1024
_DISCOVERY_PATH = "/.well-known/openid-configuration"

Found = PublicKey | None | Awaitable[PublicKey | None]
"""A key, or none by that id; or the same later. Awaiting it raises Unavailable."""


class KeySets:
    """All key sets that this process uses. They outlive a reload of the configuration.

    Args:
        http: fetches; closed by whoever made it.
        clock: seconds that only grow.
        timeout_s: of discovery document and key set together, whatever the issuer does.
    """

    def __init__(
        self, http: httpx.AsyncClient, clock: Callable[[], float] = time.monotonic, timeout_s: float = TIMEOUT_S
    ) -> None:
        self._http = http
        self._clock = clock
        self._timeout_s = timeout_s
        # Those of issuers that are configured no more go with the last provider that used them.
        self._sets: WeakValueDictionary[tuple[str, str | None], KeySet] = WeakValueDictionary()

    def open(self, issuer: str, jwks_url: str | None) -> KeySet:
        """The key set of an issuer; nothing is fetched yet.

        Args:
            issuer: its URL; without `jwks_url` its discovery document is asked for where the keys are.
            jwks_url: where they are.

        Raises:
            ConfigurationError: neither https nor http on loopback.
        """
        url = jwks_url or issuer
        if not is_trustworthy(url):
            raise ConfigurationError(
                f"{url}: keys are fetched by https only, or by http from loopback: give such a URL as jwks_url"
            )
        key_set = self._sets.get((issuer, jwks_url))
        if key_set is None:
            key_set = self._sets[issuer, jwks_url] = KeySet(self._http, issuer, jwks_url, self._clock, self._timeout_s)
        return key_set

    async def close(self) -> None:
        """End what is under way."""
        await asyncio.gather(*(key_set.close() for key_set in list(self._sets.values())))


class KeySet:
    """The keys of one issuer. See `KeySets.open`, which makes it."""

    def __init__(
        self,
        http: httpx.AsyncClient,
        issuer: str,
        jwks_url: str | None,
        clock: Callable[[], float],
        timeout_s: float,
    ) -> None:
        self._http = http
        self._issuer = issuer
        self._jwks_url = jwks_url
        self._clock = clock
        self._timeout_s = timeout_s
        self._keys: Mapping[str, PublicKey] | None = None
        self._fetched_at = 0.0
        self._failed_at: float | None = None  # of the last fetch, if it failed
        self._failure = ""
        self._sought_unknown_at: float | None = None
        self._fetching: asyncio.Task[None] | None = None

    def find(self, key_id: str) -> Found:
        """The key by its `kid`: at once where nothing has to be asked."""
        now = self._clock()
        keys = self._keys
        may_try = self._failed_at is None or now - self._failed_at >= FAILURE_PAUSE_S
        if keys is None:
            return self._find_later(key_id, may_try)
        age = now - self._fetched_at
        key = keys.get(key_id)
        if key is not None:
            if age >= LIFESPAN_S and self._failed_at is None:
                return self._find_later(key_id, True)
            if age >= _REFRESH_AHEAD_S and may_try:
                self._fetch()
            return key
        if self._fetching is not None:
            return self._find_later(key_id, False)
        sought_at = self._sought_unknown_at
        if not may_try or (sought_at is not None and now - sought_at < UNKNOWN_KEY_PAUSE_S):
            return None
        self._sought_unknown_at = now
        return self._find_later(key_id, True)

    async def close(self) -> None:
        """End a fetch that is under way."""
        if self._fetching is not None:
            self._fetching.cancel()
            await asyncio.gather(self._fetching, return_exceptions=True)

    def _find_later(self, key_id: str, may_fetch: bool) -> Awaitable[PublicKey | None]:
        if may_fetch:
            self._fetch()
        return self._wait(self._fetching, key_id)

    async def _wait(self, fetching: asyncio.Task[None] | None, key_id: str) -> PublicKey | None:
        if fetching is not None:
            await asyncio.shield(fetching)  # others wait for it too
        if self._keys is None:
            raise Unavailable(f"the keys of {self._issuer} cannot be fetched")
        return self._keys.get(key_id)

    def _fetch(self) -> None:
        if self._fetching is None:
            self._fetching = asyncio.get_running_loop().create_task(self._fetch_now())

    async def _fetch_now(self) -> None:
        try:
            async with asyncio.timeout(self._timeout_s):
                keys = await self._fetch_keys()
        except (httpx.HTTPError, httpx.InvalidURL, TimeoutError, ValueError) as error:
            self._note_failure(self._describe(error))
        except Exception as error:
            logger.exception("the keys of %s could not be fetched: internal error", self._issuer)
            self._note_failure(type(error).__name__)
        else:
            if self._failed_at is not None:
                logger.info("the keys of %s are fetched again", self._issuer)
            self._keys, self._fetched_at, self._failed_at = keys, self._clock(), None
        finally:
            self._fetching = None

    def _note_failure(self, reason: str) -> None:
        if self._failed_at is None or reason != self._failure:
            consequence = "nobody can come in by them" if self._keys is None else "those fetched before stay in force"
            logger.warning("the keys of %s cannot be fetched: %s; %s", self._issuer, reason, consequence)
        self._failed_at, self._failure = self._clock(), reason

    def _describe(self, error: Exception) -> str:
        match error:
            case TimeoutError() | httpx.TimeoutException():
                return f"no answer within {self._timeout_s:g} s"
            case httpx.HTTPError():
                return f"{type(error).__name__} {error}".rstrip()
        return str(error)

    async def _fetch_keys(self) -> Mapping[str, PublicKey]:
        return parse_key_set(await self._get(self._jwks_url or await self._discover()))

    async def _discover(self) -> str:
        document = await self._get(self._issuer.rstrip("/") + _DISCOVERY_PATH)
        try:
            found = orjson.loads(document)
        except orjson.JSONDecodeError:
            raise ValueError("the discovery document is not JSON") from None
        issuer, url = (found.get(name) for name in ("issuer", "jwks_uri")) if isinstance(found, dict) else (None, None)
        # OpenID Connect Discovery 1.0, section 4.3: else one issuer could speak for another.
        if not isinstance(issuer, str) or issuer.rstrip("/") != self._issuer.rstrip("/"):
            raise ValueError("the discovery document is another issuer's")
        if not isinstance(url, str) or not is_trustworthy(url):
            raise ValueError("the discovery document has no jwks_uri that is https, or http on loopback")
        return url

    async def _get(self, url: str) -> bytes:
        # Not compressed: a few bytes must not become many. Redirects are not followed.
        headers = {"accept": "application/json", "accept-encoding": "identity"}
        body = bytearray()
        async with self._http.stream(
            "GET", url, headers=headers, timeout=self._timeout_s, follow_redirects=False
        ) as answer:
            if answer.status_code != httpx.codes.OK:
                raise ValueError(f"{url} answers {answer.status_code}")
            if answer.headers.get("content-encoding", "identity") != "identity":
                raise ValueError(f"{url} answers compressed")
            async for part in answer.aiter_raw():
                body += part
                if len(body) > _MAX_BYTES:
                    raise ValueError(f"{url} answers with more than {_MAX_BYTES} bytes")
        return bytes(body)


def is_trustworthy(url: str) -> bool:
    """Whether what comes from there cannot be changed on its way: https, or http that does not leave this machine."""
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
        _ = parts.port  # raises for what is none
    except ValueError:
        return False
    if parts.scheme == "https":
        return bool(host)
    if parts.scheme != "http":
        return False
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
