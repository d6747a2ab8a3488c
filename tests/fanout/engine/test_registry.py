"""The registry behaves like a plain dict of subscriptions under any sequence of operations."""

from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from fanout.engine.registry import Pending, Registry, Subscription
from fanout.metrics import Metrics
from fanout.model import Bucket
from filters import MATCH_ALL, build_equality_filter

FIELDS = ("onA", "onB")
FILTERS = (MATCH_ALL, build_equality_filter({"room": "1"}), build_equality_filter({"room": "2", "kind": None}))
EVENTS: tuple[dict[str, Any], ...] = ({}, {"room": "1"}, {"room": "2"}, {"room": "2", "kind": "x"})


class NamedProjection:
    def __init__(self, key: str) -> None:
        self.key = key

    def project(self, data: object) -> bytes:
        return repr(data).encode()

    def too_large(self, size: int, limit: int) -> bytes:
        return b"too large"


PROJECTIONS = (NamedProjection("p"), NamedProjection("q"))


def join(payloads: Any, id_length: int) -> list[bytes]:
    return [b"", *payloads]


class RegistryMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.metrics = Metrics()
        self.registry = Registry(self.metrics)
        self.model: dict[Subscription, tuple[str, int, int, bytes]] = {}

    @rule(
        field=st.sampled_from(FIELDS),
        filter_number=st.integers(0, len(FILTERS) - 1),
        projection_number=st.integers(0, 1),
        id=st.sampled_from([b'"1"', b'"22"', b'"333"']),
    )
    def add(self, field: str, filter_number: int, projection_number: int, id: bytes) -> None:
        group, is_new = self.registry.find_or_create(
            field, FILTERS[filter_number], PROJECTIONS[projection_number], "appsync", join
        )
        known = {entry[:3] for entry in self.model.values()}
        assert is_new == ((field, filter_number, projection_number) not in known)
        subscription = self.registry.add(group, id, lambda data: None)
        self.model[subscription] = (field, filter_number, projection_number, id)

    @rule(data=st.data())
    def remove(self, data: st.DataObject) -> None:
        if not self.model:
            return
        subscription = data.draw(st.sampled_from(list(self.model)))
        removed = self.model.pop(subscription)
        is_unused = self.registry.remove(subscription)
        assert is_unused == (removed[:3] not in {entry[:3] for entry in self.model.values()})
        if is_unused:
            self.registry.drop(subscription.group)

    @invariant()
    def an_event_finds_exactly_the_matching_members(self) -> None:
        expected_by_filter = {0: lambda e: True, 1: lambda e: e.get("room") == "1"}
        expected_by_filter[2] = lambda e: e.get("room") == "2" and e.get("kind") is None
        for field in FIELDS:
            for event in EVENTS:
                found = [
                    member
                    for group in self.registry.match(field, event)
                    for members in group.members.values()
                    for member in members
                ]
                expected = {
                    s for s, entry in self.model.items() if entry[0] == field and expected_by_filter[entry[1]](event)
                }
                assert len(found) == len(expected)
                assert set(found) == expected

    @invariant()
    def gauges_count_what_is_there(self) -> None:
        assert self.metrics.subscriptions == len(self.model)
        assert self.metrics.groups == len(self.registry.groups) == len({entry[:3] for entry in self.model.values()})


RegistryMachine.TestCase.settings = settings(max_examples=50, stateful_step_count=30, deadline=None)
TestRegistry = RegistryMachine.TestCase


def test_a_group_knows_its_buckets() -> None:
    registry = Registry(Metrics())
    group, _ = registry.find_or_create("onA", FILTERS[1], PROJECTIONS[0], "appsync", join)
    assert {(bucket.field, bucket.path) for bucket in group.buckets} == {("onA", "room")}
    everything, _ = registry.find_or_create("onA", MATCH_ALL, PROJECTIONS[0], "appsync", join)
    assert everything.buckets == {Bucket("onA", "", "")}


def test_a_group_with_somebody_waiting_is_not_unused() -> None:
    registry = Registry(Metrics())
    group, _ = registry.find_or_create("onA", MATCH_ALL, PROJECTIONS[0], "appsync", join)
    subscription = registry.add(group, b'"1"', lambda data: None)
    group.waiting[Pending(group, lambda: None)] = None
    assert not registry.remove(subscription)


def test_another_write_function_takes_over_while_the_group_is_written_to() -> None:
    registry = Registry(Metrics())
    group, _ = registry.find_or_create("onA", MATCH_ALL, PROJECTIONS[0], "appsync", join)
    first, second = [], []
    subscriptions = [registry.add(group, b'"1"', first.append) for _ in range(3)]
    for subscription, write in group.members[3].items():
        write(b"x")
        registry.redirect(subscriptions[2], second.append)
        assert subscription in subscriptions
    assert (len(first), len(second)) == (2, 1)


def test_projections_are_replaced_and_found_by_their_new_keys() -> None:
    registry = Registry(Metrics())
    groups = [registry.find_or_create("onA", MATCH_ALL, each, "appsync", join)[0] for each in PROJECTIONS]
    same, anew = NamedProjection("p"), NamedProjection("r")
    registry.replace_projections({groups[0]: same, groups[1]: anew})
    assert [group.projection for group in groups] == [same, anew]
    assert registry.find_or_create("onA", MATCH_ALL, NamedProjection("r"), "appsync", join) == (groups[1], False)
    assert set(registry.match("onA", {})) == set(registry.groups) == set(groups)
    # Two that have become one both stay; the first one is found.
    registry.replace_projections({groups[1]: NamedProjection("p")})
    assert registry.find_or_create("onA", MATCH_ALL, PROJECTIONS[0], "appsync", join) == (groups[0], False)
    # Keys that are exchanged do not get in each other's way.
    registry.replace_projections({groups[0]: NamedProjection("q"), groups[1]: NamedProjection("p")})
    assert registry.find_or_create("onA", MATCH_ALL, NamedProjection("p"), "appsync", join) == (groups[1], False)
    for group in groups:
        registry.drop(group)
    assert len(registry.groups) == 0
