"""Dispatch writes each event once per matching subscriber, in order, joined per batch, and shares the work."""

from typing import Any

import orjson

from fanout.engine import Dispatcher, Registry
from fanout.metrics import Metrics
from fanout.model import Event
from filters import MATCH_ALL, Filter, build_equality_filter


class CountingProjection:
    def __init__(self, key: str = "p") -> None:
        self.key = key
        self.calls = 0

    def project(self, data: object) -> bytes:
        self.calls += 1
        if isinstance(data, dict) and data.get("broken"):
            raise RuntimeError("defect")
        return orjson.dumps(data)

    def too_large(self, size: int, limit: int) -> bytes:
        return b"told %d > %d" % (size, limit)


def join(payloads: Any, id_length: int) -> list[bytes]:
    parts = [b"<"]
    for payload in payloads[:-1]:
        parts.append(b":" + payload + b"><")
    return [*parts, b":" + payloads[-1] + b">"]


class Fixture:
    def __init__(self, max_payload_bytes: int = 1000) -> None:
        self.metrics = Metrics()
        self.registry = Registry(self.metrics)
        self.now_ms = 5
        links = {"create": ("onCreate", "onAny"), "other": ("onAny",), "unlinked": ()}
        self.dispatcher = Dispatcher(
            self.registry, links.__getitem__, max_payload_bytes, self.metrics, lambda: self.now_ms
        )
        self.written: dict[str, list[bytes]] = {}

    def subscribe(self, name: str, field: str, filter: Filter = MATCH_ALL, projection: Any = None) -> Any:
        group, _ = self.registry.find_or_create(field, filter, projection or CountingProjection(), "appsync", join)
        self.written[name] = []
        return self.registry.add(group, b'"%b"' % name.encode(), self.written[name].append)

    def deliver(self, *events: tuple[str, dict[str, Any]]) -> None:
        self.dispatcher.deliver(
            "s", [Event(f"1-{i}", mutation, data, orjson.dumps(data), 0) for i, (mutation, data) in enumerate(events)]
        )


def test_a_batch_is_one_write_per_subscriber_in_order() -> None:
    fixture = Fixture()
    fixture.subscribe("a", "onCreate")
    fixture.subscribe("longer", "onCreate")
    fixture.deliver(("create", {"n": 1}), ("create", {"n": 2}), ("create", {"n": 3}))
    assert fixture.written["a"] == [b'<"a":{"n":1}><"a":{"n":2}><"a":{"n":3}>']
    assert fixture.written["longer"] == [b'<"longer":{"n":1}><"longer":{"n":2}><"longer":{"n":3}>']
    assert fixture.metrics.deliveries == 6
    assert sum(fixture.metrics.publish_to_write.counts) == 6


def test_only_matching_subscribers_of_linked_fields_are_written_to() -> None:
    fixture = Fixture()
    fixture.subscribe("one", "onCreate", build_equality_filter({"room": "1"}))
    fixture.subscribe("two", "onCreate", build_equality_filter({"room": "2"}))
    fixture.subscribe("any", "onAny")
    fixture.deliver(("create", {"room": "1"}), ("other", {"room": "2"}), ("unlinked", {"room": "1"}))
    assert fixture.written["one"] == [b'<"one":{"room":"1"}>']
    assert fixture.written["two"] == []
    assert fixture.written["any"] == [b'<"any":{"room":"1"}><"any":{"room":"2"}>']
    assert fixture.metrics.events_matched == 2


def test_a_selection_is_projected_once_per_event_for_all_filters_that_share_it() -> None:
    fixture = Fixture()
    projection = CountingProjection()
    fixture.subscribe("a", "onCreate", build_equality_filter({"room": "1"}), projection)
    fixture.subscribe("b", "onCreate", build_equality_filter({"room": "1", "kind": None}), projection)
    fixture.subscribe("c", "onCreate", MATCH_ALL, projection)
    fixture.deliver(("create", {"room": "1"}))
    assert projection.calls == 1
    assert all(fixture.written.values())


