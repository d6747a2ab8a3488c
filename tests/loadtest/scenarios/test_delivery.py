from loadtest.scenarios.delivery import run_burst, run_rooms, run_wide
from loadtest.stage import Setting

SETTING = Setting(lambda text: None, scale=0.002, timeout_s=10, quiet_s=0)


def test_wide_is_beside_floor_and_reference():
    outcome = run_wide(SETTING)
    assert outcome.faults == {}
    assert set(outcome.figures["floors"]) == {"Python"}
    assert outcome.figures["service"]["receipts"] == 20 * 3
    # The floor is one only if it sends the same bytes.
    sizes = {round(outcome.figures[name]["bytes_per_receipt"]) for name in ("service", "reference")}
    assert sizes == {round(outcome.figures["floors"]["Python"]["bytes_per_receipt"])}
    assert [row.target for row in outcome.rows if row.target] == [">= 0.65 (the lower one)", ">= 3"]


def test_burst_is_counted_in_messages():
    outcome = run_burst(SETTING)
    assert outcome.faults == {}
    assert outcome.figures["service"]["receipts"] == 10 * 3 * 16


def test_rooms_are_reached():
    outcome = run_rooms(SETTING)
    assert outcome.faults == {}
    assert outcome.figures["connections"] == 20
    assert outcome.figures["service"]["receipts"] == outcome.figures["service"]["events"] * 10


def test_a_wrong_delivery_is_told(standin_command):
    setting = Setting(
        lambda text: None,
        scale=0.002,
        timeout_s=0.2,
        quiet_s=0,
        service_command=[*standin_command, "--wrong", "stray"],
    )
    outcome = run_rooms(setting)
    assert outcome.faults["stray"] > 0
    assert outcome.examples
