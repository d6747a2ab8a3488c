"""AWS_LAMBDA: what is asked, kept and shared, by a clock."""

from __future__ import annotations

import asyncio
import logging
from hashlib import sha256
from math import inf
from typing import Any

import orjson
import pytest

from fanout.auth_settings import LambdaSettings
from fanout.errors import BadRequest, ConfigurationError, Unauthorized, Unavailable
from fanout.gateway.addresses import AddressReader
from fanout.model import AuthMode, Call, CallKind, FieldPolicy, Identity
from fanout.trust import lambda_authorizer
from fanout.trust.authorizer_functions import AskFailed
from fanout.trust.lambda_authorizer import MAX_TOKEN_LENGTH, LambdaAuthorizer
from tests.served import wait_until_async


class Clock:
    def __init__(self) -> None:
        self.seconds = 1000.0

    def __call__(self) -> float:
        return self.seconds


class Function:
    """Answers what it is told to, by token; waits while the door is shut."""

    name = "test:function"

    def __init__(self) -> None:
        self.asked: list[dict[str, Any]] = []
        self.answers: dict[str, Any] = {}
        self.door = asyncio.Event()
        self.door.set()
        self.given_up = 0

    @property
    def tokens(self) -> list[str]:
        return [event["authorizationToken"] for event in self.asked]

    async def ask(self, body: bytes) -> bytes:
        event = orjson.loads(body)
        self.asked.append(event)
        try:
            await self.door.wait()
        except asyncio.CancelledError:
            self.given_up += 1
            raise
        answered = self.answers.get(event["authorizationToken"], {"isAuthorized": True})
        if isinstance(answered, list):
            answered = answered.pop(0)
        if isinstance(answered, Exception):
            raise answered
        return orjson.dumps(answered)


class Setting:
    """An authorizer with its surroundings."""

    def __init__(self, **settings: Any) -> None:
        self.clock = Clock()
        self.function = Function()
        self.authorizer = LambdaAuthorizer(LambdaSettings(function="a:b", **settings), self.function, self.clock)

    async def decide(
        self, token: str = "tok", kind: CallKind = CallKind.CONNECT, addresses: tuple[str, ...] = (), **asked: Any
    ) -> Identity:
        decision = self.authorizer.decide(Call(kind, {"authorization": token}, addresses=addresses, **asked))
        return decision if isinstance(decision, Identity) else await decision

    def decide_at_once(self, token: str = "tok") -> Identity:
        decision = self.authorizer.decide(Call(CallKind.CONNECT, {"authorization": token}))
        assert isinstance(decision, Identity), "it is not kept"
        return decision


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({"authorization": "anything"}, True),
        ({"authorization": "Bearer a.b.c"}, True),
        ({"authorization": ""}, False),
        ({}, False),
        ({"x-api-key": "da2"}, False),
    ],
)
async def test_any_authorization_is_its_kind(headers: dict[str, str], expected: bool) -> None:
    assert Setting().authorizer.recognizes(Call(CallKind.CONNECT, headers)) is expected


async def test_an_answer_is_an_identity() -> None:
    setting = Setting(api_id="mine", account_id="111122223333")
    setting.function.answers["tok"] = {
        "isAuthorized": True,
        "resolverContext": {"tenant": "red"},
        "deniedFields": ["Message.author"],
    }
    identity = await setting.decide()
    assert identity == Identity(
        AuthMode.LAMBDA,
        {"resolverContext": {"tenant": "red"}},
        "sha256:" + sha256(b"tok").hexdigest()[:16],
        inf,
        policy=FieldPolicy(deny=("Message.author",)),
    )
    assert setting.authorizer.holds(identity)
    context = setting.function.asked[0]["requestContext"]
    assert (context["apiId"], context["accountId"]) == ("mine", "111122223333")
    assert context["operationName"] == "DeepDish:Connect"


async def test_each_request_has_an_id_of_its_own_and_the_api_a_name() -> None:
    setting = Setting()
    for _ in range(2):
        await setting.decide()
    contexts = [event["requestContext"] for event in setting.function.asked]
    assert len({context["requestId"] for context in contexts}) == 2
    assert {context["apiId"] for context in contexts} == {"fanout"}


