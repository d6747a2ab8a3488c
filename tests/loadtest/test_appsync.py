import base64
import json

import pytest

from loadtest import appsync

HEADER = {"host": "127.0.0.1:8080", "x-api-key": "k\u00e9y?>"}


def test_header_object_names_the_http_host_with_its_port():
    assert appsync.build_header_object("http://127.0.0.1:8080/graphql", "k") == {
        "host": "127.0.0.1:8080",
        "x-api-key": "k",
    }


def test_header_subprotocol_is_unpadded_base64url_and_a_token():
    text = appsync.build_header_subprotocol(HEADER)
    encoded = text.removeprefix("header-")
    assert not set(encoded) & set("+/=")
    assert json.loads(base64.urlsafe_b64decode(encoded + "=" * (-len(encoded) % 4))) == HEADER


def test_start_holds_the_operation_as_a_string():
    message = json.loads(appsync.build_start("1", "subscription { x }", {"a": 1}, HEADER))
    assert (message["id"], message["type"]) == ("1", "start")
    assert json.loads(message["payload"]["data"]) == {"query": "subscription { x }", "variables": {"a": 1}}
    assert message["payload"]["extensions"] == {"authorization": HEADER}


def test_stop_and_init():
    assert json.loads(appsync.build_stop("1")) == {"id": "1", "type": "stop"}
    assert json.loads(appsync.CONNECTION_INIT) == {"type": "connection_init"}


@pytest.mark.parametrize(
    ("url", "expected"),
    [("http://h:1/graphql", "ws://h:1/graphql"), ("https://h/graphql", "wss://h/graphql")],
)
def test_websocket_url(url, expected):
    assert appsync.to_websocket_url(url) == expected


@pytest.mark.parametrize("url", ["h:1", "ftp://h", ""])
def test_websocket_url_of_another_scheme_is_refused(url):
    with pytest.raises(ValueError, match="expected an http"):
        appsync.to_websocket_url(url)
