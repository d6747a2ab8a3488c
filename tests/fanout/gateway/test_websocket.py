"""The handshake agrees to what it is told, and what follows it does not keep the request."""

from __future__ import annotations

import gc
from typing import Any

import pytest
from websockets.client import ClientProtocol
from websockets.extensions.permessage_deflate import ClientPerMessageDeflateFactory
from websockets.http11 import Request
from websockets.protocol import State
from websockets.uri import parse_uri

from fanout.gateway.websocket import Handshake, WebSocket


def shake(subprotocol: str | None = "graphql-ws", extensions: Any = None, offers: bool = False) -> tuple[Any, Any]:
    client = ClientProtocol(
        parse_uri("ws://localhost/graphql"), subprotocols=["graphql-ws", "header-x"], extensions=extensions
    )  # type: ignore[list-item]
    client.send_request(client.connect())
    server = Handshake(offers_compression=offers)
    server.receive_data(b"".join(client.data_to_send()))
    (request,) = server.events_received()
    assert isinstance(request, Request)
    server.agreed_subprotocol = subprotocol
    server.send_response(server.accept(request))
    client.receive_data(b"".join(server.data_to_send()))
    return client, server


@pytest.mark.parametrize("subprotocol", ["graphql-ws", None])
def test_the_agreed_subprotocol_is_answered(subprotocol: str | None) -> None:
    client, server = shake(subprotocol)
    assert (client.state, server.state) == (State.OPEN, State.OPEN)
    assert client.subprotocol == subprotocol


@pytest.mark.parametrize(
    ("offers", "bits", "deflated"), [(False, None, False), (True, None, True), (True, 15, True), (True, 10, False)]
)
def test_only_the_full_window_can_be_shared(offers: bool, bits: int | None, deflated: bool) -> None:
    client, server = shake(extensions=[ClientPerMessageDeflateFactory(server_max_window_bits=bits)], offers=offers)
    assert bool(client.extensions) == offers
    assert WebSocket(server, 1000).can_be_sent_deflated == deflated


def test_messages_pass_after_the_handshake_and_the_request_is_gone() -> None:
    client, server = shake()
    websocket = WebSocket(server, max_message_bytes=10)
    del server
    client.send_text(b"x" * 10)
    websocket.receive_data(b"".join(client.data_to_send()))
    (frame,) = websocket.events_received()
    assert bytes(frame.data) == b"x" * 10  # type: ignore[union-attr]
    gc.collect()
    assert not [found for found in gc.get_objects() if isinstance(found, Request) and found.path == "/graphql"]
    client.send_text(b"x" * 11)
    websocket.receive_data(b"".join(client.data_to_send()))
    assert websocket.close_sent is not None
    assert websocket.close_sent.code == 1009