async def test_without_a_ttl_each_call_is_asked_about() -> None:
    setting = Setting()
    for kind in CallKind:
        await setting.decide(kind=kind)
    assert len(setting.function.asked) == 3


async def test_an_answer_is_kept_for_the_ttl_and_is_the_same_object() -> None:
    setting = Setting(ttl_seconds=60)
    identity = await setting.decide()
    setting.clock.seconds += 59.9
    assert setting.decide_at_once() is identity
    assert setting.function.tokens == ["tok"]
    setting.clock.seconds += 0.1
    assert await setting.decide() == identity
    await setting.decide("other")
    assert setting.function.tokens == ["tok", "tok", "other"]


async def test_the_answer_s_own_ttl_wins() -> None:
    setting = Setting(ttl_seconds=60)
    setting.function.answers |= {
        "never": {"isAuthorized": True, "ttlOverride": 0},
        "long": {"isAuthorized": True, "ttlOverride": 600},
    }
    for token in ("never", "never", "long"):
        await setting.decide(token)
    setting.clock.seconds += 599
    setting.decide_at_once("long")
    assert setting.function.tokens == ["never", "never", "long"]


async def test_it_wins_too_where_nothing_else_is_kept() -> None:
    setting = Setting()
    setting.function.answers["tok"] = {"isAuthorized": True, "ttlOverride": 5}
    assert await setting.decide() is setting.decide_at_once()


async def test_a_refusal_is_kept_as_well() -> None:
    setting = Setting(ttl_seconds=60)
    setting.function.answers["tok"] = {"isAuthorized": False}
    for _ in range(2):
        with pytest.raises(Unauthorized):
            await setting.decide()
    assert setting.function.tokens == ["tok"]
    setting.clock.seconds += 60
    setting.function.answers["tok"] = {"isAuthorized": True}
    await setting.decide()
    setting.decide_at_once()


@pytest.mark.parametrize("last", [True, False])
async def test_of_two_answers_the_later_counts(last: bool) -> None:
    setting = Setting()
    setting.function.door.clear()
    setting.function.answers["tok"] = [{"isAuthorized": each, "ttlOverride": 60} for each in (not last, last)]
    tasks = [asyncio.create_task(setting.decide()) for _ in range(2)]
    await wait_until_async(lambda: len(setting.function.asked) == 2)
    setting.function.door.set()
    await asyncio.gather(*tasks, return_exceptions=True)
    if last:
        setting.decide_at_once()
    else:
        with pytest.raises(Unauthorized):
            setting.decide_at_once()


async def test_failures_are_not_kept() -> None:
    setting = Setting(ttl_seconds=60)
    for failure in (AskFailed("down"), {}, {"isAuthorized": "yes"}):
        setting.function.answers["tok"] = failure
        with pytest.raises(Unauthorized):
            await setting.decide()
    setting.function.answers["tok"] = {"isAuthorized": True}
    await setting.decide()
    assert len(setting.function.asked) == 4


async def test_long_answers_are_not_kept() -> None:
    setting = Setting(ttl_seconds=60)
    shell = len(orjson.dumps({"isAuthorized": True, "resolverContext": {"a": ""}}))
    for size, calls in ((1_048_575, 1), (1_048_576, 2)):
        token = str(size)
        setting.function.answers[token] = {"isAuthorized": True, "resolverContext": {"a": "x" * (size - shell)}}
        for _ in range(2):
            await setting.decide(token)
        assert setting.function.tokens.count(token) == calls


