"""Metrics as Prometheus reads them, judged by the parser of its own client library."""

from __future__ import annotations

from dataclasses import fields

import httpx
import pytest
from fastapi import FastAPI
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from fanout.metrics import LATENCY_BOUNDS_SECONDS, Metrics
from fanout.model import CloseReason, DialectName
from fanout.web.exposition import COUNTERS, GAUGES, HISTOGRAMS, MetricsCollector, build_metrics_router


async def _scrape(metrics: Metrics, accept: str = "") -> httpx.Response:
    app = FastAPI(openapi_url=None)
    app.include_router(build_metrics_router(metrics))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client:
        return await client.get("/metrics", headers={"accept": accept})


async def _read(metrics: Metrics) -> dict[tuple[str, str], float]:
    """Every sample by name and its only label value, or an empty string."""
    families = parse_text((await _scrape(metrics)).text)
    return {(s.name, next(iter(s.labels.values()), "")): s.value for family in families for s in family.samples}


def test_every_figure_is_shown_once() -> None:
    assert sorted(row.field for row in GAUGES + COUNTERS + HISTOGRAMS) == sorted(
        field.name for field in fields(Metrics)
    )


async def test_plain_figures() -> None:
    metrics = Metrics(subscriptions=3, events_in=2**53, deliveries=7)
    samples = await _read(metrics)
    assert samples["fanout_subscriptions", ""] == 3
    assert samples["fanout_events_in_total", ""] == 2**53
    assert samples["fanout_deliveries_total", ""] == 7
    assert samples["fanout_groups", ""] == 0


async def test_labelled_figures() -> None:
    metrics = Metrics()
    metrics.connections[DialectName.APPSYNC] += 2
    metrics.drops['too "large"\n'] += 1
    metrics.closes["slow-client"] += 4
    samples = await _read(metrics)
    assert samples["fanout_connections", "appsync"] == 2
    assert samples["fanout_drops_total", 'too "large"\n'] == 1
    assert samples["fanout_closes_total", "slow-client"] == 4


async def test_known_labels_are_there_before_they_occur() -> None:
    samples = await _read(Metrics())
    assert {label for name, label in samples if name == "fanout_connections"} == {d.value for d in DialectName}
    closes = {label for name, label in samples if name == "fanout_closes_total"}
    assert closes == {*(reason.label for reason in CloseReason), "client", "lost"}


async def test_a_scrape_shows_the_present() -> None:
    metrics = Metrics()
    app = FastAPI(openapi_url=None)
    app.include_router(build_metrics_router(metrics))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client:
        assert "\nfanout_groups 0.0\n" in (await client.get("/metrics")).text
        metrics.groups = 5
        assert "\nfanout_groups 5.0\n" in (await client.get("/metrics")).text


@given(st.lists(st.tuples(st.floats(0, 20), st.integers(1, 1000))))
def test_the_histogram_counts_what_a_bound_holds(observed: list[tuple[float, int]]) -> None:
    metrics = Metrics()
    for seconds, times in observed:
        metrics.publish_to_write.observe(seconds, times)
    family = next(f for f in MetricsCollector(metrics).collect() if f.name == "fanout_publish_to_write_seconds")
    buckets = {s.labels["le"]: s.value for s in family.samples if s.name.endswith("_bucket")}
    values = {s.name: s.value for s in family.samples if not s.labels}
    for bound in LATENCY_BOUNDS_SECONDS:
        assert buckets[str(bound)] == sum(times for seconds, times in observed if seconds <= bound)
    assert buckets["+Inf"] == values["fanout_publish_to_write_seconds_count"] == sum(times for _, times in observed)
    assert values["fanout_publish_to_write_seconds_sum"] == pytest.approx(sum(s * times for s, times in observed))


async def test_the_process_itself_is_shown() -> None:
    assert (await _read(Metrics()))["process_open_fds", ""] > 0


async def test_two_apps_in_one_process_do_not_meet() -> None:
    assert (await _read(Metrics(groups=1)))["fanout_groups", ""] == 1
    assert (await _read(Metrics(groups=2)))["fanout_groups", ""] == 2


async def test_openmetrics_for_a_scraper_that_asks() -> None:
    metrics = Metrics(deliveries=7)
    metrics.publish_to_write.observe(0.003)
    response = await _scrape(metrics, "application/openmetrics-text; version=1.0.0")
    assert response.headers["content-type"].startswith("application/openmetrics-text")
    families = {family.name: family for family in parse_openmetrics(response.text)}
    assert families["fanout_deliveries"].samples[0].value == 7
    plain = await _scrape(metrics)
    assert plain.headers["content-type"].startswith("text/plain")
