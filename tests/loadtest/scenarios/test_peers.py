from loadtest.processes import ProcessError
from loadtest.scenarios.peers import run_peers
from loadtest.stage import Setting


def test_peers_are_beside_the_service_or_it_is_said_what_to_install():
    missing = " needs "
    try:
        outcome = run_peers(Setting(lambda text: None, scale=0.002, timeout_s=10, quiet_s=0))
    except ProcessError as error:
        missing = str(error)
    else:
        assert outcome.faults == {}
        assert len(outcome.figures["peers"]) == 2
        assert [row.target for row in outcome.rows if row.target] == [">= 1", ">= 1"]
    assert " needs " in missing
