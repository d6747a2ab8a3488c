import pytest

from loadtest.fleet import Books
from loadtest.scenarios.series import gather_faults, run_flood, run_lock_step
from loadtest.stage import Setting, play_on_floor
from loadtest.swarm import Crowd

SETTING = Setting(lambda text: None, timeout_s=10, quiet_s=0)


def test_each_round_waits_for_the_one_before():
    with play_on_floor(SETTING, None, Crowd("", "", 8)) as (stage, _):
        series = run_lock_step(stage, 3, 2, warm_up=1)
        books = stage.close_books()
    assert (series.rounds, series.receipts, books.receipts) == (3, 8 * 2 * 3, 8 * 2 * 4)
    assert series.seconds >= series.round_max_s >= series.round_p50_s > 0
    assert series.bytes_per_receipt > 200
    assert {"per_second", "per_cpu_second", "rounds"} <= set(series.to_figures())


def test_a_round_that_is_not_received_ends_the_series():
    setting = Setting(lambda text: None, timeout_s=0.05, quiet_s=0)
    with play_on_floor(setting, None, Crowd("", "", 8)) as (stage, _):
        publish, stage.publish = stage.publish, lambda marks: None
        assert run_lock_step(stage, 3).receipts == 0
        stage.publish = publish
        assert stage.close_books().faults == {"missing": 8}


def test_a_flood_reaches_rooms():
    with play_on_floor(SETTING, None, Crowd("", "", 30, 3)) as (stage, _):
        flood = run_flood(stage, 0.1)
        books = stage.close_books()
    assert books.is_good
    assert flood.receipts == books.receipts == flood.events * 10 > 0
    assert flood.events_per_second * 10 == pytest.approx(flood.receipts_per_second)
    assert flood.usage.server > 0


def test_faults_of_several_books_are_one_list():
    good = Books(1, 1, 0, {}, [])
    bad = Books(3, 1, 0, {"missing": 2}, ["a"])
    assert gather_faults(good, bad, bad) == ({"missing": 4}, ["a", "a"])
    assert gather_faults(good, Books(3, 1, 0, {}, [])) == ({"unbalanced": 2}, [])
