"""The HTTP data source: a resolver's request object -> one HTTP request to an allowed host -> what was answered.

Sources: AppSync developer guide, "JavaScript resolver function reference for HTTP" for the objects; RFC 9110 for names
and values of headers. What a resolver asks for is made of what clients send: nothing of it can choose another host,
climb out of the endpoint's path, or bring a header of its own. May not know: fields, and what runs resolvers.
"""

from __future__ import annotations

import asyncio
import re
import time
import zlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final
from urllib.parse import quote, unquote, urlsplit

import httpx
import orjson

from fanout.resolver_settings import HttpDataSourceSettings
from fanout.resolvers.data_sources import DataSourceError, InvalidRequest
from fanout.resolvers.http_clients import HttpClients
from fanout.resolvers.request_signer import RequestSigner

_METHODS: Final = ("GET", "POST", "PUT", "PATCH", "DELETE")
_NAME: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_VALUE: Final = re.compile(r"[^\x00-\x08\x0a-\x1f\x7f]*")
# Those that the guide names, and those that are about a connection and not about a request (RFC 9110 section 7.6.1).
_NOT_SETTABLE: Final = frozenset(
    [
        "host",
        "connection",
        "user-agent",
        "expect",
        "expectation",
        "transfer-encoding",
        "transfer_encoding",
        "content-length",
        "content_length",
        "keep-alive",
        "te",
        "trailer",
        "upgrade",
        "proxy-authorization",
        "proxy-connection",
        "accept-encoding",
    ]
)
# What stands in paths and queries as it is (RFC 3986 section 3.3 and 3.4); everything else is percent-encoded.
_IN_PATH: Final = "/:@!$&'()*+,;=-._~"
_IN_QUERY: Final = "-._~"
_PERCENT: Final = re.compile(r"%(?![0-9A-Fa-f]{2})")
_CHARSET: Final = re.compile(r"charset\s*=\s*\"?([\w.:-]+)", re.IGNORECASE)
_DEFAULT_PORTS: Final = {"http": 80, "https": 443}
_MAX_INFLATED_STEP: Final = 64 * 1024