async def test_what_is_kept_is_bounded_and_guesses_do_not_drive_out_what_is_good(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(lambda_authorizer, "_KEPT_ENTRIES", 3)
    setting = Setting(ttl_seconds=60)
    await setting.decide("good")
    for number in range(5):
        setting.function.answers[f"bad-{number}"] = {"isAuthorized": False}
        with pytest.raises(Unauthorized):
            await setting.decide(f"bad-{number}")
    setting.decide_at_once("good")
    for number in range(3):
        await setting.decide(f"good-{number}")
    await setting.decide("good")
    assert setting.function.tokens.count("good") == 2


async def test_what_is_kept_is_bounded_in_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lambda_authorizer, "_KEPT_BYTES", 100_000)
    setting = Setting(ttl_seconds=60)
    for token in ("first", "second"):
        context = {"a": "x" * 40_000, **{f"k{number}": "y" for number in range(100)}}
        setting.function.answers[token] = {"isAuthorized": True, "resolverContext": context}
        await setting.decide(token)
    assert setting.decide_at_once("second")
    await setting.decide("first")
    assert setting.function.tokens == ["first", "second", "first"]


async def test_the_expression_is_for_the_whole_token_and_comes_first() -> None:
    setting = Setting(identity_validation_expression="tok-[0-9]+")
    for token in ("tok-", "tok-1x", "x tok-1", "tok-1\n"):
        with pytest.raises(Unauthorized):
            await setting.decide(token)
    assert setting.function.asked == []
    await setting.decide("tok-12")
    assert setting.function.tokens == ["tok-12"]


async def test_tokens_of_any_length_or_bytes_are_not_asked_about() -> None:
    setting = Setting()
    for token in ("x" * (MAX_TOKEN_LENGTH + 1), "\udcff"):
        with pytest.raises(Unauthorized):
            await setting.decide(token)
    assert setting.function.asked == []


async def test_a_bad_expression_is_the_operator_s_mistake() -> None:
    with pytest.raises(ConfigurationError, match="identity_validation_expression: not a regular expression"):
        Setting(identity_validation_expression="(")


async def test_one_call_is_made_for_all_who_wait_with_a_token() -> None:
    setting = Setting(ttl_seconds=60)
    setting.function.door.clear()
    tasks = [asyncio.create_task(setting.decide(token)) for token in ["tok"] * 5 + ["other"] * 2]
    await wait_until_async(lambda: len(setting.function.asked) == 2)
    setting.function.door.set()
    identities = await asyncio.gather(*tasks)
    assert sorted(setting.function.tokens) == ["other", "tok"]
    assert len({id(identity) for identity in identities}) == 2
    assert setting.authorizer._flights == {}


async def test_without_a_ttl_each_has_a_call_of_its_own() -> None:
    setting = Setting()
    setting.function.door.clear()
    tasks = [asyncio.create_task(setting.decide()) for _ in range(3)]
    await wait_until_async(lambda: len(setting.function.asked) == 3)
    setting.function.door.set()
    await asyncio.gather(*tasks)


async def test_an_answer_that_is_not_to_be_kept_is_not_shared_either() -> None:
    setting = Setting(ttl_seconds=60)
    setting.function.answers["tok"] = {"isAuthorized": True, "ttlOverride": 0}
    setting.function.door.clear()
    tasks = [asyncio.create_task(setting.decide()) for _ in range(3)]
    await wait_until_async(lambda: setting.function.asked)
    setting.function.door.set()
    await asyncio.gather(*tasks)
    assert len(setting.function.asked) == 3


async def test_a_failure_is_shared_by_all_who_wait() -> None:
    setting = Setting(ttl_seconds=60)
    setting.function.answers["tok"] = AskFailed("down")
    setting.function.door.clear()
    tasks = [asyncio.create_task(setting.decide()) for _ in range(3)]
    await wait_until_async(lambda: setting.function.asked)
    setting.function.door.set()
    outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [Unauthorized] * 3
    assert len(setting.function.asked) == 1


async def test_a_call_goes_on_as_long_as_somebody_waits() -> None:
    setting = Setting(ttl_seconds=60)
    setting.function.door.clear()
    first, second = (asyncio.create_task(setting.decide()) for _ in range(2))
    await wait_until_async(lambda: setting.function.asked)
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)
    assert setting.function.given_up == 0
    setting.function.door.set()
    await second
    assert len(setting.function.asked) == 1


