"""Close reasons follow RFC 6455 section 7.4 and can be told apart."""

import pytest

from fanout.model import CloseReason, Extensions, OverflowPolicy, SubscribeRequest


@pytest.mark.parametrize("reason", CloseReason)
def test_a_reason_can_be_sent(reason: CloseReason) -> None:
    assert reason.code in {1000, 1002, 1003, 1007, 1009, 1011, 1012} or 4000 <= reason.code < 5000
    assert 0 < len(reason.text.encode()) <= 123


def test_labels_and_codes_are_distinct() -> None:
    assert len({reason.label for reason in CloseReason}) == len(CloseReason)
    shared = [reason for reason in CloseReason if reason.code == 1011]
    assert shared == [CloseReason.INTERNAL_ERROR, CloseReason.INIT_REFUSED]
    assert len({reason.code for reason in CloseReason}) == len(CloseReason) - 1


def test_nothing_is_asked_for_unless_it_is_said() -> None:
    extensions = SubscribeRequest("q", None, {}, {}).extensions
    assert extensions == Extensions()
    assert not extensions.wants_positions
    assert extensions.after is None
    assert extensions.overflow.policy is OverflowPolicy.CLOSE
