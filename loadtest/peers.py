"""What one would pick instead, each as a plain broadcaster: `ws` for Node, and nginx with the Nchan module.

They send one text to everybody, the same bytes; there is no filter, no selection, no id per subscriber and no AppSync
in it. So what they are compared with does more. Knows how to start them and to publish to them, and no scenario.
"""

from __future__ import annotations

import shutil
import socket
import tempfile
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from loadtest.floor import build_text_parts
from loadtest.marks import Mark, build_id, name_room
from loadtest.processes import ProcessError, run_program
from loadtest.publisher import build_messages, post

_WS_PROGRAM = Path(__file__).with_name("peer_ws.cjs")
_WS_PACKAGES = Path(__file__).parent.parent / "tests/conformance/node_modules"
_NCHAN_MODULES = (Path("/usr/lib/nginx/modules"), Path("/usr/lib64/nginx/modules"), Path("/usr/local/nginx/modules"))
_NCHAN_CONFIGURATION = """\
load_module {module};
daemon off;
worker_processes 1;
worker_rlimit_nofile 20000;
pid {folder}/pid;
error_log {folder}/errors error;
events {{ worker_connections 19900; }}
http {{
  access_log off;
  client_body_temp_path {folder}/body;
  proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi;
  scgi_temp_path {folder}/scgi;
  server {{
    listen 127.0.0.1:{port} backlog=4096;
    keepalive_requests 1000000;
    location = /publish {{ nchan_publisher; nchan_channel_id {room}; nchan_message_buffer_length 0; }}
    location = /{room} {{ nchan_subscriber websocket; nchan_channel_id {room}; nchan_websocket_ping_interval 0; }}
  }}
}}
"""
_START_TIMEOUT_S = 10.0


@dataclass(frozen=True, slots=True)
class Peer:
    """A running peer: its name with its version, its URL, its process, and a connection to publish by."""

    name: str
    url: str
    pid: int
    connection: socket.socket

    def publish(self, marks: Sequence[Mark]) -> None:
        """POST events for the one room, one after the other; returns once the peer has answered to the last."""
        for message in build_messages(marks):
            before, after = build_text_parts(message)
            post(self.connection, before + build_id(0).encode() + after, self.name)


@contextmanager
def run_ws(*, cores: Collection[int] | None = None) -> Iterator[Peer]:
    """Serve with `ws` while the context lasts.

    Raises:
        ProcessError: Node or the package is missing, or it did not start.
    """
    node = shutil.which("node")
    if node is None or not (_WS_PACKAGES / "ws").is_dir():
        raise ProcessError("the peer ws needs Node and the packages of tests/conformance: run `make conformance` once")
    packages = {"NODE_PATH": str(_WS_PACKAGES)}
    with (
        run_program([node, str(_WS_PROGRAM)], cores=cores, environment=packages) as (url, process),
        _connect(url) as connection,
    ):
        yield Peer("Node `ws`", url, process.pid, connection)


@contextmanager
def run_nchan(*, cores: Collection[int] | None = None) -> Iterator[Peer]:
    """Serve with nginx and Nchan while the context lasts, with one worker process.

    Raises:
        ProcessError: nginx or the module is missing, or it did not start.
    """
    nginx, module = shutil.which("nginx"), _find_nchan()
    if nginx is None or module is None:
        raise ProcessError("the peer Nchan needs nginx and its module: Debian's packages nginx and libnginx-mod-nchan")
    with tempfile.TemporaryDirectory(prefix="fanout-load-") as folder, socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
        configuration = Path(folder) / "nginx.conf"
        text = _NCHAN_CONFIGURATION.format(module=module, folder=folder, port=port, room=name_room(0))
        configuration.write_text(text)
        free.close()
        # nginx does not say where it listens.
        script = 'echo "http://127.0.0.1:$0"; exec "$1" -c "$2" -e "$3"'
        line = ["/bin/sh", "-c", script, str(port), nginx, str(configuration), f"{folder}/errors"]
        with run_program(line, cores=cores) as (url, process), _connect(url) as connection:
            yield Peer("nginx with Nchan", url, process.pid, connection)


PEERS: Mapping[str, Callable[..., AbstractContextManager[Peer]]] = {"ws": run_ws, "nchan": run_nchan}


def _find_nchan() -> Path | None:
    found = (folder / "ngx_nchan_module.so" for folder in _NCHAN_MODULES)
    return next((module for module in found if module.is_file()), None)


@contextmanager
def _connect(url: str) -> Iterator[socket.socket]:
    parts = urlsplit(url)
    deadline = time.monotonic() + _START_TIMEOUT_S
    while True:
        try:
            connection = socket.create_connection((parts.hostname, parts.port))
            break
        except ConnectionRefusedError:
            if time.monotonic() > deadline:
                raise ProcessError(f"{url} does not listen") from None
            time.sleep(0.02)
    with connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        yield connection
