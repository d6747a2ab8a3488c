"""Resolvers as an operator has them: a directory that is served and reloaded; several workers; nothing is left."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.served import API_KEY, Served, serve, wait_until

SDL = """
type Query { version: String room(id: ID!): Room }
type Room { id: ID title: String who: String members: [Member] }
type Member { name: String }
type Mutation { createRoom(id: ID!, title: String): Room }
type Subscription { onRoom(id: ID): Room @aws_subscribe(mutations: ["createRoom"]) }
"""
IMPORT = "import { util } from '@aws-appsync/utils';\n"
CREATE = (
    IMPORT
    + """
export function request(ctx) {
  if (!ctx.args.title) util.error('A room has a title.', 'BadTitle', { id: ctx.args.id });
  return { payload: { id: ctx.args.id, title: ctx.args.title.trim(), who: util.authType() + ctx.env.SUFFIX } };
}
export function response(ctx) { return ctx.result; }
"""
)
FETCH = """
export function request(ctx) {
  const headers = { 'X-Tenant': ctx.stash.tenant };
  return { method: 'GET', resourcePath: `/rooms/${ctx.args.id}`, params: { headers } };
}
export function response(ctx) {
  if (ctx.error) util.error(ctx.error.message, ctx.error.type);
  return JSON.parse(ctx.result.body);
}
"""
BEFORE = "export function request(ctx) { ctx.stash.tenant = ctx.request.headers['x-tenant']; return {}; }"
MEMBERS = """
export function request(ctx) { return { payload: [{ name: ctx.source.id + ' first' }] }; }
export function response(ctx) { return ctx.result; }
"""
FILE = """
resolvers = "{folder}/resolvers"
schema = "{folder}/api.graphql"
admin_key = ["admin"]
[environment_variables]
SUFFIX = "!"
[resolver."Query.room"]
functions = [{{ name = "fetch", data_source = "rooms" }}]
[data_source.rooms]
type = "HTTP"
endpoint = "{endpoint}"
"""


@contextmanager
def open_rooms() -> Iterator[str]:
    """A service that knows rooms; gives its URL."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            id = self.path.rpartition("/")[2]
            body = b'{"id": "%b", "title": "of %b"}' % (id.encode(), self.headers["X-Tenant"].encode())
            self.send_response(200)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    resolvers = tmp_path / "resolvers"
    (resolvers / "Query.room").mkdir(parents=True)
    (resolvers / "Mutation.createRoom.js").write_text(CREATE)
    (resolvers / "Query.room" / "before.js").write_text(BEFORE)
    (resolvers / "Query.room" / "fetch.js").write_text(IMPORT + FETCH)
    (resolvers / "Room.members.js").write_text(MEMBERS)
    (tmp_path / "api.graphql").write_text(SDL)
    with open_rooms() as endpoint:
        (tmp_path / "fanout.toml").write_text(FILE.format(folder=tmp_path, endpoint=endpoint))
        yield tmp_path


def ask(served: Served, query: str) -> Any:
    headers = {"x-api-key": API_KEY, "x-tenant": "acme"}
    return httpx.post(f"{served.url}/graphql", headers=headers, json={"query": query}, timeout=30).json()


CREATE_ROOM = 'mutation { createRoom(id: "1", title: " a ") { id title who } }'
CREATED = {"data": {"createRoom": {"id": "1", "title": "a", "who": "API Key Authorization!"}}}


def list_runners(of: int) -> dict[int, int]:
    """The processes that run resolvers below a process, and the gateway process that each belongs to."""
    parents, runners = {}, []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parents[int(entry.name)] = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
                if b"fanout.resolvers.worker" in (entry / "cmdline").read_bytes():
                    runners.append(int(entry.name))
            except OSError:
                continue  # it has ended meanwhile

    def is_below(pid: int) -> bool:
        return pid == of or (pid in parents and is_below(parents[pid]))

    return {pid: parents[pid] for pid in runners if is_below(pid)}


def is_alive(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


def test_fields_are_resolved_and_a_reload_takes_other_code(folder: Path) -> None:
    with serve("--config", str(folder / "fanout.toml"), "--log-level", "info") as served:
        assert any("Mutation.createRoom, Query.room, Room.members" in line for line in served.output)
        assert ask(served, CREATE_ROOM) == CREATED
        room = ask(served, '{ room(id: "7") { id title members { name } } }')
        assert room == {"data": {"room": {"id": "7", "title": "of acme", "members": [{"name": "7 first"}]}}}
        (error,) = ask(served, 'mutation { createRoom(id: "1") { id } }')["errors"]
        assert (error["message"], error["errorType"], error["path"]) == (
            "A room has a title.",
            "BadTitle",
            ["createRoom"],
        )
        pid = served.process.pid
        former = list_runners(pid)
        assert former

        code = folder / "resolvers" / "Mutation.createRoom.js"
        code.write_text(CREATE + "\n  const = 1;\n")
        headers = {"x-api-key": "admin"}
        refused = httpx.post(f"{served.url}/admin/reload", headers=headers, timeout=60)
        assert refused.status_code == 422
        assert f"{code}:9:9: SyntaxError" in refused.text
        assert ask(served, CREATE_ROOM) == CREATED
        assert list_runners(pid) == former

        code.write_text(CREATE.replace(".trim()", ".trim() + '?'"))
        reloaded = httpx.post(f"{served.url}/admin/reload", headers=headers, timeout=60).json()
        assert reloaded["reports"][0]["changed"] == ["resolvers"]
        assert ask(served, CREATE_ROOM)["data"]["createRoom"]["title"] == "a?"
        wait_until(lambda: len(list_runners(pid)) == 2 * len(former))  # what has begun ends by the former code
        runners = list_runners(pid)
        assert served.stop() == 0
        wait_until(lambda: not any(map(is_alive, runners)))
    assert not any("Traceback" in line for line in served.log)


def test_each_worker_has_its_own_processes_and_none_outlives_it(folder: Path) -> None:
    with serve("--config", str(folder / "fanout.toml"), "--workers", "2") as served:
        for _ in range(4):
            assert ask(served, CREATE_ROOM) == CREATED
        wait_until(lambda: len(set(list_runners(served.process.pid).values())) == 2)
        runners = list_runners(served.process.pid)
        # Also where nobody could tell them to end.
        killed = next(iter(runners.values()))
        os.kill(killed, signal.SIGKILL)
        orphans = [pid for pid, gateway in runners.items() if gateway == killed]
        wait_until(lambda: not any(map(is_alive, orphans)))
        wait_until(lambda: len(set(list_runners(served.process.pid).values())) == 2)
        runners |= list_runners(served.process.pid)
        assert served.stop() == 0
        wait_until(lambda: not any(map(is_alive, runners)))


def test_nothing_is_started_without_resolvers() -> None:
    with serve() as served:
        assert list_runners(served.process.pid) == {}
