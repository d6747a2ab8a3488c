"""The banner shows what a newcomer needs, and its examples are valid for the schema that is served."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import orjson
import pytest
from graphql import parse, validate

from fanout.api import Api
from fanout.banner import build_banner, describe_schema
from fanout.model import AuthMode, Identity, SubscribeRequest
from fanout.planning import SubscriptionPlanner
from fanout.schema import ApiSchema, Invocation, Resolved, load_chat_schema, parse_schema
from fanout.settings import Settings, SubscriptionSettings
from filters import compile_filter

REQUIRED = """
type Query { a: Int }
type Item { id: ID! at: AWSDateTime kind: Kind! tags: [String!]! n: Int f: Float }
enum Kind { BIG SMALL }
type Mutation { createItem(id: ID!): Item  tick(n: Int): Int }
type Subscription {
  onItem(n: Int!, kind: Kind!): Item @aws_subscribe(mutations: ["createItem"])
}
"""
LEAF = """
type Query { a: Int }
type Mutation { tick(n: Int): Int }
type Subscription { onTick: Int @aws_subscribe(mutations: ["tick"]) }
"""
NOTHING = "type Query { a: Int }"


def show(schema: ApiSchema, keys: dict[str, str] | None = None, settings: Settings | None = None) -> str:
    settings = settings or Settings()
    return build_banner(
        Api(schema, settings), settings, keys or {}, ("127.0.0.1", 8080), tls_ca=None, embedded_url="unix:///run/v.sock"
    )


def find_commands(text: str) -> list[list[str]]:
    return [shlex.split(line)[1:] for line in text.splitlines() if line.startswith("  .venv/bin/fanout ")]


def configure(**templates: dict[str, Any]) -> Settings:
    return Settings(subscriptions={"onCreateMessage": SubscriptionSettings(**templates)})


OF_A_ROOM = {"roomId": {"eq": "$args.roomId"}}


@pytest.mark.parametrize(
    ("schema", "settings"),
    [
        (load_chat_schema(), Settings()),
        (parse_schema(REQUIRED), Settings()),
        (parse_schema(LEAF), Settings()),
        (load_chat_schema(), configure(filter=OF_A_ROOM)),
        (load_chat_schema(), configure(invalidation_filter=OF_A_ROOM)),
        (load_chat_schema(), configure(filter={"author": {"eq": "$identity.sub"}})),
        (load_chat_schema(), configure(filter={"roomId": {"eq": "lobby"}})),
    ],
    ids=["chat", "required", "leaf", "filter", "invalidation-filter", "identity", "constant"],
)
def test_the_examples_are_valid_and_belong_together(schema: ApiSchema, settings: Settings) -> None:
    subscribe, publish = find_commands(show(schema, settings=settings))
    query = subscribe[-1]
    assert not validate(schema.graphql, parse(query))
    mutation, data = publish[-2], orjson.loads(publish[-1])
    plan = SubscriptionPlanner(schema, settings).plan(SubscribeRequest(query, None, {}, {}), Identity(AuthMode.API_KEY))
    assert plan.field in schema.subscriptions_of(mutation)
    assert compile_filter(plan.filter)(data)
    assert b"errors" not in plan.projection.project(data)


def test_only_keys_made_for_this_run_are_shown() -> None:
    settings = Settings(api_key=("secret-one",), publisher_key=("secret-two",))
    text = show(load_chat_schema(), settings=settings)
    assert "secret" not in text
    assert "as configured" in text
    assert "da2-made" in show(load_chat_schema(), keys={"api_key": "da2-made"})


def test_tls_is_told_with_its_ca() -> None:
    text = build_banner(
        Api(load_chat_schema(), Settings()),
        Settings(tls_dev=True),
        {},
        ("::1", 8443),
        tls_ca=Path("ca.pem"),
        embedded_url="",
    )
    assert "https://[::1]:8443/graphql" in text
    assert "wss://[::1]:8443/graphql/realtime" in text
    assert str(Path("ca.pem").resolve()) in text
    assert "--ca ca.pem" in text


def test_a_schema_without_subscriptions_has_no_example() -> None:
    assert find_commands(show(parse_schema(NOTHING))) == []


def test_a_checked_schema_is_described() -> None:
    text = describe_schema(load_chat_schema(), "chat.graphql")
    assert text.startswith("chat.graphql: ok, ")
    assert "  createMessage -> onCreateMessage" in text


class Resolving:
    """A resolver that is not asked."""

    version = ""

    async def resolve(self, invocation: Invocation) -> Resolved:
        raise AssertionError("nobody asks")


def test_fields_with_resolvers_are_named_and_make_no_other_example() -> None:
    schema = load_chat_schema()
    assert "resolvers" not in show(schema)
    resolvers = {("Mutation", f"m{number}"): Resolving() for number in range(9)}
    resolvers |= {("Subscription", name): Resolving() for name in schema.graphql.subscription_type.fields}  # type: ignore[union-attr]
    settings = Settings(resolvers=Path("code"))
    text = build_banner(
        Api(schema, settings, resolvers=resolvers), settings, {}, ("127.0.0.1", 1), tls_ca=None, embedded_url=""
    )
    (line,) = [line for line in text.splitlines() if line.startswith("  resolvers")]
    assert "code: Mutation.m0, Mutation.m1" in line
    assert line.endswith(f"and {len(resolvers) - 8} more")
    without = show(schema)
    assert find_commands(text)[0][-1] == find_commands(without)[0][-1]
    assert find_commands(text)[1][-2:] == find_commands(without)[1][-2:]


def test_anonymous_access_is_told_in_one_line() -> None:
    schema = load_chat_schema()
    assert "anonymous" not in show(schema)
    (line,) = [line for line in show(schema, settings=Settings(anonymous=True)).splitlines() if "anonymous" in line]
    assert "let in as API_KEY: whoever gives no credentials" in line
