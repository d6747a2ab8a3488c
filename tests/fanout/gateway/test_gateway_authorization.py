"""Decisions that take a while, credentials that end, and fresh ones on an open connection."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect

from fanout.errors import Unauthorized, Unavailable
from fanout.model import AuthMode, Call, CallKind, Identity
from tests.fanout.gateway.conftest import Harness
from tests.served import wait_until_async

MINE = "subscription ($room: ID) { onCreateMessage(roomId: $room) { id } }"


class Issuer:
    """Takes tokens `SUBJECT@SECONDS` that are good for so long, once it is let answer."""

    def __init__(self, harness: Harness) -> None:
        self.harness = harness
        self.may_answer = asyncio.Event()
        self.may_answer.set()
        self.calls: list[CallKind] = []
        self.given_up = 0
        harness.decide = self.decide

    async def decide(self, call: Call) -> Identity:
        self.calls.append(call.kind)
        try:
            await self.may_answer.wait()
        except asyncio.CancelledError:
            self.given_up += 1
            raise
        subject, _, seconds = call.headers.get("authorization", "").partition("@")
        match subject:
            case "nobody":
                raise Unauthorized
            case "unknown":
                raise Unavailable("the issuer does not answer")
            case "broken":
                raise ZeroDivisionError("secret")
        return Identity(AuthMode.OIDC, {"sub": subject}, subject, self.harness.now_ms / 1000 + float(seconds))


@pytest.fixture
async def issuer(harness: Harness) -> Issuer:
    return Issuer(harness)


class Client:
    def __init__(self, connection: ClientConnection) -> None:
        self.connection = connection

    async def send(self, type: str, **members: Any) -> None:
        await self.connection.send(json.dumps({"type": type, **members}))

    async def init(self, token: str) -> None:
        await self.send("connection_init", payload={"Authorization": token})

    async def receive(self) -> dict[str, Any]:
        return dict(json.loads(await asyncio.wait_for(self.connection.recv(), 20)))

    async def receive_close(self) -> int | None:
        await asyncio.wait_for(self.connection.wait_closed(), 20)
        return self.connection.close_code


@asynccontextmanager
async def open_client(harness: Harness, token: str | None = None) -> AsyncIterator[Client]:
    url = harness.url.replace("http", "ws") + "/graphql"
    async with connect(url, subprotocols=["graphql-transport-ws"]) as connection:  # type: ignore[list-item]
        client = Client(connection)
        if token is not None:
            await client.init(token)
            assert await client.receive() == {"type": "connection_ack"}
        yield client


async def test_a_connection_waits_for_who_it_is(harness: Harness, issuer: Issuer) -> None:
    issuer.may_answer.clear()
    async with open_client(harness) as client:
        await client.init("ada@60")
        await wait_until_async(lambda: issuer.calls)
        assert len(harness.gateway) == 0
        issuer.may_answer.set()
        assert await client.receive() == {"type": "connection_ack"}
        (connection,) = harness.gateway.connections
        assert connection.identity == Identity(AuthMode.OIDC, {"sub": "ada"}, "ada", harness.now_ms / 1000 + 60)


@pytest.mark.parametrize(("token", "code"), [("nobody", 4403), ("unknown", 4607), ("broken", 4403)])
async def test_who_is_nobody_is_told_later(
    harness: Harness, issuer: Issuer, token: str, code: int, caplog: pytest.LogCaptureFixture
) -> None:
    async with open_client(harness) as client:
        await client.init(token)
        assert await client.receive_close() == code
        assert "secret" not in str(client.connection.close_reason)
    assert len(harness.gateway) == 0
    assert ("it could not be decided who is asking" in caplog.text) is (token == "broken")


async def test_what_was_taken_out_while_it_was_decided_lets_nobody_in(harness: Harness, issuer: Issuer) -> None:
    async with open_client(harness, "ada@60") as client, open_client(harness) as late:
        issuer.may_answer.clear()
        await client.send("subscribe", id="s", payload={"query": MINE})
        await late.init("ada@60")
        await wait_until_async(lambda: len(issuer.calls) == 3)
        harness.holds = lambda identity: False
        issuer.may_answer.set()
        assert await late.receive_close() == 4403
        told = await client.receive()
        assert (told["type"], told["id"]) == ("error", "s")
        assert harness.metrics.subscriptions == 0


async def test_who_leaves_meanwhile_is_not_asked_about_any_more(harness: Harness, issuer: Issuer) -> None:
    issuer.may_answer.clear()
    async with open_client(harness) as client:
        await client.init("ada@60")
        await wait_until_async(lambda: issuer.calls)
    await wait_until_async(lambda: issuer.given_up)
    assert len(harness.gateway) == 0


async def test_subscriptions_wait_too_and_can_be_stopped(harness: Harness, issuer: Issuer) -> None:
    async with open_client(harness, "ada@60") as client:
        issuer.may_answer.clear()
        for id in ("stays", "stops"):
            await client.send("subscribe", id=id, payload={"query": MINE})
        await wait_until_async(lambda: len(issuer.calls) == 3)
        await client.send("complete", id="stops")
        await wait_until_async(lambda: issuer.given_up)
        assert harness.metrics.subscriptions == 0
        issuer.may_answer.set()
        await wait_until_async(lambda: harness.metrics.subscriptions == 1)
        assert issuer.calls == [CallKind.CONNECT, CallKind.SUBSCRIBE, CallKind.SUBSCRIBE]
        harness.deliver({"id": "7"})
        assert (await client.receive())["id"] == "stays"
        (connection,) = harness.gateway.connections
        assert list(connection.subscriptions) == ["stays"]


async def test_starts_that_are_decided_late_take_turns(
    harness: Harness, issuer: Issuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    loop = asyncio.get_running_loop()
    clock_s = turn = 0
    turns: list[int] = []
    begin = harness.subscriptions._starts._begin_planning

    def count() -> None:
        nonlocal turn
        turn += 1
        if harness.metrics.subscriptions < 5:
            loop.call_soon(count)

    def start(*arguments: Any) -> None:
        nonlocal clock_s
        clock_s += 1
        turns.append(turn)
        begin(*arguments)

    async with open_client(harness, "ada@60") as client:
        issuer.may_answer.clear()
        for id in "abcde":
            await client.send("subscribe", id=id, payload={"query": MINE})
        await wait_until_async(lambda: len(issuer.calls) == 6)
        monkeypatch.setattr(harness.gateway.turns, "_clock", lambda: clock_s)
        monkeypatch.setattr(harness.subscriptions._starts, "_begin_planning", start)
        issuer.may_answer.set()
        count()
        await wait_until_async(lambda: harness.metrics.subscriptions == 5)
    assert len(set(turns)) == 5


async def test_renewals_leave_no_headers_behind(harness: Harness) -> None:
    harness.decide = lambda call: Identity(AuthMode.OIDC, {"sub": "ada"}, "ada")
    async with open_client(harness, "token") as client:
        (connection,) = harness.gateway.connections
        assert connection.session is not None
        before = len(connection.session._headers)
        for number in range(5):
            payload = {"Authorization": f"token {number}", f"x-{number}": "junk"}
            await client.send("connection_init", payload=payload)
            assert await client.receive() == {"type": "connection_ack"}
        assert connection.session._headers["authorization"] == "token 4"
        assert len(connection.session._headers) == before


async def test_a_renewal_before_the_first_start_is_none_of_apollo_s_messages(harness: Harness) -> None:
    harness.decide = lambda call: Identity(AuthMode.OIDC, {"sub": "ada"}, "ada")
    url = harness.url.replace("http", "ws") + "/graphql"
    headers = {"authorization": "token"}
    async with connect(url, subprotocols=["graphql-ws"], additional_headers=headers) as connection:  # type: ignore[list-item]
        client = Client(connection)
        for payload in (None, {"Authorization": "fresher"}):
            await client.send("connection_init", payload=payload)
            while (told := await client.receive())["type"] == "ka":
                pass
            assert told["type"] == "connection_ack"
        await client.send("start", id="s", payload={"data": json.dumps({"query": MINE})})
        while (told := await client.receive())["type"] == "ka":
            pass
        assert told == {"type": "start_ack", "id": "s"}


@pytest.mark.parametrize("fault", [None, Unauthorized()])
async def test_what_ends_in_the_step_in_which_it_is_decided_ends(harness: Harness, fault: Exception | None) -> None:
    identity = Identity(AuthMode.OIDC, {}, "ada")
    defects: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: defects.append(context))
    harness.decide = lambda call: identity
    async with open_client(harness, "token") as client:
        decisions: list[asyncio.Future[Identity]] = []

        def decide(call: Call) -> asyncio.Future[Identity]:
            decisions.append(asyncio.get_running_loop().create_future())
            return decisions[-1]

        harness.decide = decide
        await client.send("subscribe", id="s", payload={"query": MINE})
        await wait_until_async(lambda: decisions)
        (connection,) = harness.gateway.connections
        if fault is None:
            decisions[0].set_result(identity)
        else:
            decisions[0].set_exception(fault)
        harness.subscriptions.end(connection, "s")
        await client.init("fresher")
        await wait_until_async(lambda: len(decisions) == 2)
        decisions[1].set_result(identity)
        connection.abort()
        harness.gateway.forget(connection)
        await asyncio.wait_for(client.connection.wait_closed(), 20)
    assert defects == []
    assert harness.metrics.subscriptions == 0
    assert len(harness.gateway) == 0


async def test_a_subscription_of_nobody_is_refused_later(harness: Harness, issuer: Issuer) -> None:
    async with harness.open() as client:
        harness.decide = harness.authorizer.authorize_client
        await client.initialise()
        harness.decide = issuer.decide
        data = json.dumps({"query": MINE})
        for token, code in (("nobody", 401), ("unknown", 503)):
            extensions = {"authorization": {"Authorization": token}}
            await client.send({"type": "start", "id": "s", "payload": {"data": data, "extensions": extensions}})
            answer = await client.receive()
            assert (answer["type"], answer["id"]) == ("error", "s")
            assert answer["payload"]["errors"][0]["errorCode"] == code


async def test_a_connection_ends_with_its_credentials(harness: Harness, issuer: Issuer) -> None:
    async with open_client(harness, "ada@90") as client:
        harness.pass_time(89_000)
        assert len(harness.gateway) == 1
        harness.pass_time(2_000)
        assert await client.receive_close() == 4401


async def test_fresh_credentials_renew_a_connection_in_place(harness: Harness, issuer: Issuer) -> None:
    async with open_client(harness, "ada@90") as client:
        await client.send("subscribe", id="s", payload={"query": MINE})
        await wait_until_async(lambda: harness.metrics.subscriptions == 1)
        await client.init("ada@200")
        assert await client.receive() == {"type": "connection_ack"}
        harness.pass_time(120_000)
        harness.deliver({"id": "7"})
        assert (await client.receive())["payload"]["data"] == {"onCreateMessage": {"id": "7"}}
        harness.pass_time(90_000)
        assert await client.receive_close() == 4401


async def test_a_renewal_by_the_same_credentials_costs_nothing(harness: Harness, monkeypatch: Any) -> None:
    harness.decide = lambda call: Identity(AuthMode.OIDC, {"sub": "ada"}, "ada")
    async with open_client(harness, "token") as client:
        await client.send("subscribe", id="s", payload={"query": MINE})
        await wait_until_async(lambda: harness.metrics.subscriptions == 1)
        monkeypatch.setattr(harness.subscriptions, "_recheck", None)
        await client.init("token")
        assert await client.receive() == {"type": "connection_ack"}
        assert harness.metrics.subscriptions == 1


async def test_a_renewal_looks_once_at_each_group(harness: Harness, monkeypatch: Any) -> None:
    identities = iter([Identity(AuthMode.OIDC, {"at": at}, "ada") for at in range(8)])
    harness.decide = lambda call: next(identities)
    looked: list[Any] = []
    async with open_client(harness, "token") as client:
        for id in "abcdef":
            await client.send("subscribe", id=id, payload={"query": MINE})
        await wait_until_async(lambda: harness.metrics.subscriptions == 6)
        harness.subscriptions.guests._identities.clear()
        monkeypatch.setattr(harness.subscriptions, "_recheck", lambda plan, identity: looked.append(plan))
        await client.init("fresher")
        assert await client.receive() == {"type": "connection_ack"}
        assert len(looked) == 1


@pytest.mark.parametrize("token", ["bob@600", "nobody"])
async def test_others_do_not_renew_a_connection(harness: Harness, issuer: Issuer, token: str) -> None:
    async with open_client(harness, "ada@90") as client:
        await client.init(token)
        assert await client.receive_close() == 4403


async def test_without_credentials_a_second_init_is_what_the_protocol_says(harness: Harness, issuer: Issuer) -> None:
    async with open_client(harness, "ada@90") as client:
        await client.send("connection_init")
        assert await client.receive_close() == 4429


async def test_a_renewal_ends_what_the_fresh_credentials_do_not_allow(build_harness: Any) -> None:
    template = {"filterGroup": [{"filters": [{"fieldName": "author", "operator": "eq", "value": "$identity.team"}]}]}
    harness = await build_harness(subscriptions={"onCreateMessage": {"filter": template}})
    claims: dict[str, Any] = {"team": "red"}
    harness.decide = lambda call: Identity(AuthMode.OIDC, dict(claims), "ada")
    async with open_client(harness, "token") as client:
        await client.send("subscribe", id="s", payload={"query": MINE})
        await wait_until_async(lambda: harness.metrics.subscriptions == 1)
        claims["team"] = "blue"
        await client.init("fresher")
        assert await client.receive() == {"type": "connection_ack"}
        told = await client.receive()
        assert (told["type"], told["id"]) == ("error", "s")
        assert "start it anew" in told["payload"][0]["message"]
        assert harness.metrics.subscriptions == 0


async def test_a_guest_s_subscription_ends_with_its_own_credentials(harness: Harness, issuer: Issuer) -> None:
    async with harness.open() as client:
        harness.decide = harness.authorizer.authorize_client
        await client.initialise()
        harness.decide = issuer.decide
        for id in ("90", "60"):
            payload = {
                "data": json.dumps({"query": MINE}),
                "extensions": {"authorization": {"Authorization": f"a@{id}"}},
            }
            await client.send({"type": "start", "id": id, "payload": payload})
            assert (await client.receive())["type"] == "start_ack"
        now = harness.now_ms / 1000
        assert harness.oversight.guests_expire_at == now + 60
        assert harness.oversight.end_expired_guests(now + 60).subscriptions == 1
        assert harness.oversight.guests_expire_at == now + 90
        told = await client.receive()
        assert (told["type"], told["id"]) == ("error", "60")
        assert told["payload"]["errors"][0]["errorCode"] == 401
        assert harness.metrics.subscriptions == 1


async def renew_second_of_one_group(
    harness: Harness, claims: list[dict[str, Any]], queries: tuple[str, str]
) -> tuple[list[dict[str, Any]], int]:
    """Two clients subscribe with the first two claims, then the second renews with the third: what it is told."""
    identities = iter([Identity(AuthMode.OIDC, given, given["sub"], expires_at=2e9) for given in claims])
    current: list[Identity] = []
    harness.decide = lambda call: current[-1]
    current.append(next(identities))
    async with open_client(harness, "token") as first:
        await first.send("subscribe", id="s", payload={"query": queries[0]})
        await wait_until_async(lambda: harness.metrics.subscriptions == 1)
        current.append(next(identities))
        async with open_client(harness, "token") as second:
            await second.send("subscribe", id="s", payload={"query": queries[1]})
            await wait_until_async(lambda: harness.metrics.subscriptions == 2)
            assert harness.metrics.groups == 1
            current.append(next(identities))
            await second.init("fresher")
            assert await second.receive() == {"type": "connection_ack"}
            await second.send("ping")  # answered behind all that the renewal has to tell
            told = []
            while (message := await second.receive())["type"] != "pong":
                told.append(message)
            live = harness.metrics.subscriptions
            kept = len(harness.subscriptions.own_plans)
            assert kept <= live
    await wait_until_async(lambda: harness.metrics.subscriptions == 0)
    assert harness.subscriptions.own_plans == {}
    return told, live


def in_room(value: str) -> str:
    return f'subscription {{ onCreateMessage(roomId: "{value}") {{ id }} }}'


BY_ARGUMENT_AND_CLAIM = {"onCreateMessage": {"filter": {"author": {"in": ["$args.roomId", "$identity.team"]}}}}


@pytest.mark.parametrize(("fresh", "is_ended"), [("y", True), ("x", False)])
async def test_who_came_to_a_group_by_other_arguments_renews_by_its_own(
    build_harness: Any, fresh: str, is_ended: bool
) -> None:
    harness = await build_harness(subscriptions=BY_ARGUMENT_AND_CLAIM)
    ada, bob, renewed = (
        {"sub": sub, "team": team, "at": at}
        for at, (sub, team) in enumerate((("ada", "y"), ("bob", "x"), ("bob", fresh)))
    )
    told, live = await renew_second_of_one_group(harness, [ada, bob, renewed], (in_room("x"), in_room("y")))
    assert [(message["type"], message["id"]) for message in told] == [("error", "s")] * is_ended
    assert live == 2 - is_ended
    assert harness.metrics.subscriptions_ended == ({"unauthorized": 1} if is_ended else {})


async def test_who_is_invalidated_by_another_filter_than_its_group_s_first_renews(build_harness: Any) -> None:
    rules = {"invalidation_filter": {"sub": {"eq": "$identity.sub"}}}
    harness = await build_harness(subscriptions={"onCreateMessage": rules})
    claims = [{"sub": "ada"}, {"sub": "bob"}, {"sub": "bob", "at": 1}]
    assert await renew_second_of_one_group(harness, claims, (MINE, MINE)) == ([], 2)
    assert harness.metrics.subscriptions_ended == {}


async def test_a_start_on_its_way_through_a_renewal_ends_with_the_credentials_of_before(
    harness: Harness, issuer: Issuer
) -> None:
    async with open_client(harness, "ada@90") as client:
        expires_at = harness.now_ms / 1000 + 90
        later: asyncio.Future[Identity] = asyncio.get_running_loop().create_future()
        harness.decide = lambda call: later
        await client.send("subscribe", id="s", payload={"query": MINE})
        (connection,) = harness.gateway.connections
        await wait_until_async(lambda: connection.subscriptions)
        harness.decide = issuer.decide
        former = connection.identity
        await client.init("ada@600")
        assert await client.receive() == {"type": "connection_ack"}
        assert former is not None
        later.set_result(former)
        await wait_until_async(lambda: harness.metrics.subscriptions == 1)
        assert harness.oversight.guests_expire_at == expires_at
        assert harness.oversight.end_expired_guests(expires_at).subscriptions == 1
        assert (await client.receive())["type"] == "error"
        assert len(harness.gateway) == 1