async def test_a_call_that_nobody_waits_for_is_given_up() -> None:
    setting = Setting(ttl_seconds=60)
    setting.function.door.clear()
    tasks = [asyncio.create_task(setting.decide()) for _ in range(2)]
    await wait_until_async(lambda: setting.function.asked)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    # Long before its own time limit of 10 s.
    await wait_until_async(lambda: setting.function.given_up, 5)
    assert setting.authorizer._flights == {}
    setting.function.door.set()
    await setting.decide()


async def test_calls_under_way_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lambda_authorizer, "MAX_CALLS", 2)
    monkeypatch.setattr(lambda_authorizer, "MAX_WAITING", 1)
    setting = Setting()
    setting.function.door.clear()
    tasks = [asyncio.create_task(setting.decide(str(number))) for number in range(3)]
    await wait_until_async(lambda: setting.authorizer._waiting)
    assert setting.function.tokens == ["0", "1"]
    with pytest.raises(Unavailable):
        await setting.decide("4")
    setting.function.door.set()
    await asyncio.gather(*tasks)
    assert setting.function.tokens == ["0", "1", "2"]


async def test_who_waits_too_long_for_a_turn_may_come_again(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(lambda_authorizer, "MAX_CALLS", 1)
    setting = Setting()
    setting.function.door.clear()
    first = asyncio.create_task(setting.decide("first"))
    await wait_until_async(lambda: setting.function.asked)
    monkeypatch.setattr(setting.authorizer, "_settings", LambdaSettings(function="a:b", timeout_ms=1))
    with pytest.raises(Unavailable):
        await setting.decide("second")
    assert "1 calls are under way" in caplog.text
    setting.function.door.set()
    await first


async def test_a_call_that_is_given_up_makes_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lambda_authorizer, "MAX_CALLS", 1)
    setting = Setting()
    setting.function.door.clear()
    first = asyncio.create_task(setting.decide("first"))
    await wait_until_async(lambda: setting.function.asked)
    first.cancel()
    setting.function.door.set()
    await setting.decide("second")


FLOOD, GOOD = "198.51.100.1", "192.0.2.7"


async def test_one_address_does_not_take_the_calls_of_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lambda_authorizer, "MAX_CALLS_PER_ADDRESS", 2)
    monkeypatch.setattr(lambda_authorizer, "MAX_CALLS", 4)
    setting = Setting(ttl_seconds=60)
    setting.function.door.clear()
    flood = [asyncio.create_task(setting.decide(str(number), addresses=(FLOOD,))) for number in range(6)]
    await wait_until_async(lambda: setting.authorizer._waiting == 4)
    assert setting.function.tokens == ["0", "1"]
    good = asyncio.create_task(setting.decide("good", addresses=(GOOD,)))
    await wait_until_async(lambda: "good" in setting.function.tokens)
    assert set(setting.authorizer._shares) == {FLOOD, GOOD}
    setting.function.door.set()
    await asyncio.gather(good, *flood)
    assert setting.authorizer._shares == {}
    assert setting.authorizer._waiting == 0


async def test_nor_their_places_in_the_queue(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lambda_authorizer, "MAX_CALLS_PER_ADDRESS", 1)
    monkeypatch.setattr(lambda_authorizer, "MAX_WAITING_PER_ADDRESS", 1)
    setting = Setting()
    setting.function.door.clear()
    flood = [asyncio.create_task(setting.decide(str(number), addresses=(FLOOD,))) for number in range(2)]
    await wait_until_async(lambda: setting.authorizer._waiting == 1)
    with pytest.raises(Unavailable):
        await setting.decide("one more", addresses=(FLOOD,))
    good = asyncio.create_task(setting.decide("good", addresses=(GOOD,)))
    await wait_until_async(lambda: "good" in setting.function.tokens)
    setting.function.door.set()
    await asyncio.gather(good, *flood)
    assert setting.authorizer._shares == {}


