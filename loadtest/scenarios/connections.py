"""Scenarios of many quiet connections: what they cost the gateway to make, to hold and to keep alive."""

from __future__ import annotations

import time

from loadtest.measure import Memory, read_cpu_seconds, read_memory
from loadtest.processes import Service
from loadtest.report import Outcome, Row, judge
from loadtest.scenarios.series import gather_faults, run_lock_step
from loadtest.stage import Setting, play_on_service
from loadtest.swarm import Crowd

_CONNECTIONS_PER_S = 2_500
_BYTES_PER_CONNECTION, _BYTES_PER_SUBSCRIPTION = 8 * 1024, 1024
_MANY_SUBSCRIPTIONS = 5
_ROOMS = 1_000
_IDLE_CPU = 0.03
# One interval of `ka`, and what the gateway's clock of a second and the last connections' turn may add to it.
_KEEP_ALIVE_S, _KEEP_ALIVE_SPARE_S = 60.0, 3.0
_COMPRESSED_BYTES_PER_CONNECTION = 10 * 1024


def run_memory(setting: Setting) -> Outcome:
    """10,000 connections with one subscription each, and with five, in 1,000 rooms; and how fast they were made."""
    count, rooms = setting.shrink(10_000), setting.shrink(_ROOMS)
    per_connection, rates, cpu_rates, books = [], [], [], []
    after_events = 0.0
    for subscriptions in (1, _MANY_SUBSCRIPTIONS):
        before: list[Memory] = []
        cpu_before: list[float] = []

        def look(service: Service, before: list[Memory] = before, cpu: list[float] = cpu_before) -> None:
            before.append(read_memory(service.pid))
            cpu.append(read_cpu_seconds(service.pid))

        def crowd(url: str, key: str, subscriptions: int = subscriptions) -> Crowd:
            return Crowd(url, key, count, rooms, subscriptions)

        setting.progress(f"{subscriptions} a connection")
        with play_on_service(setting, crowd, before_connecting=look) as (stage, service):
            cpu_rates.append(count / (read_cpu_seconds(service.pid) - cpu_before[0]))
            connected = read_memory(service.pid)
            per_connection.append((connected.resident_bytes - before[0].resident_bytes) / count)
            rates.append(count / stage.connect_seconds)
            marks = [stage.draw(room) for room in range(rooms)]
            stage.publish(marks)
            stage.await_receipts()
            if subscriptions == 1:
                after_events = (read_memory(service.pid).resident_bytes - before[0].resident_bytes) / count
            books.append(stage.close_books())
    extra = (per_connection[1] - per_connection[0]) / (_MANY_SUBSCRIPTIONS - 1)
    faults, examples = gather_faults(*books)
    rows = [
        judge(
            "memory",
            f"resident bytes per connection with one subscription, {count:,} connections in {rooms:,} rooms",
            f"{per_connection[0]:,.0f} ({after_events:,.0f} after an event to each)",
            f"<= {_BYTES_PER_CONNECTION:,}",
            is_met=per_connection[0] <= _BYTES_PER_CONNECTION,
        ),
        judge(
            "memory",
            f"of which each further subscription, from connections with {_MANY_SUBSCRIPTIONS}",
            f"{extra:,.0f}",
            f"<= {_BYTES_PER_SUBSCRIPTION:,}",
            is_met=extra <= _BYTES_PER_SUBSCRIPTION,
        ),
        judge(
            "memory",
            f"connect + init + start per second; {cpu_rates[0]:,.0f} per second of the gateway's processor time",
            f"{rates[0]:,.0f}",
            f">= {_CONNECTIONS_PER_S:,}",
            is_met=rates[0] >= _CONNECTIONS_PER_S,
        ),
    ]
    figures = {
        "connections": count,
        "rooms": rooms,
        "bytes_per_connection": per_connection[0],
        "bytes_per_connection_after_events": after_events,
        "bytes_per_connection_with_5_subscriptions": per_connection[1],
        "bytes_per_further_subscription": extra,
        "connections_per_second": rates[0],
        "connections_per_cpu_second": cpu_rates[0],
        "connections_per_second_with_5_subscriptions": rates[1],
    }
    return Outcome("memory", rows, figures, faults, examples)


def run_idle(setting: Setting) -> Outcome:
    """Processor time of 15,000 connections to which nothing but `ka` is sent, over one interval of it."""
    count, rooms = setting.shrink(15_000), setting.shrink(_ROOMS)
    seconds = _KEEP_ALIVE_S + _KEEP_ALIVE_SPARE_S if setting.scale == 1 else 1.0
    with play_on_service(setting, lambda url, key: Crowd(url, key, count, rooms)) as (stage, _):
        before, began, kept_alive = stage.read_cpu(), time.monotonic(), stage.fleet.keep_alives
        while (left := began + seconds - time.monotonic()) > 0:
            setting.progress(f"{left:.0f} s left")
            time.sleep(min(left, 1.0))
        elapsed = time.monotonic() - began
        server, redis, _ = (
            (later - earlier) / elapsed for earlier, later in zip(before, stage.read_cpu(), strict=True)
        )
        keep_alives = stage.fleet.keep_alives - kept_alive
        books = stage.close_books()
    faults, examples = gather_faults(books)
    if setting.scale == 1 and keep_alives < count:
        faults, examples = faults | {"ka": count - keep_alives}, [*examples, f"{keep_alives} of {count} ka came"]
    rows = [
        judge(
            "idle",
            f"{count:,} connections, {keep_alives:,} `ka` in {elapsed:.0f} s: share of a core (Redis {redis:.1%})",
            f"{server:.1%}",
            f"<= {_IDLE_CPU:.0%}",
            is_met=server <= _IDLE_CPU,
        )
    ]
    figures = {
        "connections": count,
        "seconds": elapsed,
        "keep_alives": keep_alives,
        "gateway_cores": server,
        "redis_cores": redis,
    }
    return Outcome("idle", rows, figures, faults, examples)


def run_compression(setting: Setting) -> Outcome:
    """Permessage-deflate on: memory per connection, and sends to 10,000 subscribers of one room."""
    count, rounds = setting.shrink(10_000), setting.shrink(20, 3)
    before: list[Memory] = []

    def look(service: Service) -> None:
        before.append(read_memory(service.pid))

    with play_on_service(
        setting,
        lambda url, key: Crowd(url, key, count, deflate=True),
        environment={"FANOUT_COMPRESSION": "true"},
        before_connecting=look,
    ) as (stage, service):
        per_connection = (read_memory(service.pid).resident_bytes - before[0].resident_bytes) / count
        series = run_lock_step(stage, rounds)
        books = stage.close_books()
    faults, examples = gather_faults(books)
    rows = [
        judge(
            "compression",
            f"resident bytes per connection, {count:,} connections",
            f"{per_connection:,.0f}",
            f"<= {_COMPRESSED_BYTES_PER_CONNECTION:,}",
            is_met=per_connection <= _COMPRESSED_BYTES_PER_CONNECTION,
        ),
        Row(
            "compression",
            "1 event to all: sends/s; bytes of a message",
            f"{series.per_second:,.0f}/s, {series.per_cpu_second:,.0f} per processor second; "
            f"{series.bytes_per_receipt:.0f} bytes",
        ),
    ]
    figures = {"connections": count, "bytes_per_connection": per_connection, "service": series.to_figures()}
    return Outcome("compression", rows, figures, faults, examples)
