"""One AppSync connection over a blocking socket, for locust users: connect, subscribe, receive, stop.

Works under gevent, since `websocket-client` uses plain sockets that locust has patched. Knows nothing of locust, of
the chat API or of what should arrive.
"""

from __future__ import annotations

import json
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import websocket

from loadtest import appsync


class SubscriberError(Exception):
    """The service refused, closed or broke the protocol; the text says how."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """One `data` message: subscription id, payload, size of the message in characters."""

    id: str
    payload: Any
    size: int


class Subscriber:
    """A client's side of one connection. Methods block; none may be called from two threads or greenlets at once.

    Args:
        url: the HTTP endpoint, for example `http://127.0.0.1:8080/graphql`.
        api_key: sent in the header object of the connection and of every `start`.
        timeout_s: longest wait for an answer (`connection_ack`, `start_ack`, `complete`).
    """

    def __init__(self, url: str, api_key: str, timeout_s: float = 10.0) -> None:
        self._url = appsync.to_websocket_url(url)
        self._header_object = appsync.build_header_object(url, api_key)
        self._timeout_s = timeout_s
        self._arrived: deque[Delivery] = deque()
        self._socket: websocket.WebSocket | None = None

    def connect(self) -> None:
        """Upgrade, `connection_init`, and wait for the `connection_ack`.

        Raises:
            SubscriberError: the upgrade or the credentials were refused, or no answer came in time.
        """
        subprotocols = [appsync.SUBPROTOCOL, appsync.build_header_subprotocol(self._header_object)]
        try:
            self._socket = websocket.create_connection(self._url, timeout=self._timeout_s, subprotocols=subprotocols)
        except (websocket.WebSocketException, OSError) as error:
            raise SubscriberError(f"cannot connect: {error}") from error
        self._send(appsync.CONNECTION_INIT)
        self._wait_for("connection_ack", None)

    def subscribe(self, id: str, query: str, variables: Mapping[str, Any]) -> None:
        """Send `start` and wait for its `start_ack`; raises SubscriberError when refused."""
        self._send(appsync.build_start(id, query, variables, self._header_object))
        self._wait_for("start_ack", id)

    def unsubscribe(self, id: str) -> None:
        """Send `stop` and wait for its `complete`; what arrives before that is kept for `receive`."""
        self._send(appsync.build_stop(id))
        self._wait_for("complete", id)

    def receive(self, timeout_s: float) -> Delivery | None:
        """The next delivery, or None if there is none within `timeout_s`.

        Raises:
            SubscriberError: the connection was closed, or a subscription was ended by the service.
        """
        deadline = time.monotonic() + timeout_s
        while not self._arrived:
            message = self._read(deadline)
            if message is None:
                return None
            if message["type"] not in ("ka", "data"):
                raise SubscriberError(f"unexpected message {json.dumps(message)[:300]}")
        return self._arrived.popleft()

    def close(self) -> None:
        """End the connection; may be called at any time, more than once."""
        if self._socket is not None:
            try:
                self._socket.close(timeout=1)
            except (websocket.WebSocketException, OSError):
                pass  # the peer has gone already: as good as closed
            # After an error above, websocket-client has left the descriptor open.
            self._socket.shutdown()  # type: ignore[no-untyped-call]
            self._socket = None

    def _send(self, text: str) -> None:
        if self._socket is None:
            raise SubscriberError("not connected")
        try:
            self._socket.send(text)
        except (websocket.WebSocketException, OSError) as error:
            raise SubscriberError(f"cannot send: {error}") from error

    def _wait_for(self, type: str, id: str | None) -> None:
        deadline = time.monotonic() + self._timeout_s
        while True:
            message = self._read(deadline)
            if message is None:
                raise SubscriberError(f"no {type} within {self._timeout_s:g} s")
            if message["type"] == type and message.get("id") == id:
                return
            if message["type"] not in ("ka", "data"):
                raise SubscriberError(f"expected {type}, got {json.dumps(message)[:300]}")

    def _read(self, deadline: float) -> dict[str, Any] | None:
        """The next message, with `data` put aside for `receive`; None after the deadline."""
        if self._socket is None:
            raise SubscriberError("not connected")
        self._socket.settimeout(max(deadline - time.monotonic(), 0.001))
        try:
            opcode, body = self._socket.recv_data()
        except websocket.WebSocketTimeoutException:
            return None
        except (websocket.WebSocketException, OSError) as error:
            raise SubscriberError(f"connection lost: {error}") from error
        if opcode == websocket.ABNF.OPCODE_CLOSE:
            code = int.from_bytes(body[:2], "big") if len(body) >= 2 else 1005
            raise SubscriberError(f"closed with {code} {body[2:].decode(errors='replace')}".rstrip())
        message = json.loads(body)
        if not isinstance(message, dict) or not isinstance(message.get("type"), str):
            raise SubscriberError(f"not a message of the dialect: {body[:300]!r}")
        if message["type"] == "data":
            self._arrived.append(Delivery(message["id"], message["payload"], len(body)))
        return message
