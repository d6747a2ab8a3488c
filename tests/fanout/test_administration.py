"""Orders are carried out where they are announced, a reload changes all or nothing, and keys end at their instant."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from math import inf
from pathlib import Path
from typing import Any

import orjson
import pytest

from fanout.administration import Administration, build_api, build_authorizer, warn_of_directives
from fanout.auth import digest_key
from fanout.errors import BadRequest, FieldDenied, Unauthorized, Unavailable
from fanout.gateway import Ended
from fanout.metrics import Metrics
from fanout.model import AuthMode, Call, CallKind, Identity, KeyKind, StoredKey, SubscribeRequest
from fanout.schema import parse_schema
from fanout.service import load_schema
from fanout.settings import Settings, SettingsSource
from tests.served import wait_until_async

SDL = """
type Query { a: Int } type Mutation { m(id: ID): M }
type M { id: ID }
type Subscription { onM(id: ID): M @aws_subscribe(mutations: ["m"]) }
"""
FILE = """
schema = "{schema}"
api_key = ["one", "two"]
admin_key = ["admin"]
[subscriptions.onM]
invalidation_filter = {{ id = {{ eq = "$args.id" }} }}
"""


class Oversight:
    """Notes what is done."""

    def __init__(self) -> None:
        self.done: list[Any] = []
        self.revoked: list[Identity] = []
        self.identities: list[Identity] = []
        self.guests_expire_at = inf

    def invalidate(self, field: str, payload: object) -> Ended:
        self.done.append(("invalidate", field, payload))
        return Ended(1, 2)

    def close_identity(self, subject: str) -> Ended:
        self.done.append(("identity", subject))
        return Ended(3, 4)

    def close_connection(self, id: str) -> Ended:
        self.done.append(("connection", id))
        return Ended(1, 0)

    def revoke(self, holds: Any) -> Ended:
        gone = [identity for identity in self.identities if not holds(identity)]
        self.revoked += gone
        self.identities = [identity for identity in self.identities if identity not in gone]
        return Ended(len(gone), 0)

    def end_expired_guests(self, now: float) -> Ended:
        self.done.append(("guests", now))
        self.guests_expire_at = inf
        return Ended()

    async def change_api(self, replan: Any, commit: Any) -> Ended:
        del replan
        self.done.append("api")
        commit()
        return Ended(0, 1)

    def end_denied(self, find_denial: Any) -> Ended:
        self.find_denial = find_denial
        self.done.append("denied")
        return Ended(0, 5)

    def list_connections(self, after: str, limit: int, subject: str) -> list[Any]:
        self.done.append(("list", after, limit, subject))
        return []


class Keyring:
    """Stored keys that the test chooses."""

    def __init__(self) -> None:
        self.keys: list[StoredKey] = []
        self.failure: Exception | None = None
        self.reads = 0

    async def read(self) -> list[StoredKey]:
        self.reads += 1
        if self.failure is not None:
            raise self.failure
        return list(self.keys)

    async def add(self, key: StoredKey, limit: int) -> bool:
        assert limit
        self.keys.append(key)
        return True

    async def remove(self, digest: bytes) -> bool:
        self.keys = [key for key in self.keys if key.digest != digest]
        return True


class Wheel:
    def now_ms(self) -> int:
        return 0

    def schedule(self, item: object, due_ms: int) -> None: ...

    def cancel(self, item: object) -> None: ...


@dataclass
class Announced:
    told: int
    answers: dict[str, bytes]


class Deployment:
    """One gateway's administration over files, and a second gateway that answers what the test says."""

    def __init__(self, directory: Path) -> None:
        self.schema = directory / "api.graphql"
        self.config = directory / "fanout.toml"
        self.write()
        self.source = SettingsSource({}, {}, self.config, {"publisher_key": ("generated",)})
        settings = self.source.read()
        self.api = build_api(load_schema(settings.schema_path), settings)
        self.now_s = 1_700_000_000.0
        self.authorizer = build_authorizer(settings, lambda: self.now_s)
        self.oversight: Any = Oversight()
        self.keyring = Keyring()
        self.metrics = Metrics()
        self.levels: list[str] = []
        self.other: bytes | None = None
        self.administration = Administration(
            settings,
            self.source,
            lambda read: load_schema(read.schema_path),
            self.api,
            self.authorizer,
            self.oversight,
            self._announce,
            self.keyring,
            lambda: "here",
            self.levels.append,
            Wheel(),  # type: ignore[arg-type]
            self.metrics,
            lambda: self.now_s,
        )

    def write(self, sdl: str = SDL, file: str = FILE) -> None:
        self.schema.write_text(sdl)
        self.config.write_text(file.format(schema=self.schema))

    async def _announce(self, body: bytes, wait_s: float) -> Announced:
        assert wait_s > 0
        answers = {"here": await self.administration.obey(body)}
        if self.other is None:
            return Announced(2, answers)
        return Announced(2, {**answers, "there": self.other})


