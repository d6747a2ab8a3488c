"""A client of a Redis Cluster for tests: as redis-py's for one server, so that one test serves both."""

from __future__ import annotations

import asyncio
from typing import Any

from redis.asyncio import Redis
from redis.crc import key_slot
from redis.exceptions import AskError, MovedError


class ClusterClient(Redis):
    """A client of a cluster with the methods of one of a server; what names no key goes to all primaries."""

    def __init__(self, url: str) -> None:
        super().__init__(decode_responses=True)
        self._first = Redis.from_url(url, decode_responses=True)
        self._nodes = {_port(self._first): self._first}
        self._owners: dict[int, Redis] = {}

    async def execute_command(self, *arguments: Any, **options: Any) -> Any:
        """One command on a key; a slot that moves is followed."""
        if not self._owners:
            for first, last, (_, port, *_), *_ in await self._first.execute_command("CLUSTER SLOTS"):
                self._owners |= dict.fromkeys(range(first, last + 1), self._node(int(port)))
        slot = key_slot(str(arguments[1]).encode())
        while True:
            try:
                node = self._owners[slot]
                return await node.execute_command(*arguments, **options)
            except MovedError as moved:
                self._owners[slot] = self._node(moved.port)
            except AskError as ask:
                async with self._node(ask.port).pipeline(transaction=False) as pipeline:
                    pipeline.execute_command("ASKING")
                    pipeline.execute_command(*arguments, **options)
                    return (await pipeline.execute())[1]

    def owner(self, key: str) -> Redis:
        """The server that answered for a key last."""
        return self._owners[key_slot(key.encode())]

    async def flushall(self, **_: Any) -> None:
        for node in await self._primaries():
            await node.flushall()

    async def config_resetstat(self, **_: Any) -> None:
        for node in await self._primaries():
            await node.config_resetstat()

    async def config_set(self, name: str, value: str, **_: Any) -> None:
        for node in await self._primaries():
            await node.config_set(name, value)

    async def acl_setuser(self, name: str, *rules: str, **_: Any) -> None:
        for node in await self._primaries():
            await node.execute_command("ACL", "SETUSER", name, *rules)

    async def keys(self, pattern: str = "*", **_: Any) -> list[str]:
        return [key for node in await self._primaries() for key in await node.keys(pattern)]

    async def mget(self, *keys: str) -> list[str | None]:
        return [await self.get(key) for key in keys]

    async def delete(self, *keys: str) -> int:
        return sum([await self.execute_command("DEL", key) for key in keys])

    async def client_kill_filter(self, *, _id: str = "", **options: Any) -> None:
        for node in await self._primaries():
            if not _id:
                await node.client_kill_filter(**options)
            elif _id.startswith(f"{_port(node)} "):
                await node.client_kill_filter(_id=_id.split()[1])

    async def client_list(self, **_: Any) -> list[dict[str, str]]:
        return [
            {**client, "id": f"{_port(node)} {client['id']}"}
            for node in await self._primaries()
            for client in await node.client_list()
        ]

    async def info(self, section: str, **_: Any) -> dict[str, Any]:
        """Of all primaries; the `calls` of commandstats are added up."""
        merged: dict[str, Any] = {}
        for node in await self._primaries():
            for name, values in (await node.info(section)).items():
                if isinstance(values, dict) and "calls" in values and name in merged:
                    values = {**values, "calls": values["calls"] + merged[name]["calls"]}
                merged[name] = values
        return merged

    def pipeline(self, transaction: bool = True, **_: Any) -> Any:
        return _ClusterPipeline(self, transaction)

    async def aclose(self, *_: Any) -> None:
        for node in self._nodes.values():
            await node.aclose()
        await super().aclose()

    async def _primaries(self) -> list[Redis]:
        ranges = await self._first.execute_command("CLUSTER SLOTS")
        return [self._node(port) for port in dict.fromkeys(int(primary[1]) for _, _, primary, *_ in ranges)]

    def _node(self, port: int) -> Redis:
        if port not in self._nodes:
            self._nodes[port] = Redis(port=port, decode_responses=True)
        return self._nodes[port]


class _ClusterPipeline:
    """XADDs to one stream, sent together."""

    def __init__(self, client: ClusterClient, transaction: bool) -> None:
        self._client = client
        self._transaction = transaction
        self._entries: list[tuple[Any, dict[str, Any]]] = []

    async def __aenter__(self) -> _ClusterPipeline:
        return self

    async def __aexit__(self, *_: object) -> None:
        pass

    def xadd(self, *arguments: Any, **options: Any) -> asyncio.Future[str]:
        self._entries.append((arguments, options))
        done = asyncio.get_running_loop().create_future()
        done.set_result("")
        return done

    async def execute(self) -> None:
        key = self._entries[0][0][0]
        await self._client.exists(key)
        node = self._client.owner(key)
        async with node.pipeline(transaction=self._transaction) as pipeline:
            for arguments, options in self._entries:
                pipeline.xadd(*arguments, **options)
            await pipeline.execute()


def _port(node: Redis) -> int:
    return int(node.connection_pool.connection_kwargs["port"])
