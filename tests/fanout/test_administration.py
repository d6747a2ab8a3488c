"""Orders are carried out where they are announced, and a reload changes all or nothing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from fanout.administration import PreparedResolvers, warn_of_directives
from fanout.errors import BadRequest, FieldDenied, Unavailable
from fanout.gateway import Ended
from fanout.model import AuthMode, Identity, SubscribeRequest
from fanout.schema import parse_schema
from fanout.settings import Settings
from tests.fanout.administered import FILE, SDL, Deployment, identify, run_deployment
from tests.served import wait_until_async


@pytest.fixture
async def deployment(tmp_path: Path) -> AsyncIterator[Deployment]:
    async with run_deployment(tmp_path) as deployment:
        yield deployment


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


async def test_what_a_mutation_orders_is_told_and_not_waited_for(deployment: Deployment) -> None:
    await deployment.administration.order_invalidation("onM", {"id": 1})
    [order] = deployment.told
    assert deployment.oversight.done == []
    await deployment.administration.obey(orjson.dumps(order))
    assert deployment.oversight.done == [("invalidate", "onM", {"id": 1})]


async def test_what_mutations_order_is_limited(deployment: Deployment) -> None:
    with pytest.raises(BadRequest, match="longer than 16384 bytes"):
        await deployment.administration.order_invalidation("onM", {"id": "x" * 17_000})
    outcomes = await asyncio.gather(
        *(deployment.administration.order_invalidation("onM", {}) for _ in range(1000)), return_exceptions=True
    )
    assert any(isinstance(outcome, Unavailable) for outcome in outcomes)
    assert len(deployment.told) == outcomes.count(None)


async def test_a_field_without_an_invalidation_filter_is_told(deployment: Deployment) -> None:
    with pytest.raises(BadRequest, match=r"'onN', but for onM: give \[subscriptions.onN\] invalidation_filter"):
        await deployment.administration.invalidate("onN", {})
    with pytest.raises(BadRequest, match="'onN'"):
        await deployment.administration.order_invalidation("onN", {})
    assert deployment.told == []
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
    one, two = (identify(deployment, key) for key in ("one", "two"))
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
    identify(deployment, "three")
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


async def test_new_resolvers_can_be_called_before_they_serve_and_then_all_is_planned_anew(
    deployment: Deployment,
) -> None:
    done = deployment.oversight.done
    found: dict[tuple[str, str], Any] = {("Mutation", "m"): object()}
    deployment.resolvers = PreparedResolvers(
        found, is_new=True, start=lambda: done.append("start"), commit=lambda: done.append("commit")
    )
    (report,) = (await deployment.administration.reload())["reports"]
    assert report["changed"] == ["resolvers"]
    assert done == ["start", "api", "commit", "denied"]
    assert deployment.api.resolvers is found


async def test_resolvers_that_are_the_same_are_neither_started_nor_planned_anew(deployment: Deployment) -> None:
    deployment.resolvers = PreparedResolvers(start=lambda: deployment.oversight.done.append("start"))
    await deployment.administration.reload()
    assert deployment.oversight.done == []


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
