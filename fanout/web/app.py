"""The HTTP side as one FastAPI application. Knows schema and auth; the bus only as two functions.

| path | who | what |
|---|---|---|
| POST /graphql | API key | queries, introspection, mutations |
| POST /events | publisher key | events from back ends |
| /admin/... | admin key | ending connections and subscriptions, reloading |
| GET /ping, /healthz, /readyz, /metrics | anybody | for load balancers, orchestrators, Prometheus |
| GET /graphql, /graphql/realtime | anybody | 426: WebSockets are taken by `fanout.gateway` before they get here |
"""

from __future__ import annotations

from collections.abc import Callable

from fastapi import FastAPI

from fanout.api import Api
from fanout.auth import Authorizer
from fanout.metrics import Metrics
from fanout.origins import Origins
from fanout.settings import Settings
from fanout.web.admin_http import Administration, build_admin_router
from fanout.web.answers import add_error_answers
from fanout.web.body import HttpLimits
from fanout.web.cors import Cors
from fanout.web.entrance import Entrance, build_open_entrance
from fanout.web.events_http import Publish, build_events_router
from fanout.web.exposition import build_metrics_router
from fanout.web.graphql_http import FindPosition, build_graphql_router
from fanout.web.health import build_health_router
from fanout.web.rotation import Rotation


def create_app(
    *,
    api: Api,
    publish: Publish,
    find_position: FindPosition,
    authorizer: Authorizer,
    administration: Administration,
    metrics: Metrics,
    is_ready: Callable[[], bool | str],
    settings: Settings,
    entrance: Entrance | None = None,
) -> FastAPI:
    """Build the application; it starts nothing and owns nothing.

    Args:
        api: runs GraphQL documents, and knows which mutations can be published.
        publish: appends events to their streams, those of one stream all or none; raises `Unavailable`.
        find_position: the position of this moment; raises `Unavailable`.
        authorizer: decides about the `x-api-key` header.
        administration: does what operators order at `/admin`.
        metrics: shown at `/metrics`.
        is_ready: True when Redis can be used; else False or the reason, which `/readyz` shows to anybody.
        settings: the limits of the deployment, from which those of one request follow.
        entrance: lets requests in; None: nothing is limited or held back.
    """
    limits = HttpLimits.from_settings(settings)
    entrance = entrance or build_open_entrance(metrics)
    # No docs pages: the API's documentation is its GraphQL schema.
    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None)
    app.add_middleware(Cors, origins=Origins(settings.allowed_origins))
    app.add_middleware(Rotation)  # the last added is the first that a request meets
    add_error_answers(app)
    app.include_router(
        build_graphql_router(
            api, publish, administration.order_invalidation, find_position, authorizer, limits, entrance
        )
    )
    app.include_router(build_events_router(api, publish, authorizer, limits, settings, entrance))
    app.include_router(build_admin_router(administration, authorizer, metrics, entrance))
    app.include_router(build_health_router(is_ready))
    app.include_router(build_metrics_router(metrics))
    return app
