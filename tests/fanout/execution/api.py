"""An API that documents are executed on by resolvers in Python."""

from __future__ import annotations

from typing import Any

import orjson

from fanout.execution.executor import ExecutionResult, Executor
from fanout.execution.field_calls import Wait, wait_for_ever
from fanout.model import AuthMode, Identity
from fanout.schema.resolving import Caller, Invocation, ResolverFault
from fanout.schema.sdl import parse_schema
from fanout.settings import load_settings
from tests.fanout.schema.resolvers import Answering

SCHEMA = parse_schema(
    """
    type Query { room(id: ID!): Room rooms: [Room!] left: String right: String strict: String! plain: Room any: Any }
    type Room { id: ID! name: String! owner: User members(first: Int = 2): [User!] meta: AWSJSON }
    type User { id: ID! name: String friends: [User] strict: String! }
    union Any = Room | User
    input Deep { meta: AWSJSON all: [AWSJSON] next: Deep n: Int }
    type Mutation {
      create(name: String): Room
      change(input: Deep, meta: AWSJSON, name: String): String
      must(name: String): String!
      invite(room: ID): User
    }
    """
)
ANN = Caller(Identity(AuthMode.LAMBDA, {"resolverContext": {}}, "ann"), {"x-tenant": "t1"})
PLACE = {"line": 1, "column": 3, "sourceName": None}


async def run(
    query: str,
    resolvers: dict[tuple[str, str], Answering],
    variables: dict[str, Any] | None = None,
    access: Any = None,
    wait: Wait = wait_for_ever,
    **limits: int,
) -> ExecutionResult:
    executor = Executor(SCHEMA, load_settings(limits, {}), resolvers)
    done = executor.execute(query, variables, None, access, ANN, wait)
    return done if isinstance(done, ExecutionResult) else await done


def events(result: ExecutionResult) -> list[tuple[str, Any]]:
    return [(event.mutation, orjson.loads(event.data)) for event in result.events]


def fail(*arguments: Any, **fields: Any) -> Any:
    def answer(_: Invocation) -> Any:
        raise ResolverFault(*arguments, **fields)

    return answer


def describe(path: list[str | int], column: int, message: str, error_type: str, **fields: Any) -> dict[str, Any]:
    """AppSync's entry of `errors`."""
    return {
        "path": path,
        "data": None,
        "errorType": error_type,
        "errorInfo": None,
        "locations": [{"line": 1, "column": column, "sourceName": None}],
        "message": message,
        **fields,
    }


def nest(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = [value]
    return value
