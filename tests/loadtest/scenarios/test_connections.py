from loadtest.scenarios.connections import run_compression, run_idle, run_memory
from loadtest.stage import Setting

SETTING = Setting(lambda text: None, scale=0.002, timeout_s=10, quiet_s=0)


def test_memory_of_connections_and_subscriptions():
    outcome = run_memory(SETTING)
    assert outcome.faults == {}
    assert outcome.figures["connections"] == 20
    assert outcome.figures["bytes_per_connection_with_5_subscriptions"] > 0
    assert [row.target for row in outcome.rows] == ["<= 8,192", "<= 1,024", ">= 2,500"]


def test_idle_connections_take_little():
    outcome = run_idle(SETTING)
    assert outcome.faults == {}
    assert 0 < outcome.figures["gateway_cores"] < 1


def test_compressed_messages_are_smaller():
    outcome = run_compression(SETTING)
    assert outcome.faults == {}
    assert 0 < outcome.figures["service"]["bytes_per_receipt"] < 300
