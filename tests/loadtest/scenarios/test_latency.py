import re

from loadtest.marks import Mark
from loadtest.scenarios.latency import measure_latencies, run_latency
from loadtest.stage import Setting, play_on_floor
from loadtest.swarm import Crowd

SETTING = Setting(lambda text: None, scale=0.005, timeout_s=10, quiet_s=0)


def test_every_receipt_has_a_latency():
    outcome = run_latency(SETTING)
    assert outcome.faults == {}
    figures = outcome.figures["service"]
    assert figures["receipts"] == 10 * 5
    assert 0 < figures["p50_ms"] <= figures["p99_ms"] <= figures["max_ms"]
    latency, share = outcome.rows
    assert latency.target
    assert re.fullmatch(r"<= [\d.]+, [\d.]+, [\d.]+ ms", share.value)


def test_what_never_comes_has_no_latency():
    setting = Setting(lambda text: None, timeout_s=0.05, quiet_s=0)
    with play_on_floor(setting, None, Crowd("", "", 2)) as (stage, _):
        stage.publish = lambda marks: None
        assert measure_latencies(stage, lambda: 0, events_per_s=100, seconds=0.05) is None
        assert stage.close_books().faults == {"missing": 10}


def test_latency_counts_from_the_intended_time():
    with play_on_floor(SETTING, None, Crowd("", "", 2)) as (stage, _):
        publish = stage.publish

        def publish_early_intended(marks):
            publish([Mark(mark.room, mark.sequence, mark.intended_ns - 10**12) for mark in marks])

        stage.publish = publish_early_intended
        latencies = measure_latencies(stage, lambda: 0, events_per_s=100, seconds=0.05)
    assert latencies is not None
    assert latencies.p50_ms > 10**6
