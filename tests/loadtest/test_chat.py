import pytest

from loadtest import chat


def test_both_ways_of_publishing_carry_the_key_and_the_room():
    event = chat.build_event("k", "r", "2026-01-01T00:00:00.000Z")
    assert event["mutation"] == "createMessage"
    mutation = chat.build_mutation("k", "r")
    for message in (event["data"], mutation["variables"]["input"]):
        assert (message["content"], message["roomId"]) == ("k", "r")


def test_key_is_read_from_a_payload():
    assert chat.read_key({"data": {"onCreateMessage": chat.build_message("k", "r", "")}}) == "k"


@pytest.mark.parametrize(
    "payload",
    [
        None,
        {},
        {"data": None},
        {"data": {"onCreateMessage": None}},
        {"data": {"onCreateMessage": {"content": None}}},
        {"data": {"onCreateMessage": {"content": "k"}}, "errors": [{"message": "m"}]},
    ],
)
def test_payload_without_a_whole_message_is_refused(payload):
    with pytest.raises(ValueError, match="without a message"):
        chat.read_key(payload)
