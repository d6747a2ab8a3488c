"""Runs a measurement beside a Valkey of its own, and prints what it gives as a Markdown table."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from typing import Any

import uvloop

from fanout.bus import EmbeddedServer

Measure = Callable[[str], Coroutine[Any, Any, Sequence[tuple[str, str]]]]
"""Given the server's URL, gives what was measured, and the figures."""


def run_beside_valkey(measure: Measure) -> None:
    server = EmbeddedServer()
    url = server.start()
    try:
        rows = uvloop.run(measure(url))
    finally:
        server.stop()
    print("| what | figure |\n|---|---|")
    for what, figure in rows:
        print(f"| {what} | {figure} |")
