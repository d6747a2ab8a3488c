"""The scenario `peers`: `wide` again, beside what one would pick instead. Needs what is on no bare machine, so it runs
only when it is asked for.
"""

from __future__ import annotations

from loadtest.peers import PEERS
from loadtest.report import Outcome, Row, judge
from loadtest.scenarios.series import Series, gather_faults, run_lock_step
from loadtest.stage import Setting, play_on_peer, play_on_service
from loadtest.swarm import Crowd


def run_peers(setting: Setting) -> Outcome:
    """One event to 10,000 subscribers, one after the other, by the service and by each peer.

    Raises:
        ProcessError: a peer is not installed; the text says what to install.
    """
    count, rounds = setting.shrink(10_000), setting.shrink(40, 3)
    series: dict[str, Series] = {}
    books = []
    setting.progress("service")
    with play_on_service(setting, lambda url, key: Crowd(url, key, count)) as (stage, _):
        served = run_lock_step(stage, rounds)
        books.append(stage.close_books())
    for run in PEERS.values():
        with play_on_peer(setting, run, Crowd("", "", count)) as (stage, peer):
            setting.progress(peer.name)
            series[peer.name] = run_lock_step(stage, rounds)
            books.append(stage.close_books())
    faults, examples = gather_faults(*books)
    rows = [Row("peers", f"Fanout: 1 event to {count:,} subscribers, {rounds} times", _rates(served))]
    for name, other in series.items():
        rows.append(Row("peers", f"{name}: the same", _rates(other)))
        times = served.per_second / other.per_second
        rows.append(
            judge(
                "peers",
                f"Fanout to {name}; by processor time {served.per_cpu_second / other.per_cpu_second:.2f}",
                f"{times:.2f}",
                ">= 1",
                is_met=times >= 1,
            )
        )
    figures = {"connections": count, "service": served.to_figures()}
    figures |= {"peers": {name: other.to_figures() for name, other in series.items()}}
    return Outcome("peers", rows, figures, faults, examples)


def _rates(series: Series) -> str:
    return f"{series.per_second:,.0f}/s; {series.per_cpu_second:,.0f} per processor second"
