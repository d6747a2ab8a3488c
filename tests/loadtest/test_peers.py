from collections.abc import Callable
from contextlib import AbstractContextManager

import pytest

from loadtest import peers
from loadtest.fleet import Fleet
from loadtest.marks import Mark
from loadtest.peers import PEERS, Peer
from loadtest.processes import ProcessError
from loadtest.swarm import Crowd, Opening


@pytest.mark.parametrize("run", PEERS.values(), ids=PEERS)
def test_everybody_is_sent_the_event_or_it_is_said_what_to_install(run: Callable[..., AbstractContextManager[Peer]]):
    missing = " needs "
    try:
        with run() as peer, Fleet(Crowd(peer.url, "", 9, opening=Opening.CHANNEL)) as fleet:
            fleet.connect()
            fleet.note_published(0, 2)
            peer.publish([Mark(0, 1, 0), Mark(0, 2, 0)])
            fleet.await_receipts()
            books = fleet.reconcile(0.0)
            assert (books.is_good, books.receipts) == (True, 18)
    except ProcessError as error:
        missing = str(error)
    assert " needs " in missing


def test_what_is_missing_is_named(monkeypatch, tmp_path):
    monkeypatch.setattr(peers, "_WS_PACKAGES", tmp_path)
    monkeypatch.setattr(peers, "_NCHAN_MODULES", (tmp_path,))
    with pytest.raises(ProcessError, match="make conformance"), PEERS["ws"]():
        pass
    with pytest.raises(ProcessError, match="libnginx-mod-nchan"), PEERS["nchan"]():
        pass
