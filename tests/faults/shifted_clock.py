"""`fanout` with a wall clock that can be set: `python -m tests.faults.shifted_clock FILE serve ...`.

Setting the machine's clock needs a privilege and disturbs everybody on it. A gateway reads the wall clock through
Python's `time.time` and `datetime.now` only, so here both are shifted by the seconds that stand in FILE, which is read
at every call. What is measured with `time.monotonic` or the event loop's clock stays as it is, as on a real machine.
"""

from __future__ import annotations

import datetime
import sys
import time
from pathlib import Path
from typing import Any


def shift(path: Path) -> None:
    """Shift this process' wall clock by the seconds in a file; an empty or missing one means 0."""
    real_time = time.time
    real_datetime = datetime.datetime

    def read_shift() -> float:
        try:
            return float(path.read_text() or 0)
        except FileNotFoundError:
            return 0.0

    class Shifted(real_datetime):  # type: ignore[misc, valid-type]
        @classmethod
        def now(cls, tz: Any = None) -> Any:
            return real_datetime.now(tz) + datetime.timedelta(seconds=read_shift())

    time.time = lambda: real_time() + read_shift()
    time.time_ns = lambda: int(time.time() * 1e9)
    datetime.datetime = Shifted  # type: ignore[misc]


if __name__ == "__main__":
    shift(Path(sys.argv.pop(1)))
    from fanout.cli import main

    main()
