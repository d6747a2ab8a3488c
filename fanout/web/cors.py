"""Which web pages may call over HTTP: CORS, and 403 where pages are listed and one that is not calls all the same.

What a browser may do with an answer is its own affair (Fetch standard, "CORS protocol"); a request that needs no
preflight is executed first. So a page that is not listed is not served at all.

| path | any origin (default) | origins listed |
|---|---|---|
| /graphql, /events, /ping | CORS for any | CORS for those listed; 403 for all others |
| /admin | no CORS | CORS for those listed; 403 for all others |
| all others | no CORS | no CORS |
"""

from __future__ import annotations

from starlette.datastructures import Headers
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Receive, Scope, Send

from fanout.origins import Origins
from fanout.web.answers import answer_errors

# How long a browser may remember the answer to its preflight request; Chrome's upper bound.
_PREFLIGHT_AGE_SECONDS = 7200
_PUBLIC = frozenset({"/graphql", "/graphql/realtime", "/events", "/ping"})


class Cors:
    """Middleware.

    Args:
        app: what is served.
        origins: the pages that may call.
    """

    def __init__(self, app: ASGIApp, origins: Origins) -> None:
        self._origins = origins
        self._bare = app
        # Never with browsers' own credentials: ours are headers that a page has to know, never cookies.
        for_listed = self._build_cors(app, [])
        self._for_clients = self._build_cors(app, ["*"]) if origins.allows_any else for_listed
        self._for_operators = for_listed if origins.listed else app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        chosen = self._bare
        if scope["type"] == "http":
            path: str = scope["path"]
            if path in _PUBLIC:
                chosen = self._for_clients
            elif path.startswith("/admin"):
                chosen = self._for_operators
            if chosen is not self._bare and not self._origins.allows(Headers(scope=scope).getlist("origin")):
                chosen = _REFUSE
        await chosen(scope, receive, send)

    def _build_cors(self, app: ASGIApp, allow_origins: list[str]) -> ASGIApp:
        return CORSMiddleware(
            app,
            allow_origins=allow_origins,
            allow_origin_regex=self._origins.pattern.pattern,
            allow_methods=["GET", "POST"],
            allow_headers=["*"],
            expose_headers=["x-amzn-ErrorType", "Retry-After"],
            max_age=_PREFLIGHT_AGE_SECONDS,
        )


_REFUSE = answer_errors(
    403, [{"errorType": "ForbiddenException", "message": "pages of this origin may not call (allowed_origins)"}]
)