class HttpSource:
    """One HTTP data source.

    Args:
        name: as the configuration calls it.
        settings: where it is, and what it may take.
        clients: send requests.
        now: seconds since 1970; of signatures.
    """

    def __init__(
        self, name: str, settings: HttpDataSourceSettings, clients: HttpClients, now: Callable[[], float] = time.time
    ) -> None:
        self._name = name
        self._settings = settings
        self._clients = clients
        self._endpoint = settings.endpoint.rstrip("/")
        scheme, host = _read_origin(settings.endpoint)
        self._own_origin = (scheme, host)
        # A further host is reached by https, unless the endpoint itself is not.
        schemes = {scheme, "https"}
        self._origins = {self._own_origin} | {
            _read_origin(f"{scheme}://{each}") for each in settings.allowed_hosts for scheme in schemes
        }
        self._signer = RequestSigner(settings.signing, now) if settings.signing else None

    async def invoke(self, request: Any) -> Any:
        """Send `{method, resourcePath, params: {query, headers, body}}`; gives `{statusCode, headers, body}`.

        Every status is an answer, redirects too; `body` is text.
        """
        built = self._build(request)
        timeout_ms = self._settings.timeout_ms
        try:
            async with asyncio.timeout(timeout_ms / 1000):
                async with self._clients.send(self._name, built) as response:
                    body = await self._read(response)
        except TimeoutError:
            raise self._fail(f"did not answer within {timeout_ms} ms", "Timeout") from None
        except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError) as error:
            # Its text may hold the URL, and that what a resolver put there.
            raise self._fail(f"did not answer ({type(error).__name__})", "Unavailable") from None
        return {
            "statusCode": response.status_code,
            "headers": _join_headers(response.headers.raw),
            "body": _decode(body, response.headers.get("content-type", "")),
        }

    def _build(self, request: Any) -> httpx.Request:
        if not isinstance(request, dict):
            raise InvalidRequest("A request for an HTTP data source is an object with method and resourcePath.")
        method, path, params = request.get("method"), request.get("resourcePath"), request.get("params") or {}
        if method not in _METHODS:
            raise InvalidRequest(f"The request's method has to be one of {', '.join(_METHODS)}.")
        if not isinstance(path, str):
            raise InvalidRequest("The request's resourcePath has to be text that begins with /.")
        if not isinstance(params, dict):
            raise InvalidRequest("The request's params have to be an object with query, headers and body.")
        url, is_own = self._build_url(path, _read_object(params, "query"))
        headers = dict(_read_headers(_read_object(params, "headers")))
        body = _write_body(params.get("body"), headers)
        headers["host"] = url.netloc.decode("ascii")
        headers["accept-encoding"] = "gzip"
        headers["user-agent"] = "fanout"
        if body or method in ("POST", "PUT", "PATCH"):
            headers["content-length"] = str(len(body))
        if self._signer and is_own:
            headers |= self._signer.sign(method, url.raw_path.decode("ascii"), headers, body)
        raw = [(name.encode("ascii"), value.encode("utf-8", "surrogatepass")) for name, value in headers.items()]
        return httpx.Request(method, url, headers=raw, content=body)

    def _build_url(self, path: str, query: Mapping[str, Any]) -> tuple[httpx.URL, bool]:
        """The URL, and whether it is the endpoint's."""
        if path.startswith("/"):
            target = self._endpoint + path
        elif re.match(r"https?://", path) and self._settings.allowed_hosts:
            target = path
        else:
            raise InvalidRequest("The request's resourcePath has to begin with /.")
        authority, _, rest = target.partition("://")[2].partition("/")
        if re.search(r"[^A-Za-z0-9._\-\[\]:]", authority):
            raise self._refuse()
        raw_path, _, given = f"/{rest}".partition("?")
        if "//" in raw_path or re.search(r"[\\#\x00-\x1f\x7f]", f"{raw_path}{given}"):
            raise InvalidRequest(
                "The request's resourcePath may have no //, \\, # or line end; encode what it is made of."
            )
        # As who decodes first and divides then would read it.
        if {".", ".."}.intersection(re.split(r"[/\\]", unquote(raw_path))):
            raise InvalidRequest("The request's resourcePath may have no segment . or ..")
        if _PERCENT.search(raw_path + given):
            raise InvalidRequest("The request's resourcePath has a % that is no encoded character; encode it as %25.")
        pairs = [*_split_query(given), *_list_pairs(query)]
        encoded = quote(raw_path, safe=_IN_PATH + "%", errors="surrogatepass")
        if pairs:
            encoded += "?" + "&".join(
                f"{quote(name, safe=_IN_QUERY)}={quote(text, safe=_IN_QUERY)}" for name, text in pairs
            )
        try:
            url = httpx.URL(f"{target.partition('://')[0]}://{authority}{encoded}")
        except httpx.InvalidURL:
            raise InvalidRequest("The request's resourcePath makes no URL.") from None
        # By what will be connected to and sent, not by what was meant.
        origin = (url.scheme, f"{url.host}:{url.port or _DEFAULT_PORTS[url.scheme]}")
        if origin not in self._origins or url.userinfo or url.raw_path.decode("ascii") != encoded:
            raise self._refuse()
        return url, origin == self._own_origin

    def _refuse(self) -> InvalidRequest:
        return InvalidRequest(f"The data source {self._name} may not reach the host that the resourcePath names.")

    async def _read(self, response: httpx.Response) -> bytes:
        """The body as it was before compression, read no further than is allowed."""
        limit = self._settings.max_response_bytes
        encoding = response.headers.get("content-encoding", "identity").strip().lower()
        if encoding not in ("identity", "gzip", ""):
            raise self._fail(f"answered in the encoding {encoding[:20]!r}, which was not asked for", "Response")
        inflate = zlib.decompressobj(16 + zlib.MAX_WBITS) if encoding == "gzip" else None
        body = bytearray()
        async for chunk in response.aiter_raw():
            # In steps: what is compressed may be a thousand times as much.
            rest = chunk
            while rest:
                if inflate is None:
                    body += rest
                    rest = b""
                else:
                    try:
                        body += inflate.decompress(rest, _MAX_INFLATED_STEP)
                    except zlib.error:
                        raise self._fail("answered with a body that is no gzip", "Response") from None
                    rest = inflate.unconsumed_tail
                if len(body) > limit:
                    raise self._fail(f"answered with more than {limit} bytes", "ResponseTooLarge")
            if inflate is not None and inflate.eof:
                break  # what follows is no part of it, and may have no end
        if inflate is not None and body and not inflate.eof:
            raise self._fail("answered with a body that breaks off", "Response")
        return bytes(body)

    def _fail(self, what: str, kind: str) -> DataSourceError:
        return DataSourceError(f"The data source {self._name} {what}.", f"DataSource:{kind}")


