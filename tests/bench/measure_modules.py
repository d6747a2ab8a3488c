"""Figures of single modules, for people: `python -m tests.bench.measure_modules` prints a Markdown table.

Not a test and never asserted: figures depend on the machine. Each is the best of several rounds, on one core.
"""

from __future__ import annotations

import asyncio
import itertools
import time
import timeit
from collections.abc import Callable
from typing import Any

import orjson
from botocore.credentials import Credentials as SignerCredentials
from gql.transport.appsync_auth import AppSyncIAMAuthentication

from fanout.api import Api
from fanout.auth import FieldRules, Modes, OidcRules, PublicKey, parse_key_set
from fanout.auth.iam import IamProvider
from fanout.auth.signatures import Credentials, SignatureVerifier
from fanout.auth_settings import IamSettings, IamUser, LambdaSettings, OidcSettings
from fanout.engine import Dispatcher, Registry
from fanout.execution import Executor
from fanout.metrics import Metrics
from fanout.model import AuthDirective, AuthMode, Call, CallKind, Event, FieldPolicy, Identity, SubscribeRequest
from fanout.planning import SubscriptionPlanner
from fanout.protocol import APPSYNC, join_parts, join_parts_deflated
from fanout.schema import Caller, Invocation, Resolved, load_chat_schema, parse_schema
from fanout.settings import Settings
from fanout.trust.lambda_authorizer import LambdaAuthorizer
from fanout.trust.token_provider import Issuer, TokenProvider
from fanout.web.pace import Pace
from filters import MATCH_ALL
from tests.fanout.protocol.test_session_cost import agree, connect
from tests.issuer import make_key, show_key, sign

MESSAGE = {"id": "1", "roomId": "r", "author": "a", "content": "c" * 100, "createdAt": "2026-01-01T00:00:00.000Z"}
QUERY = "subscription { onCreateMessage { id roomId author content createdAt } }"
FILTERED = "subscription ($f: MessageFilterInput) { onCreateMessage(filter: $f) { id roomId content } }"
CREATE = "mutation ($input: CreateMessageInput!) { createMessage(input: $input) { id roomId content } }"
SUBSCRIBERS = 10_000
CHAT = load_chat_schema()
ISSUER = "https://login.example.com"


def measure(call: Callable[[], object], number: int = 200) -> float:
    """Microseconds per call, the best of 7 rounds."""
    return min(timeit.repeat(call, number=number, repeat=7)) / number * 1e6


class _Resolver:
    """Answers at once, always the same."""

    version = "1"

    def __init__(self, value: Any) -> None:
        self._value = value

    async def resolve(self, invocation: Invocation) -> Resolved:
        del invocation
        return Resolved(self._value)


async def _execute_resolved(times: int) -> None:
    resolver = _Resolver({"id": "m", "roomId": "r", "content": "c"})
    api = Api(CHAT, Settings(), resolvers={("Mutation", "createMessage"): resolver})
    variables = {"input": {"roomId": "r", "author": "a", "content": "c"}}
    for _ in range(times):
        await api.execute(CREATE, variables, None, Caller(Identity(AuthMode.API_KEY)), Pace(30_000).wait)


async def _resolve_fields(times: int) -> None:
    schema = parse_schema("type Query { all: [Item] } type Item { id: ID name: String }")
    resolvers = {
        ("Query", "all"): _Resolver([{"id": str(number)} for number in range(100)]),
        ("Item", "name"): _Resolver("n"),
    }
    api = Api(schema, Settings(), resolvers=resolvers)
    for _ in range(times):
        await api.execute("{ all { name } }", {}, None, Caller(Identity(AuthMode.API_KEY)), Pace(30_000).wait)


