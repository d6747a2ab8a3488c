"""What a checkpoint tells of the server that it was written to, and the hearing when that is another one."""

from __future__ import annotations

import pytest
from redis.asyncio import Redis

from fanout.bus.client import CommandRefused, Endpoint, Link
from fanout.bus.entries import START, EntryId, parse_id
from fanout.bus.keys import Keys
from fanout.bus.lease import Lease
from fanout.bus.positions import Position
from fanout.bus.succession import Checkpoint, Hearing, bear_witness, dismiss, holds, look
from tests.served import wait_until
from tests.valkey import Valkey, run_valkey

KEYS = Keys("p:")
POSITION = Position(EntryId(5, 1), 7)


async def test_it_is_what_the_router_wrote(link: Link) -> None:
    empty = await look(link, KEYS, "s")
    assert (empty.position, empty.server) == (None, "")
    assert len(empty.present) == 81
    lease = Lease(KEYS, "s", 10_000)
    await lease.acquire(link)
    await lease.advance(link, POSITION, empty.present)
    noted = await look(link, KEYS, "s")
    assert noted == Checkpoint(POSITION, empty.present, empty.present)
    assert not noted.is_doubtful


@pytest.mark.parametrize(
    ("server", "present", "is_doubtful"),
    [("one", "two", True), ("one", "one", False), ("", "two", False), ("one", "", False)],
)
def test_doubt_needs_two_servers(server: str, present: str, is_doubtful: bool) -> None:
    assert Checkpoint(POSITION, server, present).is_doubtful is is_doubtful


async def test_whether_entries_are_still_there(link: Link, redis: Redis) -> None:
    ids = [parse_id(await redis.xadd("s", {"a": "b"}, id=f"{number}-0")) for number in range(1, 6)]
    assert await holds(link, "s", *ids)
    assert await holds(link, "s", START, ids[2])
    assert not await holds(link, "s", ids[2], EntryId(3, 1))
    assert not await holds(link, "s", EntryId(6, 0))
    await redis.xtrim("s", maxlen=1, approximate=False)
    assert await holds(link, "s", ids[2]), "trimmed in due course"
    assert await holds(link, "missing", START)
    assert not await holds(link, "missing", ids[2])
    await redis.set("text", "x")
    with pytest.raises(CommandRefused):
        await holds(link, "text", ids[2])


async def begin(link: Link, redis: Redis, *members: str) -> Hearing:
    """A stream of three entries behind another server than the checkpoint's."""
    for number in range(1, 4):
        await redis.xadd("s", {"a": "b"}, id=f"{number}-0")
    await redis.hset(KEYS.checkpoint("s"), mapping={"id": "1-0", "read": 1, "server": "another"})
    await redis.sadd(KEYS.gateways, *members)
    return Hearing(KEYS, "s", (await look(link, KEYS, "s")).present)


@pytest.mark.parametrize(("taken", "is_whole"), [(3, True), (4, False)])
async def test_all_are_heard_and_what_they_have_taken_is_looked_for(
    link: Link, redis: Redis, taken: int, is_whole: bool
) -> None:
    hearing = await begin(link, redis, "A", "B")
    await bear_witness(link, KEYS, "A", {"s": EntryId(2, 0), "another stream": START})
    await hearing.listen(link)
    assert not hearing.is_over
    await bear_witness(link, KEYS, "B", {"s": EntryId(taken, 0)})
    await bear_witness(link, KEYS, "B", {"s": EntryId(1, 0)})  # it has joined anew meanwhile, and forgotten
    await hearing.listen(link)
    assert (hearing.is_over, hearing.is_whole) == (True, is_whole)
    await dismiss(link, KEYS, "s")
    assert await redis.hgetall(KEYS.checkpoint("s")) == {"id": "1-0", "read": "1", "server": "another"}


async def test_what_the_dead_had_taken_nobody_knows(link: Link, redis: Redis) -> None:
    """Also if whoever was waiting for it is dead too: it was written down who is waited for."""
    hearing = await begin(link, redis, "A", "B")
    await bear_witness(link, KEYS, "A", {"s": EntryId(2, 0)})
    await hearing.listen(link)
    await redis.srem(KEYS.gateways, "B")
    successor = Hearing(KEYS, "s", (await look(link, KEYS, "s")).present)
    await successor.listen(link)
    assert (successor.is_over, successor.is_whole) == (True, False)


async def test_what_was_said_to_a_former_server_does_not_count(link: Link, redis: Redis) -> None:
    hearing = await begin(link, redis, "A")
    await redis.hset(KEYS.checkpoint("s"), "w:A", "the one between 9-0")
    await hearing.listen(link)
    assert not hearing.is_over
    await bear_witness(link, KEYS, "A", {"s": EntryId(3, 0)})
    await hearing.listen(link)
    assert hearing.is_whole


async def test_nothing_is_said_where_there_is_no_doubt(link: Link, redis: Redis) -> None:
    for server in (None, "", (await look(link, KEYS, "s")).present):
        if server is not None:
            await redis.hset(KEYS.checkpoint("s"), "server", server)
        await bear_witness(link, KEYS, "A", {"s": EntryId(2, 0)})
        assert not await redis.hexists(KEYS.checkpoint("s"), "w:A")


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