@pytest.fixture
async def deployment(tmp_path: Path) -> AsyncIterator[Deployment]:
    deployment = Deployment(tmp_path)
    deployment.administration.start()
    yield deployment
    await deployment.administration.stop()


async def test_orders_are_carried_out_by_whoever_hears_them(deployment: Deployment) -> None:
    administration = deployment.administration
    deployment.other = orjson.dumps({"ended": {"connections": 10, "subscriptions": 20}})
    assert await administration.invalidate("onM", {"id": 1}) == {
        "gateways": {"told": 2, "answered": 2},
        "ended": {"connections": 11, "subscriptions": 22},
    }
    deployment.other = None
    assert await administration.close(identity="sha256:0123456789abcdef") == {
        "gateways": {"told": 2, "answered": 1},
        "ended": {"connections": 3, "subscriptions": 4},
    }
    deployment.other = b""  # a defect there
    answer = await administration.close(identity="sha256:" + "ab" * 32)
    assert answer == {"gateways": {"told": 2, "answered": 1}, "ended": {"connections": 3, "subscriptions": 4}}
    await administration.close(connection_id="c-1")
    assert deployment.oversight.done == [
        ("invalidate", "onM", {"id": 1}),
        ("identity", "sha256:0123456789abcdef"),
        ("identity", "sha256:abababababababab"),
        ("connection", "c-1"),
    ]


@pytest.mark.parametrize(
    ("name", "is_known"),
    [
        ("https://any.example|ann", True),
        ("AKIAIOSFODNN7EXAMPLE", True),
        ("local-user", True),  # configured
        ("accounts.example|ann", True),  # configured
        ("local-use", False),
        ("accounts.exampl|ann", False),
        ("da2-a-key-itself", False),
        ("eyJhbGciOiJIUzI1NiJ9.e30.c2lnbmF0dXJl", False),
    ],
)
async def test_an_identity_of_any_mode_is_named_and_a_credential_is_neither_taken_nor_repeated(
    deployment: Deployment, name: str, is_known: bool
) -> None:
    deployment.write(
        file=FILE + '[[iam.users]]\naccess_key_id = "local-user"\nsecret_access_key = "s"\n'
        '[[oidc]]\nissuer = "accounts.example"\njwks_url = "http://127.0.0.1:1/keys"\n'
    )
    await deployment.administration.reload()
    deployment.oversight.done.clear()
    if is_known:
        await deployment.administration.close(identity=name)
        deployment.administration.list_connections(after="", limit=1, identity=name)
        assert deployment.oversight.done[-2:] == [("identity", name), ("list", "", 2, name)]
    else:
        with pytest.raises(BadRequest, match="has to be a name") as closing:
            await deployment.administration.close(identity=name)
        with pytest.raises(BadRequest, match="has to be a name") as listing:
            deployment.administration.list_connections(after="", limit=1, identity=name)
        assert name not in str(closing.value) + str(listing.value)
        assert deployment.oversight.done == []


async def test_a_field_without_an_invalidation_filter_is_told(deployment: Deployment) -> None:
    with pytest.raises(BadRequest, match=r"'onN', but for onM: give \[subscriptions.onN\] invalidation_filter"):
        await deployment.administration.invalidate("onN", {})
    assert deployment.oversight.done == []


