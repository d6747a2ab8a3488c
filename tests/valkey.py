"""A real Valkey for tests, on loopback: killed, restarted with or without its data, and always ended."""

from __future__ import annotations

import socket
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import orjson
import redis

from fanout.bus.embedded import find_binary
from tests.served import wait_until


class Valkey:
    """A server process on one port, over one directory."""

    def __init__(self, directory: Path, arguments: Sequence[str] = ()) -> None:
        self._directory = directory
        self._arguments = arguments
        self._process: subprocess.Popen[bytes] | None = None
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self.client = redis.Redis(port=self.port, decode_responses=True)

    def start(self, *options: str) -> None:
        """Start it, with options of the server beside our own."""
        command = [str(find_binary()), "--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self._directory)]
        command += ["--appendonly", "yes", "--appendfsync", "always", "--save", ""]
        command += ["--repl-diskless-sync-delay", "0"]
        command += [*self._arguments, *options]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        wait_until(self._answers)
        assert self._process.poll() is None, "somebody else answers on the port"

    def kill(self) -> None:
        """End it as a crash would; what was written stays on disk."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
        self.client.connection_pool.disconnect()

    def wipe(self) -> None:
        """Lose all data, while it does not run."""
        for path in sorted(self._directory.rglob("*"), reverse=True):
            path.rmdir() if path.is_dir() else path.unlink()

    def add(self, mutation: str, data: object, stream: str = "fanout:events") -> str:
        """XADD, as any publisher does."""
        return str(self.client.xadd(stream, {"mutation": mutation, "data": orjson.dumps(data)}))

    def _answers(self) -> bool:
        try:
            return bool(self.client.ping())
        except redis.ConnectionError:  # also while it loads its data
            return False


@contextmanager
def run_valkey(*options: str) -> Iterator[Valkey]:
    """A server that runs until the block ends."""
    with tempfile.TemporaryDirectory(prefix="fanout-test-") as directory:
        server = Valkey(Path(directory))
        server.start(*options)
        try:
            yield server
        finally:
            server.client.close()
            server.kill()


class ValkeyCluster:
    """Servers of one Redis Cluster on loopback ports; the first `primaries` own equal shares of the slots.

    Args:
        directory: for their data.
        primaries: how many servers own slots.
        replicas: how many replicas there are: the first of the first primary, and so on.
        node_timeout_ms: how long a primary is silent before its replica takes over.
    """

    def __init__(self, directory: Path, primaries: int, replicas: int, node_timeout_ms: int) -> None:
        self.servers: list[Valkey] = []
        self._bus_ports: list[int] = []
        self._primaries = primaries
        for number in range(primaries + replicas):
            path = directory / str(number)
            path.mkdir()
            with socket.create_server(("127.0.0.1", 0)) as free:
                bus_port = free.getsockname()[1]
            # The default port of the cluster's own protocol, port + 10000, may be in use or out of range.
            arguments = ("--cluster-enabled", "yes", "--cluster-port", str(bus_port))
            arguments += ("--cluster-node-timeout", str(node_timeout_ms), "--repl-diskless-sync-delay", "0")
            self.servers.append(Valkey(path, arguments))
            self._bus_ports.append(bus_port)

    @property
    def url(self) -> str:
        """Of one server; it tells where the others are."""
        return f"redis://127.0.0.1:{self.servers[0].port}"

    @property
    def primaries(self) -> list[Valkey]:
        return self.servers[: self._primaries]

    def start(self) -> None:
        for server in self.servers:
            server.start()
        for number, server in enumerate(self.primaries):
            first, last = 16384 * number // self._primaries, 16384 * (number + 1) // self._primaries - 1
            server.client.execute_command("CLUSTER ADDSLOTSRANGE", first, last)
            server.client.execute_command("CLUSTER SET-CONFIG-EPOCH", number + 1)
        first_server = self.servers[0]
        for server, bus_port in zip(self.servers[1:], self._bus_ports[1:], strict=True):
            first_server.client.execute_command("CLUSTER MEET", "127.0.0.1", server.port, bus_port)
        wait_until(lambda: all(self._count_known(server) == len(self.servers) for server in self.servers))
        for number, server in enumerate(self.servers[self._primaries :]):
            server.client.execute_command("CLUSTER REPLICATE", self.find_id(self.primaries[number % self._primaries]))
        wait_until(lambda: all(self._is_settled(server) for server in self.servers), 30)

    def stop(self) -> None:
        for server in self.servers:
            server.client.close()
            server.kill()

    def find_id(self, server: Valkey) -> str:
        return str(server.client.execute_command("CLUSTER MYID"))

    def find_owner(self, slot: int) -> Valkey:
        """The primary that owns a slot."""
        for first, last, (_, port, *_), *_ in self.servers[0].client.execute_command("CLUSTER SLOTS"):
            if int(first) <= slot <= int(last):
                return next(server for server in self.servers if server.port == int(port))
        raise AssertionError(f"nobody owns slot {slot}")

    def move_slot(self, slot: int, pause: Callable[[], None] = lambda: None) -> None:
        """Move a slot to the next primary while it is in use, as resharding does; `pause` is called between steps."""
        source = self.find_owner(slot)
        target = self.primaries[(self.primaries.index(source) + 1) % self._primaries]
        source_id, target_id = self.find_id(source), self.find_id(target)
        target.client.execute_command("CLUSTER SETSLOT", slot, "IMPORTING", source_id)
        source.client.execute_command("CLUSTER SETSLOT", slot, "MIGRATING", target_id)
        pause()
        while keys := source.client.execute_command("CLUSTER GETKEYSINSLOT", slot, 1):
            source.client.execute_command("MIGRATE", "127.0.0.1", target.port, "", 0, 5000, "KEYS", *keys)
            pause()
        for server in (target, source, *self.primaries):
            server.client.execute_command("CLUSTER SETSLOT", slot, "NODE", target_id)
        pause()

    def _count_known(self, server: Valkey) -> int:
        nodes = server.client.execute_command("CLUSTER NODES")
        return sum(1 for node in nodes.values() if "handshake" not in node["flags"])

    def _is_settled(self, server: Valkey) -> bool:
        info = server.client.execute_command("CLUSTER INFO")
        if info["cluster_state"] != "ok" or info["cluster_slots_ok"] != "16384":
            return False
        known = sum(len(servers) for _, _, *servers in server.client.execute_command("CLUSTER SLOTS"))
        if known != len(self.servers):
            return False
        replication = server.client.info("replication")
        return replication["role"] == "master" or replication["master_link_status"] == "up"


@contextmanager
def run_valkey_cluster(primaries: int = 3, replicas: int = 0, node_timeout_ms: int = 15_000) -> Iterator[ValkeyCluster]:
    with tempfile.TemporaryDirectory(prefix="fanout-test-", ignore_cleanup_errors=True) as directory:
        cluster = ValkeyCluster(Path(directory), primaries, replicas, node_timeout_ms)
        try:
            cluster.start()
            yield cluster
        finally:
            cluster.stop()
