import redis

from loadtest.processes import run_redis
from loadtest.scenarios.workers import count_commands, run_workers
from loadtest.stage import Setting


def test_commands_and_spread_of_four_gateways():
    outcome = run_workers(Setting(lambda text: None, scale=0.004, timeout_s=10, quiet_s=0))
    assert outcome.faults == {}
    assert sum(outcome.figures["spread"]) <= 16
    # The publisher's own is one of them.
    assert outcome.figures["heard by 4 subscribers"]["commands_per_event"]["xadd"] >= 1


def test_commands_are_counted_but_not_the_question():
    with run_redis() as url, redis.Redis.from_url(url) as client:
        before = count_commands(client)
        client.set("a", 1)
        client.get("a")
        assert count_commands(client) - before == {"set": 1, "get": 1}