def main() -> None:
    schema = CHAT
    planner = SubscriptionPlanner(schema, Settings())
    executor = Executor(schema, Settings())
    anybody = Identity(AuthMode.API_KEY)
    projection = planner.plan(SubscribeRequest(QUERY, None, {}, {}), anybody).projection
    payload = projection.project(MESSAGE)
    raw = orjson.dumps(MESSAGE)
    numbers = itertools.count()

    def plan_new_filter() -> None:
        variables = {"f": {"roomId": {"eq": f"r{next(numbers)}"}, "priority": {"ge": 1}}}
        planner.plan(SubscribeRequest(FILTERED, None, variables, {}), anybody)

    registry = Registry(Metrics())
    group, _ = registry.find_or_create("onCreateMessage", MATCH_ALL, projection, "appsync", _join)
    for number in range(SUBSCRIBERS):
        registry.add(group, b'"%036d"' % number, _ignore)
    dispatcher = Dispatcher(registry, schema.subscriptions_of, 240_000, Metrics(), lambda: 0)
    event = Event("1-0", "createMessage", MESSAGE, b"", 0)
    variables = {"input": {"roomId": "r", "author": "a", "content": "c"}}

    users = IamSettings(users=(IamUser(access_key_id="A", secret_access_key="s"),))
    signed_users = IamProvider(users, time.time)
    signatures = SignatureVerifier([Credentials("A", b"s")], users.region, 300, "", time.time)
    signed = _sign_subscription(users.region)
    authorizer, known = asyncio.run(_know_token())

    issuer = Issuer(OidcRules(OidcSettings(issuer=ISSUER, client_id="web")), _Keys())  # type: ignore[arg-type]
    provider = TokenProvider(AuthMode.OIDC, [issuer], time.time)
    token = itertools.repeat(_describe_token(0))
    fresh_tokens = iter([_describe_token(number) for number in range(1, 400)])

    def recognize(call: Call) -> Identity:
        assert provider.recognizes(call)
        decision = provider.decide(call)
        assert isinstance(decision, Identity)
        return decision

    ruled = SubscriptionPlanner(schema, Settings())
    groups = FieldRules(
        dict.fromkeys(
            [("Message", None), ("Subscription", None)], (AuthDirective("aws_cognito_user_pools", ("staff",)),)
        ),
        Modes(AuthMode.API_KEY, frozenset({AuthMode.API_KEY, AuthMode.COGNITO})),
        schema.root_types,
    )
    nothing = FieldRules({}, Modes(AuthMode.API_KEY, frozenset({AuthMode.API_KEY})), schema.root_types)
    staff = [
        Identity(AuthMode.COGNITO, {}, str(number), groups=frozenset({"staff", f"team-{number}"}),
                 policy=FieldPolicy(("Query.*", "Subscription.*")))
        for number in range(100)
    ]  # fmt: skip
    user = itertools.cycle(staff)
    known_plan = SubscribeRequest(QUERY, None, {}, {})

    def plan_for(identity: Identity, rules: FieldRules) -> None:
        ruled.plan(known_plan, identity, rules.access_of(identity))

    rows = [
        ("negotiate an upgrade with a browser's headers", measure(agree)),
        ("init, ack, ka, start, start_ack of one AppSync client", measure(connect)),
        ("plan a subscription, known document, new filter", measure(plan_new_filter)),
        ("plan a subscription, known document, no directives", measure(lambda: plan_for(anybody, nothing))),
        ("the same, directives with groups and a policy", measure(lambda: plan_for(next(user), groups))),
        ("project 5 fields of an event", measure(lambda: projection.project(MESSAGE))),
        ("frames of 1 payload for a group", measure(lambda: join_parts([payload], APPSYNC, 38))),
        ("frames of 16 payloads for a group", measure(lambda: join_parts([payload] * 16, APPSYNC, 38))),
        ("frames of 1 payload, compressed", measure(lambda: join_parts_deflated([payload], APPSYNC, 38))),
        (f"dispatch 1 event, per subscriber of {SUBSCRIBERS:,}, without the socket",
         measure(lambda: dispatcher.deliver("s", [event]), 5) / SUBSCRIBERS),
        (f"dispatch 16 events, per subscriber of {SUBSCRIBERS:,}, without the socket",
         measure(lambda: dispatcher.deliver("s", [event] * 16), 5) / SUBSCRIBERS),
        ("execute a mutation", measure(lambda: executor.execute(CREATE, variables, None))),
        ("the same by a resolver that answers at once", measure(lambda: asyncio.run(_execute_resolved(500)), 1) / 500),
        ("resolve a field of a type, one of 100", measure(lambda: asyncio.run(_resolve_fields(50)), 1) / 5000),
        ("verify a signature (AWS_IAM) of a subscription", measure(lambda: signatures.verify(signed), 20)),
        ("decide by one, known user and address", measure(lambda: signed_users.decide(signed), 20)),
        ("decide by an authorizer's answer that is kept (AWS_LAMBDA)", measure(lambda: authorizer.decide(known))),
        ("decide by a token (OPENID_CONNECT, RS256), verified before", measure(lambda: recognize(next(token)))),
        ("the same, for the first time", measure(lambda: recognize(next(fresh_tokens)), 50)),
        ("parse an event's JSON", measure(lambda: orjson.loads(raw))),
    ]  # fmt: skip
    print("| what | us |\n|---|---|")
    for what, microseconds in rows:
        print(f"| {what} | {microseconds:.2f} |")


def _sign_subscription(region: str) -> Call:
    """As gql does it."""
    signer = AppSyncIAMAuthentication("localhost", region, credentials=SignerCredentials("A", "s"))
    data = orjson.dumps({"query": FILTERED, "variables": {"f": {"roomId": {"eq": "r"}}}})
    headers = {name.lower(): value for name, value in signer.get_headers(data.decode()).items()}
    return Call(CallKind.SUBSCRIBE, headers, data)


class _Keys:
    """The key set of an issuer, fetched."""

    def find(self, key_id: str) -> PublicKey | None:
        return _KEYS.get(key_id)


_KEYS = parse_key_set(orjson.dumps({"keys": [show_key(make_key("k1"), "k1")]}))


def _describe_token(number: int) -> Call:
    """A connect with a token as long as those of Cognito, about 1,000 characters."""
    claims = {"iss": ISSUER, "sub": f"user-{number}", "aud": "web", "iat": 1, "exp": time.time() + 3600}
    return Call(CallKind.CONNECT, {"authorization": sign({**claims, "scope": "s" * 330})})


class _Yes:
    """An authorizer function."""

    name = "yes"

    async def ask(self, body: bytes) -> bytes:
        return b'{"isAuthorized": true, "resolverContext": {"tenant": "red"}}'


async def _know_token() -> tuple[LambdaAuthorizer, Call]:
    authorizer = LambdaAuthorizer(LambdaSettings(function="yes:yes", ttl_seconds=3600), _Yes())
    call = Call(CallKind.CONNECT, {"authorization": "x" * 1000})
    decision = authorizer.decide(call)
    if not isinstance(decision, Identity):
        await decision
    return authorizer, call


def _join(payloads: list[bytes], id_length: int) -> list[bytes]:
    return join_parts(payloads, APPSYNC, id_length)


def _ignore(data: bytes) -> None:
    pass


if __name__ == "__main__":
    main()
