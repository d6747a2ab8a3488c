"""Whether this gateway takes new WebSockets: its own capacity, and whether it is going away. Knows no client.

What one client may do is in `fanout.gateway.limits`. A refusal is an HTTP answer that says when to try again; those
who are connected are not touched.
"""

from __future__ import annotations

import resource
import sys
from collections.abc import Callable, Collection
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from fanout.errors import ConfigurationError
from fanout.settings import Settings

_STATM = Path("/proc/self/statm")
_LOOK_MS = 1000
_RETRY_AFTER_SECONDS = 5
# Left for Redis, logs, listeners and HTTP when there is no `max_connections`.
_OTHER_DESCRIPTORS = 64


@dataclass(frozen=True, slots=True)
class Refused:
    """Why an upgrade is not taken.

    Args:
        status: of the HTTP answer.
        reason: label of `fanout_refusals_total`.
        message: for people; names the setting.
        retry_after_seconds: when it is worth trying again; 0: never.
    """

    status: int
    reason: str
    message: str
    retry_after_seconds: int = _RETRY_AFTER_SECONDS


class Stage(Enum):
    """How far this gateway has gone in going away."""

    SERVING = "all is served"
    LEAVING = "all is served, but load balancers are told to send nobody"
    CLOSING = "nobody is taken, and those who are here are closed"


class Admission:
    """The gateway's capacity. An item of the wheel, which lets it look at the memory once a second.

    Args:
        settings: `max_connections`, `max_unauthenticated_connections`, `max_memory_bytes`.
        read_memory: resident bytes of this process.

    Raises:
        ConfigurationError: `max_memory_bytes` on a system that does not tell.
    """

    def __init__(self, settings: Settings, read_memory: Callable[[], int] | None = None) -> None:
        self.wheel_slot = -1
        self.stage = Stage.SERVING
        self.open_connections: Collection[object] = ()
        """All connections of the process, HTTP included; kept by the server."""
        self._settings = settings
        self._max_connections = settings.max_connections or _count_descriptors()
        self._read_memory = read_memory or _read_resident_bytes
        if settings.max_memory_bytes is not None and read_memory is None and not _STATM.exists():
            raise ConfigurationError("max_memory_bytes: this system does not tell how much is in use: leave it out")
        self._memory_bytes = 0

    def on_due(self, now_ms: int) -> int:
        """Look at the memory. Called by the wheel."""
        if self._settings.max_memory_bytes is not None:
            self._memory_bytes = self._read_memory()
        return now_ms + _LOOK_MS

    def find_refusal(self, unauthenticated: int) -> Refused | None:
        """Why no further WebSocket can be taken, the one that asks not counted; None if it can.

        Args:
            unauthenticated: connections that have not initialised.
        """
        limit = self._settings.max_unauthenticated_connections
        if limit is not None and unauthenticated > limit:
            text = f"too many clients that have not initialised (max_unauthenticated_connections = {limit})"
            return _refuse("max-unauthenticated-connections", text)
        return self._find_fault(len(self.open_connections) - 1)

    def describe_unreadiness(self) -> str:
        """Why load balancers should send nobody, in words for anybody; empty if they should."""
        if self.stage is not Stage.SERVING:
            return "draining"
        fault = self._find_fault(len(self.open_connections))
        return fault.message if fault else ""

    def _find_fault(self, connections: int) -> Refused | None:
        if self.stage is Stage.CLOSING:
            return Refused(503, "draining", "this gateway is going away: connect again", 1)
        if connections >= self._max_connections:
            return _refuse("max-connections", f"{connections} connections are open, {self._name_connection_limit()}")
        limit = self._settings.max_memory_bytes
        if limit is not None and self._memory_bytes > limit:
            return _refuse("max-memory", f"{self._memory_bytes} bytes are in use (max_memory_bytes = {limit})")
        return None

    def _name_connection_limit(self) -> str:
        if self._settings.max_connections is None:
            return f"no more than {self._max_connections} fit into the limit of file descriptors (ulimit -n)"
        return f"which is the limit (max_connections = {self._max_connections})"


def _refuse(reason: str, text: str) -> Refused:
    return Refused(503, reason, f"overloaded: {text}")


def _count_descriptors() -> int:
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return sys.maxsize if soft == resource.RLIM_INFINITY else max(1, soft - _OTHER_DESCRIPTORS)


def _read_resident_bytes() -> int:
    return int(_STATM.read_bytes().split()[1]) * resource.getpagesize()
