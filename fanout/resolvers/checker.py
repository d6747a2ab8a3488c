"""Checks rewritten modules where they can do no harm: in a process of its own, which ends when it has taken too long.

Checking a module is running its top level, code of the API's owner like its handlers; some of JavaScript's own
functions cannot be interrupted, and would hold up the gateway that reloads.

    in   {"limits": {...}, "bodies": {file: function body}}
    out  {"handlers": [...]} for each module in order, or {"error": [message, line, column]} and the end
"""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, BinaryIO, Final

import orjson

from fanout.errors import ConfigurationError
from fanout.resolvers.answers import answer
from fanout.resolvers.rewriter import ModuleError
from fanout.resolvers.sandbox import Limits, ResourceLimitExceeded, Sandbox, SandboxError
from fanout.resolvers.worker import confine, guard_seconds

# A context is made within it, too: in less than 10 ms where there is nothing else to do.
_GUARD_SECONDS: Final = 0.5
_LONGEST_SECONDS: Final = 60.0


def check_apart(bodies: Mapping[str, str], limits: Limits) -> dict[str, frozenset[str]]:
    """Check modules in a process of its own, which takes 0.2 s to start. Blocks until it has ended.

    Args:
        bodies: by file, from `rewrite_module`.
        limits: of each one's top level.

    Returns:
        The names of the functions that each exports, by file.

    Raises:
        ModuleError: of the first one that fails.
        ConfigurationError: the process cannot be run.
    """
    question = orjson.dumps({"limits": asdict(limits), "bodies": dict(bodies)})
    command = [sys.executable, "-I", "-m", "fanout.resolvers.checker"]
    try:
        # No shell, and only arguments of our own.
        done = subprocess.run(  # noqa: S603
            command, input=question, stdout=subprocess.PIPE, env={}, cwd="/", timeout=_LONGEST_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ConfigurationError(f"the resolvers cannot be checked: {error}") from None
    told = [orjson.loads(line) for line in done.stdout.splitlines()]
    handlers: dict[str, frozenset[str]] = {}
    for file, line in zip(bodies, told, strict=False):
        if "error" in line:
            message, at, column = line["error"]
            raise ModuleError(message, file=file, line=at, column=column)
        handlers[file] = frozenset(line["handlers"])
    if len(handlers) < len(bodies):
        file = list(bodies)[len(handlers)]
        if done.returncode == -signal.SIGPROF:
            raise ModuleError("the module's top level exceeds its time limit", file=file)
        raise ModuleError(f"the process that checks the module ended with {done.returncode}", file=file)
    return handlers


def check_all(given: Mapping[str, Any], out: BinaryIO) -> None:
    """Check modules in order, up to the first that fails."""
    limits = Limits(**given["limits"])
    for file, body in given["bodies"].items():
        signal.setitimer(signal.ITIMER_PROF, guard_seconds(limits) + _GUARD_SECONDS)
        try:
            line: dict[str, Any] = {"handlers": sorted(check_module(body, file, limits))}
        except ModuleError as error:
            line = {"error": [error.message, error.line, error.column]}
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0)
        out.write(orjson.dumps(line) + b"\n")
        out.flush()
        if "error" in line:
            return


def check_module(body: str, file: str, limits: Limits) -> frozenset[str]:
    """Compile one module and run its top level once, in this process.

    Returns:
        The names of the functions that it exports.

    Raises:
        ModuleError: it does not compile, its top level fails or exceeds a limit.
    """
    try:
        return Sandbox(body, limits, answer).handlers
    except ResourceLimitExceeded as error:
        raise ModuleError(f"the module's top level exceeds its {error.resource} limit", file=file) from None
    except SandboxError as error:
        raise ModuleError(error.message, file=file, line=error.line, column=error.column) from None


def main() -> None:
    """Check what standard input holds."""
    confine()
    signal.signal(signal.SIGPROF, signal.SIG_DFL)
    check_all(orjson.loads(sys.stdin.buffer.read()), sys.stdout.buffer)


if __name__ == "__main__":
    main()
