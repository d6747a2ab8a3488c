"""What the load tests say to the built-in chat API: documents, bodies, and the mark that identifies a message.

A message's `content` is its mark: a key that is unique in the whole test, whichever process published it.
"""

from __future__ import annotations

from typing import Any

SUBSCRIPTION_FIELD = "onCreateMessage"
MUTATION = "createMessage"

SUBSCRIBE = """subscription OnCreateMessage($roomId: ID) {
  onCreateMessage(roomId: $roomId) { id roomId author content createdAt }
}"""

# A room of one's own, and another one: a single subscription hears both.
SUBSCRIBE_TO_ROOMS = """subscription OnCreateMessage($rooms: [ID!]) {
  onCreateMessage(filter: {roomId: {in: $rooms}}) { id roomId author content createdAt }
}"""

CREATE = """mutation CreateMessage($input: CreateMessageInput!) {
  createMessage(input: $input) { id roomId author content createdAt }
}"""


def build_message(key: str, room: str, created_at: str) -> dict[str, Any]:
    """A finished message, as a service of one's own would publish it through the stream or `/events`."""
    return {"id": key, "roomId": room, "author": "load test", "content": key, "createdAt": created_at}


def build_event(key: str, room: str, created_at: str) -> dict[str, Any]:
    """Body of `POST /events`."""
    return {"mutation": MUTATION, "data": build_message(key, room, created_at)}


def build_mutation(key: str, room: str) -> dict[str, Any]:
    """Body of `POST /graphql`."""
    return {"query": CREATE, "variables": {"input": {"roomId": room, "author": "load test", "content": key}}}


def read_key(payload: Any) -> str:
    """The key of the message in a subscription's payload.

    Raises:
        ValueError: the payload holds errors, or no message.
    """
    match payload:
        case {"data": {"onCreateMessage": {"content": str(key)}}} if "errors" not in payload:
            return key
        case _:
            raise ValueError(f"payload without a message: {str(payload)[:300]}")
