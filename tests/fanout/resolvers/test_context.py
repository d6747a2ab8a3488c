"""`ctx` has AppSync's fields, each in its stages."""

from __future__ import annotations

import orjson

from fanout.model import AuthMode, Identity
from fanout.resolvers.context import ContextBuilder
from fanout.schema import Caller
from tests.fanout.resolvers.written import describe_selection, invoke


def test_what_every_stage_sees() -> None:
    context = ContextBuilder(invoke({"id": 1}, source={"id": 2}), {"TABLE": "t"}).build(stash={}, wants_selection=False)
    assert context == {
        "arguments": {"id": 1},
        "identity": None,
        "source": {"id": 2},
        "request": {"headers": {"x-tenant": "t"}, "domainName": None},
        "env": {"TABLE": "t"},
        "info": {"fieldName": "create", "parentTypeName": "Mutation", "variables": {"v": 1}},
        "stash": {},
        "outErrors": [],
        "__auth": "API_KEY",
    }


def test_what_only_some_stages_see() -> None:
    context = ContextBuilder(invoke(), {}).build(
        stash={"a": 1},
        wants_selection=False,
        previous={"result": 3},
        fetched={"result": None, "error": {"message": "m", "type": "t"}},
        errors=[{"message": "e", "type": None}],
    )
    assert (context["prev"], context["result"], context["stash"]) == ({"result": 3}, None, {"a": 1})
    assert (context["error"], context["outErrors"]) == (
        {"message": "m", "type": "t"},
        [{"message": "e", "type": None}],
    )


def test_the_identity_is_that_of_the_mode() -> None:
    claims = {"sub": "ada", "claims": {"iss": "i"}, "issuer": "i"}
    invocation = invoke(caller=Caller(Identity(AuthMode.OIDC, claims), {}))
    context = ContextBuilder(invocation, {}).build(stash={}, wants_selection=False)
    assert (context["identity"], context["__auth"]) == (claims, "OPENID_CONNECT")


def test_the_selection_is_worked_out_once_and_only_when_it_is_wanted() -> None:
    asked = []

    def describe() -> object:
        asked.append(1)
        return describe_selection()

    builder = ContextBuilder(invoke(describe_selection=describe), {})
    assert "selectionSetList" not in builder.build(stash={}, wants_selection=False)["info"]
    assert not asked
    for _ in range(2):
        info = orjson.loads(orjson.dumps(builder.build(stash={}, wants_selection=True)))["info"]
        assert info["selectionSetList"] == ["id", "author", "author/name"]
        assert info["selectionSetGraphQL"].startswith("{\n  id")
    assert len(asked) == 1