def test_a_payload_over_the_limit_is_told_not_dropped() -> None:
    fixture = Fixture(max_payload_bytes=10)
    fixture.subscribe("a", "onCreate")
    fixture.deliver(("create", {"n": "x" * 20}), ("create", {"n": 1}))
    assert fixture.written["a"] == [b'<"a":told 28 > 10><"a":{"n":1}>']
    assert fixture.metrics.drops["payload-too-large"] == 1


def test_a_defect_in_one_event_does_not_stop_the_others(caplog: Any) -> None:
    fixture = Fixture()
    fixture.subscribe("a", "onCreate")
    fixture.deliver(("create", {"broken": True}), ("create", {"n": 2}))
    assert len(fixture.written["a"]) == 1
    assert b'"errorType":"InternalError"' in fixture.written["a"][0]
    assert fixture.written["a"][0].endswith(b'<"a":{"n":2}>')
    assert fixture.metrics.drops["internal-error"] == 1
    assert "could not be projected" in caplog.text


def test_a_defect_while_matching_does_not_stop_the_others(caplog: Any, monkeypatch: Any) -> None:
    fixture = Fixture()
    fixture.subscribe("a", "onCreate")
    match = fixture.registry.match

    def fail_once(field: str, data: object) -> Any:
        monkeypatch.setattr(fixture.registry, "match", match)
        raise RuntimeError("defect")

    monkeypatch.setattr(fixture.registry, "match", fail_once)
    fixture.deliver(("create", {"n": 1}), ("create", {"n": 2}))
    assert fixture.written["a"] == [b'<"a":{"n":2}>']
    assert "could not be delivered" in caplog.text


def test_large_bursts_are_written_in_pieces_and_stay_in_order() -> None:
    fixture = Fixture(max_payload_bytes=10**6)
    fixture.subscribe("a", "onCreate")
    fixture.deliver(*(("create", {"n": number, "text": "x" * 100_000}) for number in range(7)))
    assert len(fixture.written["a"]) > 1
    numbers = [
        orjson.loads(part[5:-1])["n"] for part in b"".join(fixture.written["a"]).replace(b"><", b">\n<").split(b"\n")
    ]
    assert numbers == list(range(7))


def test_a_group_without_members_costs_no_projection() -> None:
    fixture = Fixture()
    projection = CountingProjection()
    fixture.registry.find_or_create("onCreate", MATCH_ALL, projection, "appsync", join)
    fixture.deliver(("create", {}))
    assert projection.calls == 0


def test_a_delivery_is_noted_for_the_group() -> None:
    fixture = Fixture()
    subscription = fixture.subscribe("a", "onCreate")
    fixture.now_ms = 77
    fixture.deliver(("create", {}))
    assert subscription.group.last_delivery_ms == 77


def test_positions_are_told_to_those_who_ask_and_cost_the_others_nothing() -> None:
    asked: list[tuple[str, str]] = []

    def write_position(stream: str, event_id: str) -> bytes:
        asked.append((stream, event_id))
        return f"{stream}@{event_id}".encode()

    registry = Registry(Metrics())
    dispatcher = Dispatcher(registry, lambda mutation: ("onX",), 1000, Metrics(), lambda: 0, write_position)
    projection = CountingProjection()
    plain: list[bytes] = []
    with_positions: list[bytes] = []
    group, _ = registry.find_or_create("onX", MATCH_ALL, projection, "f", join)
    registry.add(group, b'"p"', plain.append)
    event = Event("1-0", "createX", {"a": 1}, b"", 0)
    dispatcher.deliver("s", [event])
    assert asked == []
    group, is_new = registry.find_or_create("onX", MATCH_ALL, projection, "f+positions", join, True)
    assert is_new
    for name in (b'"q"', b'"r"'):
        registry.add(group, name, with_positions.append)
    dispatcher.deliver("s", [event])
    assert asked == [("s", "1-0")]
    assert projection.calls == 2
    assert plain == [b'<"p":{"a":1}>'] * 2
    told = b'{"a":1,"extensions":{"fanout":{"position":"s@1-0"}}}'
    assert with_positions == [b'<"q":' + told + b">", b'<"r":' + told + b">"]