async def test_an_order_of_a_newer_version_is_answered(deployment: Deployment) -> None:
    for order in ({"do": "dance"}, {"do": "close"}, [], {"do": "invalidate", "field": "f"}):
        answer = orjson.loads(await deployment.administration.obey(orjson.dumps(order)))
        assert "not known" in answer["error"]


async def test_a_reload_that_finds_nothing_new_changes_nothing(deployment: Deployment) -> None:
    planner = deployment.api.planner
    report = await deployment.administration.reload()
    ended = {"connections": 0, "subscriptions": 0}
    assert report == {
        "gateways": {"told": 1, "answered": 1},
        "reports": [{"gateway": "here", "changed": [], "ignored": [], "ended": ended}],
    }
    assert deployment.oversight.done == []
    assert deployment.api.planner is planner
    assert deployment.metrics.reloads == {"applied": 1}


async def test_a_reload_changes_keys_schema_and_level_and_names_what_takes_a_restart(deployment: Deployment) -> None:
    one, two = (_identify(deployment, key) for key in ("one", "two"))
    deployment.oversight.identities = [one, two]
    file = FILE.replace('"one", "two"', '"two", "three"').replace('"admin"', '"boss"')
    deployment.write(SDL.replace("a: Int", "b: Int"), 'port = 1\nredis_url = "redis://x"\nlog_level = "error"\n' + file)
    (report,) = (await deployment.administration.reload())["reports"]
    assert report["changed"] == ["api_key", "admin_key", "log_level", "schema"]
    assert report["ignored"] == ["port", "redis_url"]
    assert report["ended"] == {"connections": 1, "subscriptions": 6}
    assert deployment.oversight.revoked == [one]
    assert deployment.oversight.done == ["api", "denied"]
    assert "b: Int" in deployment.api.schema.sdl
    assert deployment.levels == ["error"]
    _identify(deployment, "three")
    deployment.authorizer.authorize_admin({"x-api-key": "boss"})
    deployment.authorizer.authorize_publisher({"x-api-key": "generated"})


@pytest.mark.parametrize(
    ("sdl", "file", "text"),
    [
        ("type Query {", FILE, "api.graphql:1:13"),
        (SDL.replace("onM", "onN"), FILE, "subscriptions.onM: no such subscription field"),
        (SDL, FILE.replace('"two"', '"one"'), "api_key 2"),
        (SDL, "api_key = ", "not valid TOML"),
        (SDL, FILE.replace("$args.id", "$args.nope"), "subscriptions.onM.invalidation_filter: $args.nope"),
    ],
)
async def test_an_error_leaves_everything_as_it_is(deployment: Deployment, sdl: str, file: str, text: str) -> None:
    planner = deployment.api.planner
    file = file.replace('"admin"', '"boss"')
    deployment.write(sdl, file)
    report = await deployment.administration.reload()
    (error,) = report["errors"]
    assert text in error["message"]
    assert error["gateway"] == "here"
    assert deployment.api.planner is planner
    deployment.authorizer.authorize_admin({"x-api-key": "admin"})
    assert deployment.oversight.done == deployment.levels == []
    assert deployment.metrics.reloads == {"refused": 1}
    # Mended, it is taken.
    deployment.write()
    assert "errors" not in await deployment.administration.reload()


