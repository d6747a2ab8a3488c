"""Runs locust in processes of its own: importing it would patch this one's sockets and threads."""

import sys

import pytest

from loadtest import headless

QUICK = ("--seconds", "4", "--users", "12", "--patience", "1")


# Who leaves a room within the patience is owed nothing any more: where deliveries are to be missed, everybody stays.
@pytest.mark.parametrize(
    ("wrong", "stay", "code"), [((), "1", 0), (("--wrong", "drop"), "600", 1)], ids=["right", "drop"]
)
def test_the_exit_code_says_whether_everything_was_delivered(standin_command, capfd, wrong, stay, code):
    command = [*standin_command, *wrong] if wrong else None
    assert headless.main((*QUICK, "--stay", stay), service_command=command) == code
    output, log = capfd.readouterr()
    assert output.endswith("loadtest: passed\n" if code == 0 else "see the failures above\n")
    assert ("DeliveryFault('missing')" in log) == (code == 1)


def test_a_service_that_does_not_start_is_told(capfd):
    assert headless.main(QUICK, service_command=[sys.executable, "-c", "print('no such option')"]) == 2
    assert "no such option" in capfd.readouterr().err
