"""Figures from outside a process: resident memory, percentiles, a description of the machine. Linux for the memory."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator, Sequence
from pathlib import Path


def read_resident_bytes(pid: int) -> int:
    """Resident memory of a process and all its descendants, in bytes; pages shared among them count for each.

    Raises:
        FileNotFoundError: there is no such process.
    """
    page_bytes = os.sysconf("SC_PAGE_SIZE")
    return sum(int(Path(f"/proc/{member}/statm").read_text().split()[1]) * page_bytes for member in _walk(pid))


def percentile(values: Sequence[float], fraction: float) -> float:
    """The smallest of the values that at least `fraction` of them do not exceed (nearest rank).

    Raises:
        ValueError: no values, or a fraction outside 0 to 1.
    """
    if not values or not 0 <= fraction <= 1:
        raise ValueError(f"percentile {fraction} of {len(values)} values")
    ordered = sorted(values)
    rank = -(-fraction * len(ordered) // 1)
    return ordered[max(int(rank), 1) - 1]


def describe_machine() -> str:
    """Processor, cores, kernel and Python, in one line: the figures mean nothing without."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    model = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")
    processor = model or platform.machine()
    return f"{processor}, {os.cpu_count()} cores, Linux {platform.release()}, Python {platform.python_version()}"


def _walk(pid: int) -> Iterator[int]:
    yield pid
    for thread in Path(f"/proc/{pid}/task").iterdir():
        for child in (thread / "children").read_text().split():
            yield from _walk(int(child))
