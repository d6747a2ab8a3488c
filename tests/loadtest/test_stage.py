import os

import pytest

from loadtest.measure import read_memory
from loadtest.stage import Setting, play_on_service, share_cores, stay_on
from loadtest.swarm import Crowd, SwarmError


def _discard(text):
    pass


def test_a_warm_service_with_everybody_connected():
    looked = []
    with play_on_service(
        Setting(_discard, timeout_s=10),
        lambda url, key: Crowd(url, key, 6, 2),
        before_connecting=lambda service: looked.append(read_memory(service.pid)),
    ) as (stage, service):
        assert looked[0].resident_bytes > 10_000_000
        assert stage.fleet.live == 6
        assert stage.connect_seconds > 0
        before = stage.read_cpu()
        stage.publish([stage.draw(1), stage.draw(1)])
        assert stage.await_receipts()
        assert all(later >= earlier for earlier, later in zip(before, stage.read_cpu(), strict=True))
        assert (stage.close_books().receipts, stage.server_pid) == (6, service.pid)
        stage.draw(0)
        stage.setting = Setting(_discard, timeout_s=0.05)
        assert stage.await_receipts() is None


def test_a_service_that_delivers_nothing_is_told(standin_command):
    setting = Setting(_discard, timeout_s=0.1, service_command=[*standin_command, "--wrong", "all"])
    with (
        pytest.raises(SwarmError, match="very first event"),
        play_on_service(setting, lambda url, key: Crowd(url, key, 1)),
    ):
        pass


def test_numbers_shrink_to_a_least():
    setting = Setting(_discard, scale=0.01)
    assert (setting.shrink(1000), setting.shrink(10, 3)) == (10, 3)
    assert Setting(_discard, gateway_cores={0}, client_cores={1}).unpinned() == Setting(_discard)


def test_cores_are_shared_and_given_back():
    before = os.sched_getaffinity(0)
    gateway, clients = share_cores()
    assert (gateway is None) == (clients is None) == (len(before) < 2)
    with stay_on({min(before)}):
        assert os.sched_getaffinity(0) == {min(before)}
    assert os.sched_getaffinity(0) == before
