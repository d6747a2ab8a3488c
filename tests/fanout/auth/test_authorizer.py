from __future__ import annotations

import pytest

from fanout.auth import ApiKeys, Authorizer
from fanout.errors import Unauthorized
from fanout.model import Identity

AUTHORIZER = Authorizer(ApiKeys(["client"]), ApiKeys(["publisher"]))


def test_each_key_opens_its_own_door() -> None:
    assert AUTHORIZER.authorize_client({"x-api-key": "client", "host": "h"}) == Identity("API_KEY")
    assert AUTHORIZER.authorize_publisher({"x-api-key": "publisher"}) == Identity("API_KEY")


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"x-api-key": ""},
        {"x-api-key": "wrong"},
        {"x-api-key": "publisher"},
        {"x-api-key": "client, client"},
        {"authorization": "client"},
    ],
)
def test_nothing_else_opens_the_client_s(headers: dict[str, str]) -> None:
    with pytest.raises(Unauthorized):
        AUTHORIZER.authorize_client(headers)


@pytest.mark.parametrize(
    "headers", [{}, {"x-api-key": "client"}, {"x-api-key": "wrong"}, {"authorization": "publisher"}]
)
def test_nothing_else_opens_the_publisher_s(headers: dict[str, str]) -> None:
    with pytest.raises(Unauthorized):
        AUTHORIZER.authorize_publisher(headers)
