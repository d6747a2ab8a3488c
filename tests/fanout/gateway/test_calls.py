from __future__ import annotations

from fanout.gateway.calls import describe_connect, describe_subscribe, list_addresses
from fanout.model import Call, CallKind, SubscribeRequest


def test_a_connection_is_signed_as_an_empty_object() -> None:
    call = describe_connect({"x-api-key": "k"}, "192.0.2.1")
    assert call == Call(CallKind.CONNECT, {"x-api-key": "k"}, body=b"{}", addresses=("192.0.2.1",))


def test_a_subscription_is_signed_as_its_data_byte_for_byte() -> None:
    data = '{"query":"subscription { a }" , "variables":{"x":"\u00e9"}}'
    request = SubscribeRequest("subscription { a }", "O", {"x": "\u00e9"}, {"h": "v"}, signed=data)
    call = describe_subscribe(request, "unix")
    assert call.body == data.encode()
    assert (call.kind, call.query, call.operation_name, call.variables) == (
        CallKind.SUBSCRIBE,
        "subscription { a }",
        "O",
        {"x": "\u00e9"},
    )
    assert (call.headers, call.addresses) == ({"h": "v"}, ("unix",))


def test_proxies_tell_where_a_client_is_before_the_peer() -> None:
    assert list_addresses({}, "10.0.0.1") == ("10.0.0.1",)
    assert list_addresses({"x-forwarded-for": "198.51.100.7, 10.0.0.9"}, "10.0.0.1") == (
        "198.51.100.7",
        "10.0.0.9",
        "10.0.0.1",
    )