@pytest.mark.parametrize("ttl_seconds", [0, 60])
async def test_who_gives_up_leaves_nothing_of_an_address_s_share(
    ttl_seconds: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lambda_authorizer, "MAX_CALLS_PER_ADDRESS", 2)
    # The third has its share's turn, and waits for one of all.
    monkeypatch.setattr(lambda_authorizer, "MAX_CALLS", 1)
    setting = Setting(ttl_seconds=ttl_seconds)
    setting.function.door.clear()
    tasks = [asyncio.create_task(setting.decide(str(number), addresses=(FLOOD,))) for number in range(3)]
    await wait_until_async(lambda: setting.authorizer._waiting == 2)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await wait_until_async(lambda: not setting.authorizer._shares)
    assert setting.authorizer._waiting == 0
    setting.function.door.set()
    await asyncio.gather(*(setting.decide(f"again {number}", addresses=(FLOOD,)) for number in range(3)))


async def test_shares_are_of_addresses_as_limits_count_them() -> None:
    setting = Setting()
    read_address = AddressReader(("10.0.0.0/8",)).read
    authorizer = LambdaAuthorizer(LambdaSettings(function="a:b"), setting.function, read_address=read_address)
    setting.authorizer = authorizer
    setting.function.door.clear()
    addresses = [("2001:db8::1",), ("2001:db8::2",), ("192.0.2.7:1", "10.0.0.1"), ("192.0.2.7:2", "10.0.0.1")]
    tasks = [asyncio.create_task(setting.decide(addresses=each)) for each in addresses]
    await wait_until_async(lambda: len(setting.function.asked) == 4)
    assert {name: share.users for name, share in authorizer._shares.items()} == {"2001:db8::/64": 2, "192.0.2.7": 2}
    setting.function.door.set()
    await asyncio.gather(*tasks)


@pytest.mark.parametrize("ttl_seconds", [0, 60])
async def test_variables_that_cannot_be_told_are_the_client_s_mistake_and_nobody_else_s(ttl_seconds: int) -> None:
    setting = Setting(ttl_seconds=ttl_seconds)
    deep = {"a": orjson.loads("[" * 300 + "]" * 300)}
    outcomes = await asyncio.gather(
        setting.decide(kind=CallKind.HTTP, variables=deep), setting.decide(), return_exceptions=True
    )
    assert isinstance(outcomes[0], BadRequest)
    assert outcomes[0].message == "The variables cannot be written as JSON: they are nested too deeply."
    assert isinstance(outcomes[1], Identity)
    assert len(setting.function.asked) == 1
    assert setting.authorizer._flights == setting.authorizer._shares == {}


@pytest.mark.parametrize("ttl_seconds", [0, 60])
async def test_a_function_that_cannot_be_asked_now_is_no_refusal(
    ttl_seconds: int, caplog: pytest.LogCaptureFixture
) -> None:
    setting = Setting(ttl_seconds=ttl_seconds)
    setting.function.answers["tok"] = Unavailable("2 calls have not come back")
    with pytest.raises(Unavailable):
        await setting.decide()
    assert "2 calls have not come back" in caplog.text
    setting.function.answers.clear()
    await setting.decide()


async def test_a_plain_no_is_told_at_debug_only_and_defects_as_warnings(caplog: pytest.LogCaptureFixture) -> None:
    setting = Setting()
    setting.function.answers |= {"no": {"isAuthorized": False}, "bad": {}}
    caplog.set_level(logging.DEBUG)
    for token in ("no", "bad"):
        with pytest.raises(Unauthorized):
            await setting.decide(token)
    assert [(record.levelname, record.getMessage()) for record in caplog.records if "fanout" in record.name] == [
        ("DEBUG", "the authorizer test:function says no"),
        (
            "WARNING",
            "nobody is let in by the authorizer test:function: its answer is no authorizer's: it has no isAuthorized",
        ),
    ]


async def test_warnings_do_not_fill_the_log(caplog: pytest.LogCaptureFixture) -> None:
    setting = Setting()
    setting.function.answers["tok"] = {}
    for _ in range(30):
        await asyncio.gather(setting.decide(), return_exceptions=True)
    assert len(caplog.records) == 10
    setting.clock.seconds += 60
    await asyncio.gather(setting.decide(), return_exceptions=True)
    assert "(20 more such lines were held back)" in caplog.text
