"""What a checkpoint tells of the server that it was written to, and whose turn it is when that is another one."""

from __future__ import annotations

import pytest
from redis.asyncio import Redis

from fanout.bus.client import CommandRefused, Endpoint, Link
from fanout.bus.entries import EntryId, parse_id
from fanout.bus.keys import Keys
from fanout.bus.lease import Lease
from fanout.bus.positions import Position
from fanout.bus.succession import Checkpoint, Patience, holds, look, rename_holder
from tests.served import wait_until
from tests.valkey import Valkey, run_valkey

KEYS = Keys("p:")
POSITION = Position(EntryId(5, 1), 7)


def told(server: str = "one", present: str = "two", holder: str = "G") -> Checkpoint:
    return Checkpoint(POSITION, holder, server, present)


async def test_it_is_what_the_holder_wrote(link: Link) -> None:
    empty = await look(link, KEYS, "s")
    assert (empty.position, empty.holder, empty.server) == (None, "", "")
    assert len(empty.present) == 81
    lease = Lease(KEYS, "s", 10_000)
    await lease.acquire(link)
    await lease.advance(link, POSITION, "G", empty.present)
    noted = await look(link, KEYS, "s")
    assert noted == Checkpoint(POSITION, "G", empty.present, empty.present)
    assert not noted.is_doubtful
    await lease.release(link, "G")
    assert (await look(link, KEYS, "s")).holder == "", "who has done with a stream knows nothing more of it"


async def test_who_never_had_it_does_not_end_the_doubt(link: Link) -> None:
    one, other = Lease(KEYS, "s", 10_000), Lease(KEYS, "s", 10_000)
    await one.acquire(link)
    await one.advance(link, POSITION, "G", "one")
    await one.release(link, "H")
    await other.acquire(link)
    await other.release(link, "H")
    assert (await look(link, KEYS, "s")).holder == "G"


@pytest.mark.parametrize(
    ("checkpoint", "is_doubtful"),
    [
        (told(), True),
        (told(present="one"), False),
        (told(server=""), False),
        (told(present=""), False),
        (told(holder=""), False),
    ],
)
def test_doubt_needs_two_servers_and_somebody_who_knew(checkpoint: Checkpoint, is_doubtful: bool) -> None:
    assert checkpoint.is_doubtful is is_doubtful


async def test_a_holder_that_goes_by_another_id_is_the_same(link: Link, redis: Redis) -> None:
    await redis.hset(KEYS.checkpoint("s"), mapping={"id": "5-1", "read": 7, "holder": "G"})
    await rename_holder(link, KEYS, "s", "H", "I")
    assert (await look(link, KEYS, "s")).holder == "G"
    await rename_holder(link, KEYS, "s", "G", "H")
    assert (await look(link, KEYS, "s")).holder == "H"


async def test_whether_an_entry_is_still_there(link: Link, redis: Redis) -> None:
    ids = [parse_id(await redis.xadd("s", {"a": "b"}, id=f"{number}-0")) for number in range(1, 6)]
    assert await holds(link, "s", ids[2])
    assert not await holds(link, "s", EntryId(3, 1))
    assert not await holds(link, "s", EntryId(6, 0))
    await redis.xtrim("s", maxlen=1, approximate=False)
    assert await holds(link, "s", ids[2]), "trimmed in due course"
    assert not await holds(link, "missing", ids[2])
    await redis.set("text", "x")
    with pytest.raises(CommandRefused):
        await holds(link, "text", ids[2])


async def test_the_holder_comes_first_as_long_as_it_may_come_back(link: Link, redis: Redis) -> None:
    patience = Patience(KEYS, 600_000)
    await redis.sadd(KEYS.gateways, "G")
    assert await patience.is_due(link, told(), "H")
    assert not await patience.is_due(link, told(), "G")
    assert not await patience.is_due(link, told(present="one"), "H")
    assert not await Patience(KEYS, 0).is_due(link, told(), "H")
    assert await patience.is_due(link, told(), "H")
    await redis.srem(KEYS.gateways, "G")
    assert not await patience.is_due(link, told(), "H")


async def test_a_user_that_may_not_ask_is_told_nothing(own_port: int) -> None:
    async with Redis(port=own_port) as administrator:
        await administrator.execute_command("ACL", "SETUSER", "some", "on", ">hunter2", "~*", "+@all", "-info")
    limited = Link(Endpoint(f"redis://some:hunter2@127.0.0.1:{own_port}"), "limited")
    assert (await look(limited, KEYS, "s")).present == ""
    await limited.close()


@pytest.mark.single_server
async def test_a_restart_and_a_promotion_are_another_server_and_a_new_replica_is_not() -> None:
    """As the real server tells it: what else of INFO could be compared changes when nothing was lost, or stays."""
    with run_valkey() as primary:
        seen = [await ask(primary)]
        with run_valkey("--replicaof", "127.0.0.1", str(primary.port)) as replica:
            wait_until(lambda: replica.client.info("replication")["master_link_status"] == "up")
            assert await ask(primary) == seen[0], "its replication id is another one now"
            primary.kill()
            primary.start()
            seen.append(await ask(primary))
            replica.client.replicaof("NO", "ONE")
            seen.append(await ask(replica))
            # There and back: the same process with other data.
            primary.client.replicaof("127.0.0.1", replica.port)
            wait_until(lambda: primary.client.info("replication")["master_link_status"] == "up")
            primary.client.replicaof("NO", "ONE")
            seen.append(await ask(primary))
    assert len(set(seen)) == 4
    assert seen[1].partition(":")[0] == seen[3].partition(":")[0]


async def ask(server: Valkey) -> str:
    link = Link(Endpoint(server.url), "asking")
    try:
        return (await look(link, KEYS, "s")).present
    finally:
        await link.close()
