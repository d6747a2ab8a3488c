"""The process's figures for Prometheus: `fanout.metrics.Metrics` as metric families. Knows no other room.

Hot paths count in plain integers; only a scrape pays for making metrics of them. docs/operations.md lists the
names. One process answers for itself: with several workers on one port, each scrape reaches one of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from itertools import accumulate

from fastapi import APIRouter, Request, Response
from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

from fanout.metrics import Histogram, Metrics
from fanout.model import CloseReason, DialectName

PREFIX = "fanout_"


@dataclass(frozen=True, slots=True)
class _Row:
    """How one field of `Metrics` is shown.

    Args:
        known: label values that are shown as 0 before they occur, so that a first occurrence is an increase.
    """

    field: str
    help: str
    label: str = ""
    known: tuple[str, ...] = ()


_DIALECTS = tuple(dialect.value for dialect in DialectName)
_CLOSE_REASONS = (*(reason.label for reason in CloseReason), "client", "lost")

RELOAD_OUTCOMES = ("applied", "refused")
RESOLVER_OUTCOMES = ("value", "error", "failure", "limit", "unavailable", "cancelled")

GAUGES = (
    _Row("connections", "Open WebSocket connections by dialect.", "dialect", _DIALECTS),
    _Row("subscriptions", "Live subscriptions."),
    _Row("groups", "Distinct combinations of field, filter, selection and dialect among the subscriptions."),
    _Row("buckets", "Buckets that this gateway is registered in."),
    _Row("routed_streams", "Event streams whose router this gateway is."),
)
COUNTERS = (
    _Row("connects", "WebSocket upgrades accepted."),
    _Row("refusals", "Upgrades, initialisations, subscriptions and HTTP requests refused, by reason.", "reason"),
    _Row("closes", "Connections closed, by reason.", "reason", _CLOSE_REASONS),
    _Row("events_in", "Events taken by this gateway for delivery."),
    _Row("events_matched", "Events that at least one subscription of this gateway matched."),
    _Row("deliveries", "Messages written to subscribers."),
    _Row("drops", "Payloads or events not delivered, by reason.", "reason"),
    _Row("events_routed", "Events read from streams by this gateway as their router."),
    _Row("events_forwarded", "Events appended to the inboxes of other gateways."),
    _Row("events_published", "Events appended to a stream by way of the HTTP side of this gateway."),
    _Row("dead_letters", "Malformed stream entries put aside."),
    _Row("duplicates", "Events dropped because their idempotency key was seen before."),
    _Row("resumes", "Subscriptions that began after a position that their client gave."),
    _Row("entries_replayed", "Stream entries read again for subscriptions that resume."),
    _Row("replayed", "Messages written to subscribers from the past of a stream, counted as deliveries too."),
    _Row("paths_over_limit", "Registrations placed in the catch-all bucket because of `max_indexed_paths`."),
    _Row("missed", "Times that clients were told that events may have been missed, by reason.", "reason"),
    _Row("subscriptions_ended", "Subscriptions ended by the service one by one, by reason.", "reason"),
    _Row("admin_calls", "Calls of the admin API answered by this gateway, by what was asked for.", "call"),
    _Row("reloads", "Times that configuration and schema were read again, by outcome.", "outcome", RELOAD_OUTCOMES),
    _Row("resolutions", "Fields that resolvers were run for, by what came of it.", "outcome", RESOLVER_OUTCOMES),
    _Row("data_source_failures", "Requests of resolvers that a data source failed, by its name.", "source"),
)
HISTOGRAMS = (
    _Row("publish_to_write", "Seconds from the publish time of an event to its last write, once per delivery."),
)


class MetricsCollector(Collector):
    """Shows the `Metrics` that it was given, as they are at the moment of the scrape."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def collect(self) -> Iterable[Metric]:
        """All metric families; costs one pass over the fields."""
        for row in GAUGES:
            gauge = GaugeMetricFamily(PREFIX + row.field, row.help, labels=_label_names(row))
            for labels, value in self._read(row):
                gauge.add_metric(labels, value)
            yield gauge
        for row in COUNTERS:
            counter = CounterMetricFamily(PREFIX + row.field, row.help, labels=_label_names(row))
            for labels, value in self._read(row):
                counter.add_metric(labels, value)
            yield counter
        for row in HISTOGRAMS:
            histogram: Histogram = getattr(self._metrics, row.field)
            yield HistogramMetricFamily(
                f"{PREFIX}{row.field}_seconds", row.help, buckets=_accumulate(histogram), sum_value=histogram.sum
            )

    def _read(self, row: _Row) -> Iterator[tuple[list[str], float]]:
        value: int | Mapping[str, int] = getattr(self._metrics, row.field)
        if isinstance(value, int):
            yield [], value
            return
        # Formatting a `str` enum gives its member's name, hence `.value`.
        counts = dict.fromkeys(row.known, 0)
        counts.update((key.value if isinstance(key, Enum) else key, count) for key, count in value.items())
        for key, count in counts.items():
            yield [key], count


def build_metrics_router(metrics: Metrics) -> APIRouter:
    """The route `/metrics`, in Prometheus' text format or OpenMetrics as the scraper asks for; needs no key."""
    # A registry of our own: the library's global one would keep the figures of every app made in this process.
    registry = CollectorRegistry()
    registry.register(MetricsCollector(metrics))
    ProcessCollector(registry=registry)
    router = APIRouter()

    @router.get("/metrics")
    async def show_metrics(request: Request) -> Response:
        encode, content_type = choose_encoder(request.headers.get("accept", ""))
        return Response(encode(registry), headers={"Content-Type": content_type})

    return router


def _label_names(row: _Row) -> tuple[str, ...]:
    return (row.label,) if row.label else ()


def _accumulate(histogram: Histogram) -> list[tuple[str, float]]:
    """Prometheus' buckets count everything up to their bound, ours only what lies between two bounds."""
    bounds = [*map(floatToGoString, histogram.bounds), "+Inf"]
    return list(zip(bounds, accumulate(histogram.counts), strict=True))
