"""Resolvers for tests: files in a folder, read as they are when served, and what asks them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import orjson

from fanout.model import AuthMode, Identity
from fanout.resolvers.definitions import ResolverCode
from fanout.resolvers.directory import read_directory
from fanout.resolvers.sandbox import Limits, Sandbox
from fanout.schema import Caller, Invocation, SelectionText, parse_schema
from fanout.settings import Settings

SCHEMA = parse_schema("""
type Query { a: Int room(id: ID!): Room }
type Room { id: ID title: String author: Author }
type Author { name: String }
interface Node { id: ID }
type Mutation { create(id: ID): Room change(id: ID): Room }
type Subscription { onCreate(id: ID): Room @aws_subscribe(mutations: ["create"]) }
""")
UNIT = """import { util } from '@aws-appsync/utils';
export function request(ctx) { return { payload: ctx.args }; }
export function response(ctx) { return ctx.result; }
"""


def write(folder: Path, modules: Mapping[str, str]) -> Path:
    """Files by their path in the folder."""
    for name, text in modules.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return folder


def read(folder: Path, modules: Mapping[str, str], **settings: Any) -> ResolverCode:
    """The resolvers of these files."""
    return read_directory(write(folder, modules), Settings.model_validate(settings), SCHEMA)


class Inline:
    """Runs modules in this process, one context each; notes what was called with what."""

    def __init__(self, code: ResolverCode) -> None:
        self._sandboxes = {
            name: Sandbox(module.body, Limits(), lambda question: {"error": "unknown"})
            for name, module in code.modules.items()
        }
        self.calls: list[tuple[str, str, dict[str, Any]]] = []

    async def call(self, module: str, handler: str, context: Mapping[str, Any]) -> dict[str, Any]:
        text = orjson.dumps(context)
        self.calls.append((module, handler, orjson.loads(text)))
        return self._sandboxes[module].call(handler, text.decode())


def describe_selection() -> SelectionText:
    return SelectionText(("id", "author", "author/name"), "{\n  id\n  author {\n    name\n  }\n}")


def invoke(arguments: Mapping[str, Any] | None = None, **fields: Any) -> Invocation:
    """An invocation of Mutation.create by an API key."""
    given: dict[str, Any] = {
        "type_name": "Mutation",
        "field_name": "create",
        "arguments": arguments or {},
        "source": None,
        "caller": Caller(Identity(AuthMode.API_KEY), {"x-tenant": "t"}),
        "variables": {"v": 1},
        "describe_selection": describe_selection,
    }
    return Invocation(**given | fields)