def _read_origin(url: str) -> tuple[str, str]:
    parts = urlsplit(url)
    return parts.scheme, f"{parts.hostname}:{parts.port or _DEFAULT_PORTS[parts.scheme]}"


def _read_object(params: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = params.get(name)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise InvalidRequest(f"The request's params.{name} has to be an object.")
    return value


def _read_headers(headers: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for name, value in headers.items():
        if value is None:
            continue
        if not _NAME.fullmatch(name):
            raise InvalidRequest("The request has a header whose name is none.")
        if name.lower() in _NOT_SETTABLE:
            raise InvalidRequest(f"The request cannot set the header {name.lower()}; util.http.copyHeaders omits it.")
        if not isinstance(value, str):
            raise InvalidRequest(f"The request's header {name.lower()} has to be text.")
        if not _VALUE.fullmatch(value):
            raise InvalidRequest(f"The request's header {name.lower()} has a character that no header can have.")
        yield name.lower(), value.strip(" \t")


def _write_body(body: Any, headers: dict[str, str]) -> bytes:
    """The body's bytes; of JSON that is no text the content type is told, unless the resolver tells another."""
    if body is None:
        return b""
    if isinstance(body, str):
        return body.encode("utf-8", "surrogatepass")
    headers.setdefault("content-type", "application/json")
    return _write_json(body)


def _split_query(text: str) -> Iterator[tuple[str, str]]:
    for pair in text.split("&") if text else ():
        name, _, value = pair.partition("=")
        yield unquote(name.replace("+", " ")), unquote(value.replace("+", " "))


def _list_pairs(query: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Parameters in order: lists are repeated, null is left out, and what is no text is written as JSON."""
    for name, value in query.items():
        for each in value if isinstance(value, list) else [value]:
            if each is not None:
                yield name, each if isinstance(each, str) else _write_json(each).decode()


def _write_json(value: Any) -> bytes:
    try:
        return orjson.dumps(value)
    except orjson.JSONEncodeError:  # it was read from JSON: more can be read than written
        raise InvalidRequest("The request is nested too deeply.") from None


def _join_headers(raw: list[tuple[bytes, bytes]]) -> dict[str, str]:
    """Headers by name as they came; what came several times is one, as RFC 9110 section 5.3 joins it."""
    joined: dict[str, str] = {}
    names: dict[bytes, str] = {}
    for name, value in raw:
        key = names.setdefault(name.lower(), name.decode("latin-1"))
        text = value.decode("utf-8", "replace")
        joined[key] = f"{joined[key]}, {text}" if key in joined else text
    return joined


def _decode(body: bytes, content_type: str) -> str:
    found = _CHARSET.search(content_type)
    try:
        return body.decode(found[1] if found else "utf-8", "replace")
    except LookupError:
        return body.decode("utf-8", "replace")
