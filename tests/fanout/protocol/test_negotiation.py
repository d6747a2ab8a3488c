from __future__ import annotations

import base64
import json
from urllib.parse import urlsplit

import pytest
from gql.transport.appsync_auth import AppSyncApiKeyAuthentication
from hypothesis import given
from hypothesis import strategies as st

from fanout.errors import BadRequest
from fanout.model import DialectName
from fanout.protocol import PATHS, Agreement, Refusal, UnsupportedSubprotocol, negotiate

KEY = {"host": "localhost:8080", "x-api-key": "da2-key"}
ENCODED = base64.urlsafe_b64encode(json.dumps(KEY).encode()).decode().rstrip("=")
APPSYNC = (DialectName.APPSYNC, "graphql-ws")
APPSYNC_UNNAMED = (DialectName.APPSYNC, None)
TRANSPORT_WS = (DialectName.TRANSPORT_WS, "graphql-transport-ws")
UNSUPPORTED = None


def agree(query_string: str = "", *headers: tuple[str, str], path: str = "/graphql") -> Agreement:
    agreement = negotiate(path, query_string, headers)
    assert isinstance(agreement, Agreement)
    return agreement


def offer(value: str) -> tuple[str, str]:
    return ("sec-websocket-protocol", value)


@pytest.mark.parametrize("path", ["/graphql", "/graphql/realtime"])
def test_both_paths_are_served(path: str) -> None:
    assert agree("", offer("graphql-ws"), path=path).dialect is DialectName.APPSYNC


@pytest.mark.parametrize("path", ["", "/", "/graphql/", "/Graphql", "/graphql/realtime/x", "/event/realtime"])
def test_other_paths_are_refused(path: str) -> None:
    refusal = negotiate(path, "", [offer("graphql-ws")])
    assert isinstance(refusal, Refusal)
    assert refusal.status == 404
    assert all(served in refusal.message for served in PATHS)


# The table of docs/protocols.md, "Negotiation"
@pytest.mark.parametrize(
    ("offered", "query_string", "plain", "expected"),
    [
        ("graphql-ws", "", {}, APPSYNC),
        (f"graphql-ws, header-{ENCODED}", "", {}, APPSYNC),
        (f"header-{ENCODED} ,graphql-ws", "", {}, APPSYNC),
        ("graphql-ws", f"header={ENCODED}&payload=e30=", {}, APPSYNC),
        ("graphql-transport-ws", "", {}, TRANSPORT_WS),
        ("graphql-transport-ws", f"header={ENCODED}", {}, TRANSPORT_WS),
        ("graphql-transport-ws, mqtt", "", {}, TRANSPORT_WS),
        ("graphql-ws, graphql-transport-ws", "", {}, TRANSPORT_WS),
        ("graphql-ws, graphql-transport-ws", "", {"x-api-key": "k"}, TRANSPORT_WS),
        ("graphql-ws, graphql-transport-ws", f"header={ENCODED}", {}, APPSYNC),
        (f"graphql-transport-ws, graphql-ws, header-{ENCODED}", "", {}, APPSYNC),
        (None, f"header={ENCODED}", {}, APPSYNC_UNNAMED),
        (f"header-{ENCODED}", "", {}, APPSYNC_UNNAMED),
        (None, "", {"x-api-key": "k"}, APPSYNC_UNNAMED),
        (None, "", {"authorization": "t"}, APPSYNC_UNNAMED),
        (None, "x-api-key=k", {}, APPSYNC_UNNAMED),
        (None, "", {"user-agent": "curl"}, UNSUPPORTED),
        ("mqtt", "", {"x-api-key": "k"}, UNSUPPORTED),
        (f"mqtt, header-{ENCODED}", "", {}, UNSUPPORTED),
        ("GRAPHQL-WS", "", {}, UNSUPPORTED),
        (" , ", "", {}, UNSUPPORTED),
    ],
)
def test_dialect_and_subprotocol(
    offered: str | None, query_string: str, plain: dict[str, str], expected: tuple[DialectName, str | None] | None
) -> None:
    headers = [*plain.items(), *([offer(offered)] if offered is not None else [])]
    agreement = agree(query_string, *headers)
    if expected is UNSUPPORTED:
        assert isinstance(agreement.fault, UnsupportedSubprotocol)
        assert agreement.fault.message == "SubProtocolNotSupportedError"
        assert agreement.fault.error_code == 400
        assert agreement.subprotocol is None
    else:
        assert agreement.fault is None
        assert (agreement.dialect, agreement.subprotocol) == expected


def test_subprotocols_may_come_in_several_headers() -> None:
    agreement = agree("", offer("graphql-ws"), offer(f"header-{ENCODED}"))
    assert agreement.headers == KEY
    assert agreement.header_object_given


