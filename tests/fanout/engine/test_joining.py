"""A subscription on its way has got nothing yet, and belongs to nobody else."""

from tests.fanout.engine.past import World


async def test_a_new_one_is_neither_over_nor_a_member() -> None:
    world = World()
    client = world.join("a")
    assert (client.places, client.ends, client.is_over, client.group.size) == ((), (), False, 0)
    await world.catch_up.stop()
