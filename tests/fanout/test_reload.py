"""A reload changes all or nothing, and whoever is connected goes on as far as it is valid."""

from __future__ import annotations

from typing import Any

import pytest

from fanout.errors import FieldDenied
from fanout.gateway import Ended
from fanout.model import AuthMode, Identity, SubscribeRequest
from fanout.reload import PreparedResolvers, warn_of_directives
from fanout.schema import parse_schema
from fanout.settings import Settings
from tests.fanout.administered import FILE, SDL, Deployment, identify
from tests.served import wait_until_async


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


async def test_a_signal_s_reload_runs_on_its_own(deployment: Deployment) -> None:
    deployment.reload.run_soon()
    deployment.reload.run_soon()
    await wait_until_async(lambda: deployment.metrics.reloads.total() == 2)
    assert deployment.metrics.reloads["applied"] == 2
