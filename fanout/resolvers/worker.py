"""The process that runs resolvers: lines in, lines out, until its input ends. Started and watched by `pool`.

    in   {"limits": {...}, "bodies": {module: function body}}      once, first
         MODULE \\t HANDLER \\t CONTEXT as JSON                      a call
    out  ready                                                     once
         warm                                                      once, between answers: all contexts are made
         v ENVELOPE as JSON  |  l WHICH LIMIT  |  e WHAT IS WRONG   one for each call, in order

A call that the sandbox cannot interrupt is ended by the kernel together with the process: a timer of processor time is
set before each call, and its signal is left to its default. Processor time, so that a busy machine kills no innocent
call.
"""

from __future__ import annotations

import os
import resource
import select
import signal
import sys
import traceback
from collections.abc import Mapping
from typing import Any, BinaryIO, Final

import orjson

from fanout.resolvers.answers import answer
from fanout.resolvers.sandbox import Limits, ResourceLimitExceeded, Sandbox, SandboxError

READY: Final = b"ready\n"
WARM: Final = b"warm\n"
_OPEN_FILES: Final = 32
_MOST_DESCRIPTORS: Final = 1 << 20
# A context is made in less than 10 ms; on a machine with very little time for us it may be ten times that.
_MAKING_SECONDS: Final = 0.1
_KEPT_BY_TERMINALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Worker:
    """The modules of one API in this process.

    Args:
        bodies: function bodies by module name.
        limits: of each call.
    """

    def __init__(self, bodies: Mapping[str, str], limits: Limits) -> None:
        self._bodies = bodies
        self._limits = limits
        self._guard_s = guard_seconds(limits)
        self._sandboxes: dict[str, Sandbox] = {}
        self._to_make = list(bodies)

    def answer(self, line: bytes) -> bytes:
        """Run the call of one line; the line that answers it."""
        module, handler, context = line.split(b"\t", 2)
        name = module.decode()
        try:
            sandbox = self._sandboxes.get(name) or self._make(name)
            signal.setitimer(signal.ITIMER_PROF, self._guard_s)
            return f"v{sandbox.call_text(handler.decode(), context.decode())}\n".encode()
        except ResourceLimitExceeded as error:
            self._sandboxes.pop(name, None)
            return f"l{error.resource}\n".encode()
        except SandboxError as error:
            self._sandboxes.pop(name, None)
            return f"e{error.message}\n".encode()
        except Exception:  # noqa: BLE001 - a defect of ours with this one call, which the gateway logs in one line
            self._sandboxes.pop(name, None)
            return f"e{traceback.format_exc()!r}\n".encode(errors="backslashreplace")
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0)

    def prepare_one(self) -> bool:
        """Make the context of a module that has none yet, so that its first call need not wait. False: all are made."""
        while self._to_make:
            name = self._to_make.pop()
            if name not in self._sandboxes:
                try:
                    self._make(name)
                except (ResourceLimitExceeded, SandboxError):
                    pass  # its first call tells
                finally:
                    signal.setitimer(signal.ITIMER_PROF, 0)
                return True
        return False

    def _make(self, name: str) -> Sandbox:
        signal.setitimer(signal.ITIMER_PROF, self._guard_s + _MAKING_SECONDS)
        sandbox = Sandbox(self._bodies[name], self._limits, answer)
        self._sandboxes[name] = sandbox
        return sandbox


def guard_seconds(limits: Limits) -> float:
    """Processor time after which a call is ended from outside: clear of what the sandbox itself ends."""
    return limits.time_ms * 1.2 / 1000 + 0.01


def serve(lines: BinaryIO, out: int) -> None:
    """Answer lines until they end."""
    settings: dict[str, Any] = orjson.loads(lines.readline())
    worker = Worker(settings["bodies"], Limits(**settings["limits"]))
    _write(out, READY)
    descriptor = lines.fileno()
    is_preparing = True
    while True:
        # What was read ahead is not seen by select: asking costs a context at most.
        while is_preparing and not select.select([descriptor], [], [], 0)[0]:
            is_preparing = worker.prepare_one()
            if not is_preparing:
                _write(out, WARM)
        line = lines.readline()
        if not line.endswith(b"\n"):
            return
        _write(out, worker.answer(line))


def confine() -> None:
    """Give up what a resolver's process does not need."""
    for number in _KEPT_BY_TERMINALS:
        signal.signal(number, signal.SIG_IGN)  # it ends with its input, when all calls under way are answered
    os.closerange(3, min(resource.getrlimit(resource.RLIMIT_NOFILE)[0], _MOST_DESCRIPTORS))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_NOFILE, (_OPEN_FILES, _OPEN_FILES))


def main() -> None:
    """Serve standard input."""
    confine()
    signal.signal(signal.SIGPROF, signal.SIG_DFL)
    try:
        serve(sys.stdin.buffer, sys.stdout.fileno())
    except BrokenPipeError:
        pass  # nobody waits for it any more


def _write(out: int, data: bytes) -> None:
    while data:
        data = data[os.write(out, data) :]


if __name__ == "__main__":
    main()