def test_header_object_over_plain_headers_over_query_parameters() -> None:
    agreement = agree(
        "X-From=query&x-plain=query&x-object=query&payload=e30=",
        ("x-plain", "plain"),
        ("x-object", "plain"),
        offer("graphql-ws, header-" + base64.b64encode(b'{"X-Object":"object"}').decode().rstrip("=")),
    )
    assert agreement.headers == {"x-from": "query", "x-plain": "plain", "x-object": "object"}


def test_the_subprotocol_s_header_object_is_taken_before_the_query_s() -> None:
    other = base64.b64encode(b'{"x-api-key":"other"}').decode()
    assert agree(f"header={other}", offer(f"graphql-ws, header-{ENCODED}")).headers == KEY


def test_a_header_object_s_credential_replaces_the_proxy_s() -> None:
    agreement = agree("x-api-key=q", ("authorization", "Basic x"), offer(f"graphql-ws, header-{ENCODED}"))
    assert agreement.headers == KEY


def test_the_handshake_s_own_headers_are_not_kept() -> None:
    agreement = agree(
        "",
        ("host", "localhost"),
        ("connection", "Upgrade"),
        ("upgrade", "websocket"),
        ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ("sec-websocket-version", "13"),
        ("sec-websocket-extensions", "permessage-deflate"),
        offer("graphql-ws"),
    )
    assert agreement.headers == {"host": "localhost"}


def test_a_credential_given_twice_is_none_of_both() -> None:
    agreement = agree("", ("x-api-key", "a"), ("x-api-key", "b"), offer("graphql-ws"))
    assert agreement.headers["x-api-key"] == "a, b"


@pytest.mark.parametrize("query_string", ["header=%%%", "header=", "header=bm90IGpzb24"])
def test_an_unreadable_header_object_is_told_after_the_upgrade(query_string: str) -> None:
    agreement = agree(query_string, ("x-api-key", "k"), offer("graphql-ws"))
    assert isinstance(agreement.fault, BadRequest)
    assert not isinstance(agreement.fault, UnsupportedSubprotocol)
    assert (agreement.subprotocol, agreement.header_object_given) == ("graphql-ws", True)
    assert agreement.headers == {"x-api-key": "k"}


@pytest.mark.parametrize("key", ["da2-abcdefghijklmnopqrstuvwxyz", "~~~???>>>~~~"])
def test_the_address_that_gql_makes(key: str) -> None:
    authentication = AppSyncApiKeyAuthentication(host="localhost:8080", api_key=key)
    address = urlsplit(authentication.get_auth_url("http://localhost:8080/graphql"))
    agreement = agree(address.query, offer("graphql-ws"), path=address.path)
    assert agreement.fault is None
    assert agreement.headers == {"host": "localhost:8080", "x-api-key": key}


def test_parameters_that_amplify_adds_are_headers() -> None:
    agreement = agree("x-amz-user-agent=aws-amplify%2F6.22.1&x-custom=a%20b", offer(f"graphql-ws, header-{ENCODED}"))
    assert agreement.headers == {**KEY, "x-amz-user-agent": "aws-amplify/6.22.1", "x-custom": "a b"}


header_values = st.one_of(
    st.binary().map(lambda raw: raw.decode("latin-1")),
    st.sampled_from(["graphql-ws", "graphql-transport-ws", f"graphql-ws, header-{ENCODED}", "header-", ","]),
    st.binary().map(lambda raw: "graphql-ws, header-" + raw.decode("latin-1")),
    st.text(st.characters()),
)
header_names = st.sampled_from(["sec-websocket-protocol", "authorization", "x-api-key", "host"]) | st.binary().map(
    lambda raw: raw.decode("latin-1").lower()
)
query_strings = st.text(st.characters()) | st.binary().map(lambda raw: "header=" + raw.decode("latin-1"))


@given(st.sampled_from(sorted(PATHS)) | st.text(), query_strings, st.lists(st.tuples(header_names, header_values)))
def test_any_request_ends_in_an_agreement_or_a_refusal(
    path: str, query_string: str, headers: list[tuple[str, str]]
) -> None:
    result = negotiate(path, query_string, headers)
    if isinstance(result, Refusal):
        assert path not in PATHS
        return
    offered = [item.strip() for name, value in headers if name == "sec-websocket-protocol" for item in value.split(",")]
    assert result.subprotocol is None or result.subprotocol in offered
    assert result.subprotocol in (None, "graphql-ws", "graphql-transport-ws")
    assert all(name == name.lower() for name in result.headers)
    assert (result.dialect is DialectName.TRANSPORT_WS) == (result.subprotocol == "graphql-transport-ws")
