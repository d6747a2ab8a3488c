"""The data path: a batch of events in, frames on sockets out. Hot; no await, no JSON per subscriber.

Events that arrive together are written together: one write per subscriber and batch, whatever the number of
events (`id.join(parts)`, one C call). Budget per delivery: ~0.2 us in Python beside the transport's write;
`make bench` and docs/performance.md show it.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence

from fanout.engine.registry import Group, Registry
from fanout.metrics import Metrics
from fanout.model import Event

logger = logging.getLogger("fanout.engine")

# Payload bytes joined into one write at most, so that a burst of large payloads is no second copy of itself.
_JOIN_BYTES = 256 * 1024

_FAILED_PAYLOAD = b'{"data":null,"errors":[{"errorType":"InternalError","message":"the event could not be written"}]}'


def add_position(payload: bytes, position: bytes) -> bytes:
    """A payload (a JSON object with members) that tells its position, as `fanout.engine.History` writes it."""
    return b"".join((payload[:-1], b',"extensions":{"fanout":{"position":"', position, b'"}}}'))


class Dispatcher:
    """Delivers events to the subscriptions of one gateway.

    Args:
        registry: where the subscriptions are.
        fields_of: subscription fields that a mutation triggers.
        max_payload_bytes: larger payloads are replaced by an error that says so.
        metrics: counts what happens.
        now_ms: monotonic clock of the gateway in ms, for idle connections.
        write_position: the position after an event, from its stream and id; for groups that ask for positions.
    """

    def __init__(
        self,
        registry: Registry,
        fields_of: Callable[[str], Sequence[str]],
        max_payload_bytes: int,
        metrics: Metrics,
        now_ms: Callable[[], int],
        write_position: Callable[[str, str], bytes] | None = None,
    ) -> None:
        self._registry = registry
        self._fields_of = fields_of
        self._max_payload_bytes = max_payload_bytes
        self._metrics = metrics
        self._now_ms = now_ms
        self._write_position = write_position

    def deliver(self, stream: str, events: Sequence[Event]) -> None:
        """Write every event to every matching subscription, in the given order. Never waits.

        Cost: per event the match; per matching group and event one projection (shared between groups of the
        same selection); per subscriber one join and one write, however many events.
        """
        pending: dict[Group, list[bytes]] = {}
        pending_bytes = 0
        written: list[tuple[int, int]] = []
        for event in events:
            try:
                matched = self._match(stream, event)
            except Exception:  # our defect with one event must not stop the stream for all others
                logger.exception("event %s of %s (%s) could not be delivered", event.id, stream, event.mutation)
                self._metrics.drops["internal-error"] += 1
                continue
            receivers = 0
            for group, payload in matched:
                payloads = pending.get(group)
                if payloads is None:
                    pending[group] = [payload]
                else:
                    payloads.append(payload)
                pending_bytes += len(payload)
                receivers += group.size
            if receivers:
                self._metrics.events_matched += 1
                written.append((event.at_ms, receivers))
            if pending_bytes > _JOIN_BYTES:
                self._flush(pending, written)
                pending_bytes = 0
        self._flush(pending, written)

    def fields_of(self, mutation: str) -> Sequence[str]:
        """The subscription fields that a mutation triggers."""
        return self._fields_of(mutation)

    def build_payload(self, event: Event, group: Group, receivers: int) -> bytes:
        """What `receivers` subscribers of a group get of an event, without its position; always a JSON object."""
        payload = self._project(event, group, receivers)
        if len(payload) > self._max_payload_bytes:
            self._metrics.drops["payload-too-large"] += receivers
            payload = group.projection.too_large(len(payload), self._max_payload_bytes)
        return payload

    def _match(self, stream: str, event: Event) -> list[tuple[Group, bytes]]:
        payloads: dict[object, bytes] = {}
        position = b""
        matched = []
        for field in self._fields_of(event.mutation):
            for group in self._registry.match(field, event.data):
                if not group.size:
                    continue  # its first subscriber is not acknowledged yet
                projection = group.projection
                payload = payloads.get(projection)
                if payload is None:
                    payload = payloads[projection] = self.build_payload(event, group, group.size)
                if group.is_positioned:
                    assert self._write_position is not None
                    position = position or self._write_position(stream, event.id)
                    payload = add_position(payload, position)
                matched.append((group, payload))
        return matched

    def _project(self, event: Event, group: Group, receivers: int) -> bytes:
        try:
            return group.projection.project(event.data)
        except Exception:  # our defect with one event and selection: those who asked for it are told
            logger.exception("event %s (%s) could not be projected for %s", event.id, event.mutation, group.field)
            self._metrics.drops["internal-error"] += receivers
            return _FAILED_PAYLOAD

    def _flush(self, pending: dict[Group, list[bytes]], written: list[tuple[int, int]]) -> None:
        now_ms = self._now_ms()
        for group, payloads in pending.items():
            group.last_delivery_ms = now_ms
            self._metrics.deliveries += len(payloads) * group.size
            for id_length, members in group.members.items():
                parts = group.join_parts(payloads, id_length)
                for subscription, write in members.items():
                    write(subscription.id_bytes.join(parts))
        pending.clear()
        wall_ms = time.time() * 1000
        for at_ms, receivers in written:
            self._metrics.publish_to_write.observe(max(0.0, (wall_ms - at_ms) / 1000), receivers)
        written.clear()
