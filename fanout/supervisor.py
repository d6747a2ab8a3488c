"""Worker processes: several gateways on one port. Knows processes and the embedded server, no room's inside.

Each worker binds the port itself with SO_REUSEPORT, so the kernel spreads connections evenly; one shared
listening socket would wake whichever process is quickest, and load would pile up on it.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import multiprocessing
import os
import resource
import signal
import socket
import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait

import uvloop

from fanout.errors import FanoutError
from fanout.service import Terminal, TlsFiles, open_listener, serve, set_log_level
from fanout.settings import Settings, SettingsSource, renew_settings

logger = logging.getLogger("fanout.supervisor")

_RESTART_DELAY_SECONDS = 1.0
# An event is a few dozen objects that are free again when it is delivered, and neither connections nor deliveries
# leave cycles. To look for them after 700 objects, Python's default, took 7 % of the time in the rooms scenario.
_GARBAGE_THRESHOLDS = (10_000, 20, 20)
_TELL_AGAIN_SECONDS = 0.2


def run_single(
    settings: Settings,
    source: SettingsSource,
    redis_url: str,
    listeners: Sequence[socket.socket],
    tls: TlsFiles | None,
    on_ready: Callable[[], None],
) -> None:
    """Serve in this process until told to stop. Raises what `fanout.service.serve` raises."""
    gc.set_threshold(*_GARBAGE_THRESHOLDS)
    _raise_descriptor_limit()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve(settings, source, redis_url, listeners, tls, on_ready))


def run_workers(
    settings: Settings,
    source: SettingsSource,
    redis_url: str,
    listener: socket.socket,
    tls: TlsFiles | None,
    on_ready: Callable[[], None],
) -> None:
    """Serve in `settings.workers` processes until told to stop; a worker that dies is replaced.

    SIGHUP is passed on to all workers, each of which reads its configuration again. A worker that replaces a dead one
    reads it as it is then, so that no key is good again that was revoked.

    Args:
        listener: bound with SO_REUSEPORT and not listening; it keeps the port ours while workers come and go.
        on_ready: called once all workers accept connections.

    Raises:
        FanoutError: a worker could not start; its own words.
    """
    host, port = listener.getsockname()[:2]
    task = _Task(settings, source, redis_url, host, port, tls)
    # Forked from a process that has imported everything and does nothing else: 20 MB per worker in place of 60.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["fanout.cli"])
    stopping = threading.Event()
    workers = [_Worker(context, task, number) for number in range(settings.workers)]

    def stop(signal_number: int, frame: object) -> None:
        del signal_number, frame
        stopping.set()
        for worker in workers:  # the second time too: it ends their waiting for clients
            worker.terminate()

    terminal = Terminal()

    def pass_on(signal_number: int, frame: object) -> None:
        if terminal.is_gone:
            stop(signal_number, frame)
            return
        for worker in workers:
            worker.reload()

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop)
    signal.signal(signal.SIGHUP, pass_on)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGHUP})
    failures = [failure for worker in workers if (failure := worker.wait_until_ready())]
    if not failures and not stopping.is_set():
        on_ready()
    while not failures and not stopping.is_set():
        dead = wait([worker.sentinel for worker in workers], timeout=0.5)
        for index, worker in enumerate(workers):
            if worker.sentinel in dead and not stopping.is_set():
                reason = worker.wait_until_ready() or worker.describe_end()
                logger.error("%s (number %d), starting another", reason, index)
                if not stopping.wait(_RESTART_DELAY_SECONDS):
                    workers[index] = _Worker(context, task, index)
    for worker in workers:
        worker.terminate_once()
    for worker in workers:
        # With one that cannot start, the others have nobody to wait for: they are told again until they end.
        worker.join(again=bool(failures))
    if failures and not stopping.is_set():
        raise FanoutError(failures[0])


def _raise_descriptor_limit() -> None:
    # A connection is a descriptor. Shells give 1,024, for programs that use select(); the hard limit is what is meant.
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    except (ValueError, OSError) as error:  # macOS has a limit of the kernel's below an unlimited hard one
        logger.warning("the limit of file descriptors stays at %d: %s", soft, error)


@dataclass(frozen=True, slots=True)
class _Task:
    settings: Settings
    source: SettingsSource
    redis_url: str
    host: str
    port: int
    tls: TlsFiles | None


class _Worker:
    def __init__(self, context: multiprocessing.context.ForkServerContext, task: _Task, number: int) -> None:
        self._ready, child = context.Pipe(duplex=False)
        self._process = context.Process(target=_work, args=(task, number, child), name=f"fanout-worker-{number}")
        # Held back until the worker can handle it; the worker inherits this.
        held_back = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP})
        try:
            self._process.start()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, held_back)
        child.close()
        self._is_told = False

    def wait_until_ready(self) -> str:
        """Why the worker cannot serve; empty once it does. Called again: why it ended, as far as it has said."""
        try:
            return str(self._ready.recv())
        except EOFError:
            return self.describe_end()

    def describe_end(self) -> str:
        self._process.join(1)  # the sentinel is ready a moment before the exit code is
        return f"a worker ended with exit code {self._process.exitcode}"

    @property
    def sentinel(self) -> int:
        return self._process.sentinel

    def terminate(self) -> None:
        """Tell the worker to drain; told twice, it does not wait for its clients."""
        self._is_told = True
        if self._process.is_alive():
            self._process.terminate()

    def reload(self) -> None:
        if self._process.pid is not None and self._process.is_alive():
            with contextlib.suppress(ProcessLookupError):  # it has died since; its successor reads what is new
                os.kill(self._process.pid, signal.SIGHUP)

    def terminate_once(self) -> None:
        if not self._is_told:
            self.terminate()

    def join(self, *, again: bool) -> None:
        while again and self._process.is_alive():
            self._process.join(_TELL_AGAIN_SECONDS)
            self.terminate()
        self._process.join()


def _work(task: _Task, number: int, ready: Connection) -> None:
    # Collecting garbage writes to every object that it looks at, and so would unshare what was imported.
    gc.freeze()
    # Ctrl-C and the end of a terminal reach its whole session; the supervisor passes SIGTERM on. Told twice, a worker
    # would not wait for its clients.
    os.setsid()
    configure_logging(task.settings.log_level)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        listeners = [open_listener(task.host, task.port, shared=True)]
        if task.settings.worker_port is not None:
            listeners.append(open_listener(task.host, task.settings.worker_port + number))
        settings, _ = renew_settings(task.settings, task.source)
        set_log_level(settings.log_level)
        run_single(settings, task.source, task.redis_url, listeners, task.tls, lambda: ready.send(""))
    except FanoutError as error:
        ready.send(str(error))
        sys.exit(1)


def _end_with_parent() -> None:
    # A killed supervisor cannot tell its workers; without it nobody would end them.
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os.kill(os.getpid(), signal.SIGTERM)


def configure_logging(level: str) -> None:
    """Log lines go to stderr, so that what a command prints can be piped."""
    logging.basicConfig(format="%(asctime)s %(levelname)s %(name)s: %(message)s", force=True)
    set_log_level(level)
