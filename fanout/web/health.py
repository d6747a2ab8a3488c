"""What load balancers and clients ask to know whether the service is there. Knows no other room.

`/ping` is AppSync's: Amplify for Flutter polls it and wants exactly `healthy`. `/healthz` says that the process
answers, `/readyz` that it can deliver: it is 503 with a reason while Redis is away. None of them needs a key.
"""

from __future__ import annotations

from collections.abc import Callable

from fastapi import APIRouter, Response

from fanout.web.answers import RETRY_AFTER_SECONDS, answer_json

_READ = ["GET", "HEAD"]
# A proxy that keeps an old answer would hide that the service went away.
_NOT_STORED = {"Cache-Control": "no-store"}


def build_health_router(is_ready: Callable[[], bool | str]) -> APIRouter:
    """The routes for liveness and readiness.

    Args:
        is_ready: True when events can be published and delivered; else False, or the reason as text that may be
            shown to anybody.
    """
    router = APIRouter()

    @router.api_route("/ping", methods=_READ)
    async def ping() -> Response:
        return Response("healthy", media_type="text/plain", headers=_NOT_STORED)

    @router.api_route("/healthz", methods=_READ)
    async def healthz() -> Response:
        return answer_json({"status": "ok"}, headers=_NOT_STORED)

    @router.api_route("/readyz", methods=_READ)
    async def readyz() -> Response:
        state = is_ready()
        if state is True:
            return answer_json({"status": "ready"}, headers=_NOT_STORED)
        reason = state or "the event bus is not ready"
        return answer_json(
            {"status": "not ready", "reason": reason},
            503,
            {**_NOT_STORED, "Retry-After": str(RETRY_AFTER_SECONDS)},
        )

    return router
