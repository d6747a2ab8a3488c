"""Orders are carried out where they are announced, here or on all gateways."""

from __future__ import annotations

import asyncio

import orjson
import pytest

from fanout.errors import BadRequest, Unavailable
from tests.fanout.administered import FILE, Deployment


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


async def test_each_gateway_reports_on_a_reload_of_all(deployment: Deployment) -> None:
    deployment.other = orjson.dumps({"error": "there: no"})
    report = await deployment.administration.reload(everywhere=True)
    assert report["gateways"] == {"told": 2, "answered": 2}
    assert [each["gateway"] for each in report["reports"]] == ["here", "there"]
    assert report["errors"] == [{"errorType": "ConfigurationError", "message": "there: no", "gateway": "there"}]
    deployment.other = b""
    assert "internal error" in (await deployment.administration.reload(everywhere=True))["errors"][0]["message"]


async def test_connections_are_listed_in_pages(deployment: Deployment) -> None:
    page = deployment.administration.list_connections(after="", limit=10, identity="sha256:" + "ab" * 32)
    assert page == {"gateway": "here", "connections": [], "next": None}
    assert deployment.oversight.done == [("list", "", 11, "sha256:abababababababab")]
