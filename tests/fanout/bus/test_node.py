"""Endpoints and single connections: URLs, and no credentials in any text. What a link promises is in `test_client`."""

from __future__ import annotations

from pathlib import Path

import pytest

from fanout.bus.node import CommandRefused, Endpoint, Node
from fanout.bus.slots import Address
from fanout.errors import ConfigurationError, Unavailable
from tests.fanout.bus.harness import until


@pytest.mark.parametrize(
    "url",
    [
        "",
        "localhost:6379",
        "http://user:hunter2@localhost",
        "redis://user:hun/ter2@localhost",
        "redis://user:hunter2@localhost:port",
        "redis://user:hunter2@localhost:6379?nonsense=1",
        "redis://user:hunter2@localhost:6379?socket_keepalive=perhaps&db=x",
        "unix://",
        "unix://user:hunter2@",
    ],
)
def test_a_url_that_cannot_be_used_is_refused_without_showing_it(url: str) -> None:
    with pytest.raises(ConfigurationError, match="not a usable Redis URL") as caught:
        Endpoint(url)
    assert "hun" not in str(caught.value)
    assert "ter2" not in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("redis://user:hunter2@example.net:7000/3", "redis://example.net:7000"),
        ("redis://localhost", "redis://localhost:6379"),
        ("rediss://:hunter2@[::1]:7000", "rediss://::1:7000"),
        ("unix://user:hunter2@/run/x.sock?db=2", "unix:///run/x.sock"),
    ],
)
def test_the_address_that_is_shown_has_no_credentials(url: str, address: str) -> None:
    assert Endpoint(url).address == address


def test_several_servers_of_a_cluster_share_user_and_options() -> None:
    endpoint = Endpoint("rediss://user:hunter2@one:7000,two:7001/0?ssl_cert_reqs=none")
    assert endpoint.seed_count == 2
    assert [endpoint.describe_seed(number) for number in range(2)] == ["rediss://one:7000", "rediss://two:7001"]
    connection = endpoint.connect(Address("three", 7002), "name")
    assert (connection.host, connection.port, connection.username) == ("three", 7002, "user")  # type: ignore[attr-defined]
    assert endpoint.describe(Address("three", 7002)) == "rediss://three:7002"


async def test_answers_and_refusals_come_in_the_order_of_the_commands(server_url: str) -> None:
    endpoint = Endpoint(server_url)
    node = Node(endpoint.connect_seed(0, "test"), endpoint.address)
    await node.send([("ECHO", "x"), ("NONSENSE",), ("ECHO", b"\xff")])
    (first, refused, last), is_refused = await node.receive()
    assert (first, last, is_refused) == (b"x", b"\xff", True)
    assert isinstance(refused, CommandRefused)
    await node.send([("PING",)])
    assert await node.receive() == ([b"PONG"], False)
    assert not node.is_at_end
    await node.close()


async def test_losses_are_told(server_url: str) -> None:
    endpoint = Endpoint(server_url)
    losses: list[int] = []
    node = Node(endpoint.connect_seed(0, "test"), endpoint.address, lambda: losses.append(1))
    await node.send([("CLIENT", "ID")])
    ((own_id,), _) = await node.receive()
    killer = Node(endpoint.connect_seed(0, "killer"), endpoint.address)
    await killer.send([("CLIENT", "KILL", "ID", own_id)])
    await killer.receive()
    await until(lambda: node.is_at_end)
    await node.send([("PING",)])
    assert losses == [1]
    assert await node.receive() == ([b"PONG"], False)
    await node.close()
    await killer.close()
    assert losses == [1]


async def test_nobody_there_is_told_by_address(short_directory: Path) -> None:
    endpoint = Endpoint(f"unix://user:hunter2@{short_directory}/none.sock")
    node = Node(endpoint.connect_seed(0, "test"), endpoint.address)
    with pytest.raises(Unavailable, match=r"none\.sock cannot be reached") as caught:
        await node.send([("PING",)])
    assert "hunter2" not in str(caught.value)
