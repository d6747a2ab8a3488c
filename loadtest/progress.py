"""What a long run shows while it runs: on a terminal one line that changes, elsewhere lines now and then."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO


class Progress:
    """Tells a stream how far a run is. Use as a context, so that the changing line is gone at its end.

    Args:
        stream: where to.
        line_every_s: where it is no terminal, write a line so often within a step; None for its end only.
    """

    def __init__(self, stream: TextIO, *, line_every_s: float | None = None) -> None:
        self._stream = stream
        self._line_every_s = line_every_s
        self._last_line = time.monotonic()
        self._is_terminal = stream.isatty()
        self._step = ""
        self._began = time.monotonic()

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *exception: object) -> None:
        self._rewrite("")

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """A part of the run, with its time told at its end."""
        self._step = name
        self._began = time.monotonic()
        self.tell("")
        yield
        self._rewrite("")
        self._stream.write(f"{name}: {time.monotonic() - self._began:.0f} s\n")
        self._stream.flush()
        self._step = ""

    def tell(self, text: str) -> None:
        """How far the step is."""
        now = time.monotonic()
        line = f"{self._step}: {now - self._began:.0f} s {text}"
        self._rewrite(line)
        if not self._is_terminal and self._line_every_s is not None and now - self._last_line >= self._line_every_s:
            self._last_line = now
            self._stream.write(f"{line}\n")
            self._stream.flush()

    def _rewrite(self, text: str) -> None:
        if self._is_terminal:
            self._stream.write("\r\x1b[K" + text[: shutil.get_terminal_size().columns - 1])
            self._stream.flush()
