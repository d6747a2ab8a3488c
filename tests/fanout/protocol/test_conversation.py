from __future__ import annotations

import dataclasses

import pytest

from fanout.errors import BadRequest
from fanout.model import CloseReason, SubscribeRequest
from fanout.protocol import conversation
from fanout.protocol.conversation import BadMessage, Close, Send, Subscribe


def test_values_are_frozen_slotted_and_compare_by_value() -> None:
    values = [value for value in vars(conversation).values() if dataclasses.is_dataclass(value)]
    own = [value for value in values if value.__module__ == conversation.__name__]
    assert len(own) == 11
    assert all("__slots__" in vars(value) for value in own)
    assert Send(b"x") == Send(b"x")
    with pytest.raises(dataclasses.FrozenInstanceError):
        Send(b"x").message = b"y"  # type: ignore[misc]


def test_a_bad_message_is_the_client_s_fault_and_may_name_a_subscription() -> None:
    bad = BadMessage("no", id="1")
    assert isinstance(bad, BadRequest)
    assert bad.id == "1"
    assert bad.errors == [{"errorType": "BadRequestException", "message": "no", "errorCode": 400}]
    assert BadMessage("no").id is None


def test_effects_name_what_the_gateway_needs() -> None:
    request = SubscribeRequest("subscription { a }", None, {}, {})
    assert Subscribe("1", b'"1"', request, 7) != Subscribe("1", b'"1"', request, 8)
    assert Close(CloseReason.NORMAL).detail == ""
