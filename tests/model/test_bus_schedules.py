"""Router, lookup, registration, inbox, intake and lease in every schedule of a small deployment.

Two gateways, one bucket, a few events; the real classes and a real server, see `stepped`. In each kind of schedule:
nothing lost, nothing twice, nothing out of order, and nobody told that something was missed.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator

import pytest

from fanout.bus import inbox as inbox_module
from fanout.bus import membership as membership_module
from fanout.bus import router as router_module
from tests.fanout.bus.harness import STREAM, room
from tests.fuzz.effort import EXAMPLES_VARIABLE
from tests.model.explore import explore
from tests.model.gated import NoPause
from tests.model.stepped import KEYS, BusWorld, Server

BUCKET = room("a")
MOST_SCHEDULES = int(os.environ.get(EXAMPLES_VARIABLE, "2")) * 20
"""The small scenarios have fewer kinds of schedules, the others are run to their end by `make fuzz`."""


@pytest.fixture
def server(server_url: str) -> Iterator[Server]:
    server = Server(server_url)
    yield server
    server.close()


class Scenario(BusWorld):
    """The bus and what happens to it: processes of the scenario's own, each with a condition and a step."""

    def __init__(self, server: Server, registered: tuple[str, ...] = ("G1", "G2")) -> None:
        super().__init__(server, ("G1", "G2"), registered, BUCKET)
        assert self.holder() == "G1"

    def add_publisher(self, count: int, can: Callable[[int], bool] = lambda number: True) -> None:
        self.published = 0

        def publish() -> None:
            self.published += 1
            self.publish(self.published)

        self.happenings["publisher"] = lambda: self.published < count and can(self.published + 1), publish

    def add_expiry(self, times: int) -> None:
        """The lease ends although its holder lives, perhaps stopped: it goes on whenever it likes."""
        self.expired = 0

        def expire() -> None:
            self.expired += 1
            self.ask("DEL", KEYS.lease(STREAM))

        self.happenings["expiry"] = lambda: self.expired < times and self.holder() == "G1", expire

    def check(self, gateway: str, expected: list[int]) -> None:
        assert self.gateways[gateway].delivered == [f"{number}-0" for number in expected], gateway
        assert self.gateways[gateway].missed == []


class TakeOver(Scenario):
    """G1 loses the lease at any moment and does not know; G2 takes over; both go on."""

    def __init__(self, server: Server, events: int, expiries: int = 1) -> None:
        super().__init__(server)
        self.events = events
        self.add_publisher(events)
        self.add_expiry(expiries)

    def finish(self) -> None:
        super().finish()
        for name in self.gateways:
            self.check(name, list(range(1, self.events + 1)))


class Cut(Scenario):
    """A connection of a router, or of a gateway's inbox, breaks at any moment, and is opened again."""

    def __init__(self, server: Server, process: str, events: int) -> None:
        super().__init__(server)
        self.events = events
        self.process = process
        self.is_cut = False
        self.add_publisher(events)
        self.happenings["cut"] = lambda: not self.is_cut, self.cut

    def cut(self) -> None:
        self.is_cut = True
        self.touch(f"{self.process} link")
        # From now on the gateway looks whether it is still known, before anything else.
        self.touch(f"{self.process.partition('.')[0]}.control link")
        for link in self.links[self.process]:
            if link.is_busy:
                link.cut()

    def finish(self) -> None:
        super().finish()
        assert self.is_cut
        for name in self.gateways:
            self.check(name, list(range(1, self.events + 1)))


class Death(Scenario):
    """G1 dies at any moment; its lease expires after that; G2 has everything all the same."""

    def __init__(self, server: Server, events: int) -> None:
        super().__init__(server)
        self.events = events
        self.add_publisher(events)
        self.happenings["death"] = lambda: not self.dead, self.die
        self.add_expiry(1)
        can_expire, expire = self.happenings["expiry"]
        self.happenings["expiry"] = lambda: bool(self.dead) and can_expire(), expire

    def die(self) -> None:
        self.dead.add("G1")
        # What it would have done next is not done: so this touches all that it touches.
        self.touch("G1")
        for keys in (KEYS.lease(STREAM), KEYS.checkpoint(STREAM), STREAM):
            self.touch(keys)
        for gateway in self.gateways.values():
            self.touch(KEYS.inbox(gateway.local.gateway_id))

    def finish(self) -> None:
        super().finish()
        self.check("G2", list(range(1, self.events + 1)))


class Subscribing(Scenario):
    """A first subscriber at G2 while events come in: one before it is acknowledged or after, one surely after."""

    def __init__(self, server: Server) -> None:
        super().__init__(server, registered=())
        self.is_acknowledged = False
        self.has_asked = False
        self.add_publisher(2, lambda number: number == 1 or self.is_acknowledged)
        self.happenings["client"] = lambda: not self.has_asked, self.ask_for_it

    def ask_for_it(self) -> None:
        self.has_asked = True
        self.touch("G2.registration")
        self.spawn(self.subscribe())

    async def subscribe(self) -> None:
        await self.gateways["G2"].local.membership.registration.register([BUCKET])
        self.is_acknowledged = True
        self.touch("acknowledged")

    def take_one(self, process: str) -> None:
        super().take_one(process)
        if process == "publisher":
            self.touch("acknowledged", False)
        elif process == "G2.control":
            self.touch("G2.registration")

    def finish(self) -> None:
        super().finish()
        assert self.is_acknowledged
        self.check("G1", [1, 2])
        delivered = self.gateways["G2"].delivered
        assert delivered in (["1-0", "2-0"], ["2-0"])
        assert self.gateways["G2"].missed == []


SCENARIOS: dict[str, Callable[[Server], Scenario]] = {
    "subscribing": Subscribing,
    "take-over, one event": lambda server: TakeOver(server, 1),
    "take-over, two events": lambda server: TakeOver(server, 2),
    "death, two events": lambda server: Death(server, 2),
    "router cut off, two events": lambda server: Cut(server, "G1.router", 2),
    "inbox cut off, two events": lambda server: Cut(server, "G2.inbox", 2),
}


@pytest.mark.parametrize("name", SCENARIOS)
def test_every_kind_of_schedule(server: Server, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (router_module, inbox_module, membership_module):
        monkeypatch.setattr(module, "Backoff", NoPause)
    explored = explore(lambda: SCENARIOS[name](server), MOST_SCHEDULES)
    print(name, explored)
    assert explored.is_complete or explored.schedules == MOST_SCHEDULES