async def test_what_a_defect_has_kept_from_being_applied_is_applied_by_the_next_reload(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(replan: Any, commit: Any) -> Ended:
        raise RuntimeError("defect")

    deployment.write(file=FILE.replace("$args.id", "constant"))
    monkeypatch.setattr(deployment.oversight, "change_api", fail)
    with pytest.raises(RuntimeError):
        await deployment.administration.reload()
    monkeypatch.undo()
    (report,) = (await deployment.administration.reload())["reports"]
    assert report["changed"] == ["subscriptions"]
    assert deployment.oversight.done == ["api", "denied"]


async def test_who_is_denied_is_ended_by_the_next_reload_where_a_defect_has_kept_one_from_it(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(find_denial: Any) -> Ended:
        raise ZeroDivisionError

    former = deployment.api.schema
    deployment.write(SDL.replace("type M {", "type M @aws_api_key {"))
    with monkeypatch.context() as patched:
        patched.setattr(deployment.oversight, "end_denied", fail)
        with pytest.raises(ZeroDivisionError):
            await deployment.administration.reload()
    assert deployment.api.schema is not former
    await deployment.administration.reload()
    assert deployment.oversight.done == ["api", "api", "denied"]
    # Once it is done, it is not done again.
    await deployment.administration.reload()
    assert deployment.oversight.done == ["api", "api", "denied"]


async def test_what_a_defect_has_half_applied_can_be_taken_back(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(find_denial: Any) -> Ended:
        raise ZeroDivisionError

    deployment.write(file=FILE.replace("invalidation_filter", "filter"))
    with monkeypatch.context() as patched:
        patched.setattr(deployment.oversight, "end_denied", fail)
        with pytest.raises(ZeroDivisionError):
            await deployment.administration.reload()
    assert list(deployment.api.planner.invalidation_fields) == []
    deployment.write()
    await deployment.administration.reload()
    assert list(deployment.api.planner.invalidation_fields) == ["onM"]


async def test_a_reload_changes_what_fields_are_open_to(
    deployment: Deployment, caplog: pytest.LogCaptureFixture
) -> None:
    someone = Identity(AuthMode.API_KEY)
    plan = deployment.api.plan(SubscribeRequest("subscription { onM(id: 1) { id } }", None, {}, {}), someone)
    planner = deployment.api.planner
    iam = '\n[iam]\nusers = [{{ access_key_id = "a", secret_access_key = "s" }}]\n'
    deployment.write(file=FILE.replace("api_key", 'auth_mode = "AWS_IAM"\napi_key') + iam)
    (report,) = (await deployment.administration.reload())["reports"]
    assert report["changed"] == ["auth_mode", "iam"]
    assert report["ended"]["subscriptions"] == 5
    assert deployment.oversight.done == ["denied"]
    # By modes alone nothing is planned anew, and fields are asked about by the new ones.
    assert deployment.api.planner is planner
    assert isinstance(deployment.oversight.find_denial(plan, someone), FieldDenied)
    assert deployment.oversight.find_denial(plan, Identity(AuthMode.IAM)) is None
    # A directive in the schema alone is a change too; one of a mode that is not there is told.
    deployment.write(SDL.replace("type M {", "type M @aws_oidc {"))
    await deployment.administration.reload()
    assert deployment.api.planner is not planner
    assert "api.graphql:3: @aws_oidc on type M lets nobody in: OPENID_CONNECT is not configured" in caplog.text
    with pytest.raises(FieldDenied):
        deployment.api.plan(SubscribeRequest("subscription { onM(id: 1) { id } }", None, {}, {}), someone)


async def test_a_default_mode_without_a_provider_is_not_taken(deployment: Deployment) -> None:
    deployment.write(file=FILE.replace("api_key", 'auth_mode = "AWS_IAM"\napi_key'))
    (error,) = (await deployment.administration.reload())["errors"]
    assert "auth_mode: AWS_IAM is the default mode, but nobody could come in by it: give [iam]" in error["message"]


def test_of_many_directives_that_do_nothing_the_first_are_logged(caplog: pytest.LogCaptureFixture) -> None:
    fields = "\n".join(f"f{number}: Int @aws_iam" for number in range(30))
    warn_of_directives(parse_schema(f"type Query {{\n{fields}\n}}"), Settings())
    assert "schema:11: @aws_iam on Query.f9" in caplog.text
    assert "f10" not in caplog.text
    assert "20 more directives are like that" in caplog.text


async def test_each_gateway_reports_on_a_reload_of_all(deployment: Deployment) -> None:
    deployment.other = orjson.dumps({"error": "there: no"})
    report = await deployment.administration.reload(everywhere=True)
    assert report["gateways"] == {"told": 2, "answered": 2}
    assert [each["gateway"] for each in report["reports"]] == ["here", "there"]
    assert report["errors"] == [{"errorType": "ConfigurationError", "message": "there: no", "gateway": "there"}]
    deployment.other = b""
    assert "internal error" in (await deployment.administration.reload(everywhere=True))["errors"][0]["message"]


async def test_a_signal_s_reload_runs_on_its_own(deployment: Deployment) -> None:
    deployment.administration.reload_soon()
    deployment.administration.reload_soon()
    await wait_until_async(lambda: deployment.metrics.reloads.total() == 2)
    assert deployment.metrics.reloads["applied"] == 2


async def test_connections_are_listed_in_pages(deployment: Deployment) -> None:
    page = deployment.administration.list_connections(after="", limit=10, identity="sha256:" + "ab" * 32)
    assert page == {"gateway": "here", "connections": [], "next": None}
    assert deployment.oversight.done == [("list", "", 11, "sha256:abababababababab")]


async def test_a_key_that_expires_ends_its_connections(deployment: Deployment) -> None:
    deployment.write(file=FILE.replace('"one"', '"one@2030-01-01T00:00:00Z"'))
    expiry_s = 1_893_456_000
    deployment.now_s = expiry_s - 10
    await deployment.administration.reload()

    def connect() -> list[Identity]:
        return [_identify(deployment, key) for key in ("one", "two")]

    one, two = deployment.oversight.identities = connect()
    assert deployment.administration.on_due(5000) == 6000
    assert deployment.oversight.revoked == []
    deployment.now_s = expiry_s
    deployment.administration.on_due(6000)
    assert deployment.oversight.revoked == [one]
    deployment.administration.on_due(7000)
    assert deployment.oversight.identities == [two]
    # A clock that is set back makes the key good, and then expire, once more.
    deployment.now_s = expiry_s - 10
    deployment.oversight.identities = connect()
    deployment.administration.on_due(8000)
    deployment.now_s = expiry_s
    deployment.administration.on_due(9000)
    assert deployment.oversight.revoked == [one, one]


async def test_a_defect_in_ending_what_has_expired_is_logged_and_it_is_tried_again(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    deployment.oversight.guests_expire_at = deployment.now_s

    def fail(now: float) -> Ended:
        raise ZeroDivisionError

    with monkeypatch.context() as patched:
        patched.setattr(deployment.oversight, "end_expired_guests", fail)
        assert deployment.administration.on_due(5000) == 6000
    assert "what has expired could not be ended" in caplog.text
    assert deployment.administration.on_due(6000) == 7000
    assert deployment.oversight.done == [("guests", deployment.now_s)]


async def test_guests_whose_credentials_expire_are_ended(deployment: Deployment) -> None:
    deployment.oversight.guests_expire_at = deployment.now_s + 5
    deployment.administration.on_due(5000)
    assert deployment.oversight.done == []
    deployment.now_s += 5
    deployment.administration.on_due(6000)
    deployment.administration.on_due(7000)
    assert deployment.oversight.done == [("guests", deployment.now_s)]


async def test_a_stored_key_is_good_when_it_is_announced_until_it_is_gone(deployment: Deployment) -> None:
    administration = deployment.administration
    made = await administration.create_key(KeyKind.API, "mine", 1)
    assert made["gateways"] == {"told": 2, "answered": 1}
    identity = _identify(deployment, made["key"])
    assert identity.subject == made["id"]
    assert _identify(deployment, "one") is not identity
    deployment.oversight.identities = [identity, _identify(deployment, "one")]
    # A reload keeps it, and so does whatever else is stored.
    await administration.reload()
    await administration.create_key(KeyKind.API, "another", 1)
    assert _identify(deployment, made["key"]) == identity
    assert [key["description"] for key in (await administration.list_keys())["keys"]] == ["mine", "another"]
    assert deployment.oversight.revoked == []
    revoked = await administration.revoke_key(made["id"])
    assert revoked["ended"]["connections"] == 1
    assert deployment.oversight.revoked == [identity]
    with pytest.raises(Unauthorized):
        _identify(deployment, made["key"])


async def test_what_a_revoked_key_has_opened_is_ended_at_the_next_look_where_a_defect_has_kept_it_open(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    administration = deployment.administration
    made = await administration.create_key(KeyKind.API, "", 1)
    identity = _identify(deployment, made["key"])
    deployment.oversight.identities = [identity]

    def fail(holds: Any) -> Ended:
        raise ZeroDivisionError

    keys, deployment.keyring.keys = deployment.keyring.keys, []
    with monkeypatch.context() as patched:
        patched.setattr(deployment.oversight, "revoke", fail)
        with pytest.raises(ZeroDivisionError):
            await administration.load_keys()
    assert (await administration.load_keys()).connections == 1
    assert deployment.oversight.revoked == [identity]
    # Nor does a key stay good that came in the reading with the defect, and has gone since.
    deployment.keyring.keys = keys
    with monkeypatch.context() as patched:
        patched.setattr(deployment.oversight, "revoke", fail)
        with pytest.raises(ZeroDivisionError):
            await administration.load_keys()
    deployment.keyring.keys = []
    await administration.load_keys()
    with pytest.raises(Unauthorized):
        _identify(deployment, made["key"])


async def test_each_kind_of_key_opens_its_own(deployment: Deployment) -> None:
    keys = {kind: (await deployment.administration.create_key(kind, "", 1))["key"] for kind in KeyKind}
    headers = {kind: {"x-api-key": key} for kind, key in keys.items()}
    authorizer = deployment.authorizer
    ways = {
        KeyKind.API: lambda given: authorizer.authorize_client(Call(CallKind.HTTP, given)),
        KeyKind.PUBLISHER: authorizer.authorize_publisher,
        KeyKind.ADMIN: authorizer.authorize_admin,
    }
    for kind, let_in in ways.items():
        for other, given in headers.items():
            if kind is other:
                let_in(given)
            else:
                with pytest.raises(Unauthorized):
                    let_in(given)


async def test_a_stored_key_expires_by_the_clock(deployment: Deployment) -> None:
    made = await deployment.administration.create_key(KeyKind.API, "", 1)
    identity = _identify(deployment, made["key"])
    deployment.oversight.identities = [identity]
    deployment.now_s += 86_400 - 1
    deployment.administration.on_due(1000)
    assert deployment.oversight.revoked == []
    deployment.now_s += 1
    deployment.administration.on_due(2000)
    assert deployment.oversight.revoked == [identity]


async def test_stored_keys_are_read_now_and_then_and_soon_when_asked(deployment: Deployment) -> None:
    administration, keyring = deployment.administration, deployment.keyring
    key = StoredKey(digest_key("missed"), KeyKind.API, "", 0, int(deployment.now_s) + 10)
    administration.on_due(29_999)
    keyring.keys = [key]  # and nobody has told
    administration.on_due(30_000)
    administration.on_due(30_000)  # not twice at a time
    await wait_until_async(lambda: keyring.reads == 1)
    _identify(deployment, "missed")
    administration.on_due(59_999)
    keyring.keys = []
    administration.look_at_keys_soon()
    administration.on_due(60_000)
    await wait_until_async(lambda: keyring.reads == 2)
    with pytest.raises(Unauthorized):
        _identify(deployment, "missed")


async def test_while_the_store_is_away_its_last_keys_stay_and_it_is_asked_again_soon(
    deployment: Deployment, caplog: pytest.LogCaptureFixture
) -> None:
    administration, keyring = deployment.administration, deployment.keyring
    made = await administration.create_key(KeyKind.API, "", 1)
    keyring.failure = Unavailable("Redis at there cannot be reached")
    revoked = await administration.obey(b'{"do": "keys"}')
    assert b"error" in revoked
    for tick in (1000, 2000, 3000):
        reads = keyring.reads
        administration.on_due(tick)
        await wait_until_async(lambda reads=reads: keyring.reads == reads + 1 and not administration._tasks)  # type: ignore[misc]
    _identify(deployment, made["key"])
    lines = [record.getMessage() for record in caplog.records if "stay in force" in record.getMessage()]
    assert lines == ["Redis at there cannot be reached; the stored keys stay in force as they were read last"]
    keyring.failure = None
    keyring.keys = []
    administration.on_due(4000)
    await wait_until_async(lambda: not administration._tasks)
    with pytest.raises(Unauthorized):
        _identify(deployment, made["key"])


def _identify(deployment: Deployment, key: str) -> Identity:
    identity = deployment.authorizer.authorize_client(Call(CallKind.CONNECT, {"x-api-key": key}))
    assert isinstance(identity, Identity)
    return identity
