"""What the API is, and what a document selects of it: SDL, documents, selections, projections. Pure.

    sdl             SDL text -> ApiSchema (directives, scalars: AppSync's parts of it)
    documents       text of a client -> valid document (wording: AppSync's texts for mistakes)
    selection       what a document selects below a field (selection_text: as `ctx.info` has it)
    projection      a selection, compiled: value in, what was selected of it out
    access          which selections are open to whom
    results         what a mutation's result can be
    resolving       what goes into resolvers and comes out of them (json_arguments)

Knows nothing of connections, Redis or HTTP; nothing here waits.
"""

from fanout.schema.projection import PAYLOAD_TOO_LARGE, Projection
from fanout.schema.resolving import (
    NO_HEADERS,
    Caller,
    Invalidate,
    Invocation,
    Resolved,
    Resolver,
    ResolverFault,
    Resolvers,
    SelectionText,
)
from fanout.schema.results import describe_mismatch
from fanout.schema.sdl import CHAT_SDL_PATH, ApiSchema, load_chat_schema, parse_schema

__all__ = [
    "ApiSchema",
    "CHAT_SDL_PATH",
    "load_chat_schema",
    "parse_schema",
    "Projection",
    "PAYLOAD_TOO_LARGE",
    "NO_HEADERS",
    "Caller",
    "Invalidate",
    "Invocation",
    "Resolved",
    "Resolver",
    "ResolverFault",
    "Resolvers",
    "SelectionText",
    "describe_mismatch",
]
