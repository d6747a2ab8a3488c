"""Scenarios of throughput: `wide`, `burst` and `rooms`, each beside its floor and `wide` beside the reference."""

from __future__ import annotations

from loadtest.fleet import Books
from loadtest.publisher import draw_rooms
from loadtest.report import Outcome, Row, judge
from loadtest.scenarios.latency import GatewayShare, measure_latencies
from loadtest.scenarios.series import Flood, Series, gather_faults, run_flood, run_lock_step
from loadtest.stage import Setting, play_on_floor, play_on_reference, play_on_service
from loadtest.swarm import Crowd

_WIDE_RATIO, _WIDE_TIMES = 0.65, 3.0
_BURST_EVENTS, _BURST_TIMES = 16, 5.0
_ROOMS_EVENTS, _ROOMS_RECEIPTS, _ROOMS_P99_MS = 8_000, 80_000, 25


def run_wide(setting: Setting) -> Outcome:
    """One event to 10,000 subscribers of one room, one after the other."""
    count, rounds = setting.shrink(10_000), setting.shrink(60, 3)
    setting.progress("service")
    with play_on_service(setting, lambda url, key: Crowd(url, key, count)) as (stage, _):
        served = run_lock_step(stage, rounds)
        books = [stage.close_books()]
    floors, floor_books = _measure_floors(setting, count, rounds)
    setting.progress("reference")
    with play_on_reference(setting, Crowd("", "", count)) as (stage, _):
        reference = run_lock_step(stage, max(rounds // 3, 3))
        books += [*floor_books, stage.close_books()]
    kind, floor = floors[0]
    ratio = min(served.per_second / floor.per_second, served.per_cpu_second / floor.per_cpu_second)
    times = min(served.per_second / reference.per_second, served.per_cpu_second / reference.per_cpu_second)
    faults, examples = gather_faults(*books)
    rows = [
        Row("wide", f"1 event to {count:,} subscribers, {rounds} times, XADD to the last receipt", _rates(served)),
        Row("wide", "time of one event, p50 and max", _times(served)),
        *(Row("wide", f"floor: loop of sends in {name}", _rates(series)) for name, series in floors),
        Row("wide", "reference: FastAPI, `send_text` in a loop", _rates(reference)),
        judge(
            "wide",
            f"sends/s to the floor's ({kind}); by the clock {served.per_second / floor.per_second:.2f}, "
            f"by processor time {served.per_cpu_second / floor.per_cpu_second:.2f}",
            f"{ratio:.2f}",
            f">= {_WIDE_RATIO} (the lower one)",
            is_met=ratio >= _WIDE_RATIO,
        ),
        judge("wide", "sends/s to the reference's", f"{times:.1f}", f">= {_WIDE_TIMES:g}", is_met=times >= _WIDE_TIMES),
    ]
    figures = {
        "connections": count,
        "service": served.to_figures(),
        "floors": {name: series.to_figures() for name, series in floors},
        "reference": reference.to_figures(),
    }
    return Outcome("wide", rows, figures, faults, examples)


def run_burst(setting: Setting) -> Outcome:
    """16 events at a time to 5,000 subscribers of one room."""
    count, rounds = setting.shrink(5_000), setting.shrink(40, 3)
    setting.progress("service")
    with play_on_service(setting, lambda url, key: Crowd(url, key, count), at_once=True) as (stage, _):
        served = run_lock_step(stage, rounds, _BURST_EVENTS)
        books = [stage.close_books()]
    floors, floor_books = _measure_floors(setting, count, rounds)
    kind, floor = floors[0]
    times = served.per_second / floor.per_second
    faults, examples = gather_faults(*books, *floor_books)
    rows = [
        Row("burst", f"{_BURST_EVENTS} events at a time (MULTI) to {count:,} subscribers", _rates(served)),
        *(Row("burst", f"floor: loop of sends in {name}, not joined", _rates(series)) for name, series in floors),
        judge(
            "burst",
            f"messages/s to the floor's sends/s ({kind}); "
            f"by processor time {served.per_cpu_second / floor.per_cpu_second:.1f}",
            f"{times:.1f}",
            f">= {_BURST_TIMES:g}",
            is_met=times >= _BURST_TIMES,
        ),
    ]
    figures = {
        "connections": count,
        "service": served.to_figures(),
        "floors": {name: series.to_figures() for name, series in floors},
    }
    return Outcome("burst", rows, figures, faults, examples)


def run_rooms(setting: Setting) -> Outcome:
    """10,000 subscribers in 1,000 rooms of 10; random rooms, as fast as events are taken."""
    rooms, seconds = setting.shrink(1_000), max(15 * setting.scale, 0.5)
    crowd = Crowd("", "", rooms * 10, rooms)
    setting.progress("service")
    with play_on_service(setting, lambda url, key: Crowd(url, key, crowd.count, rooms)) as (stage, service):
        run_flood(stage, min(seconds, 2.0))
        served = run_flood(stage, seconds)
        rate = served.events_per_second / 2
        setting.progress(f"latency at {rate:,.0f} events/s")
        draw_room = draw_rooms(rooms, rooms)
        share = GatewayShare(service.url)
        latencies = measure_latencies(stage, draw_room, events_per_s=rate, seconds=seconds)
        shown = share.to_row("rooms")
        books = [stage.close_books()]
    setting.progress("floor")
    with play_on_floor(setting, setting.floor_program, crowd) as (stage, target):
        floor = run_flood(stage, seconds / 3)
        books.append(stage.close_books())
    faults, examples = gather_faults(*books)
    rows = [
        judge(
            "rooms",
            f"{crowd.count:,} subscribers in {rooms:,} rooms of 10, random rooms: events/s",
            f"{served.events_per_second:,.0f}",
            f">= {_ROOMS_EVENTS:,}",
            is_met=served.events_per_second >= _ROOMS_EVENTS,
        ),
        judge(
            "rooms",
            "deliveries/s",
            f"{served.receipts_per_second:,.0f}",
            f">= {_ROOMS_RECEIPTS:,}",
            is_met=served.receipts_per_second >= _ROOMS_RECEIPTS,
        ),
        Row("rooms", "cores used by gateway, Redis, clients with publisher", _usage(served)),
        Row(
            "rooms",
            f"floor: loop of sends in {target.kind}, no Redis: deliveries/s; cores used",
            f"{floor.receipts_per_second:,.0f}; {_usage(floor)}",
        ),
        Row(
            "rooms", "deliveries per second of the server's processor time, service and floor", _per_cpu(served, floor)
        ),
    ]
    if latencies is not None:
        rows.append(
            judge(
                "rooms",
                f"latency at half of that, {rate:,.0f} events/s: p50, p99, max",
                latencies.describe(),
                f"p99 <= {_ROOMS_P99_MS} ms",
                is_met=latencies.p99_ms <= _ROOMS_P99_MS,
            )
        )
        rows.append(shown)
    figures = {
        "connections": crowd.count,
        "rooms": rooms,
        "service": served.to_figures(),
        "latency": latencies.to_figures() if latencies is not None else None,
        "floors": {target.kind: floor.to_figures()},
    }
    return Outcome("rooms", rows, figures, faults, examples)


def _measure_floors(setting: Setting, count: int, rounds: int) -> tuple[list[tuple[str, Series]], list[Books]]:
    """The loop in C, where there is a compiler, and the one in Python; the first is the one to compare with."""
    programs = [setting.floor_program, None] if setting.floor_program is not None else [None]
    floors, books = [], []
    for program in programs:
        setting.progress("floor")
        with play_on_floor(setting, program, Crowd("", "", count)) as (stage, floor):
            floors.append((floor.kind, run_lock_step(stage, rounds)))
            books.append(stage.close_books())
    return floors, books


def _rates(series: Series) -> str:
    return f"{series.per_second:,.0f}/s; {series.per_cpu_second:,.0f} per processor second"


def _times(series: Series) -> str:
    return f"{series.round_p50_s * 1000:.1f} ms, {series.round_max_s * 1000:.1f} ms"


def _usage(flood: Flood) -> str:
    usage = flood.usage
    return f"{usage.server:.2f}, {usage.redis:.2f}, {usage.clients:.2f}"


def _per_cpu(*floods: Flood) -> str:
    return ", ".join(f"{flood.receipts_per_second / flood.usage.server:,.0f}" for flood in floods)
