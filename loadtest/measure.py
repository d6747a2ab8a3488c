"""Figures from outside a process: memory, processor time, percentiles, a description of the machine. Linux only."""

from __future__ import annotations

import os
import platform
import re
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Memory:
    """Of a process or several: `resident_bytes` counts shared pages for each, `proportional_bytes` by share (PSS)."""

    resident_bytes: int
    proportional_bytes: int


@dataclass(frozen=True, slots=True)
class KernelMemory:
    """What TCP takes besides processes: sockets in use, bytes in their buffers, bytes of the objects that they are."""

    tcp_sockets: int
    tcp_buffer_bytes: int
    slab_bytes: int
    available_bytes: int


def read_resident_bytes(pid: int) -> int:
    """Resident memory of a process and all its descendants, in bytes; pages shared among them count for each.

    Raises:
        FileNotFoundError: there is no such process.
    """
    page_bytes = os.sysconf("SC_PAGE_SIZE")
    return sum(int(Path(f"/proc/{member}/statm").read_text().split()[1]) * page_bytes for member in _walk(pid))


def read_memory(pid: int, *, descendants: bool = True) -> Memory:
    """Memory of a process and its descendants. Walks their page tables: milliseconds per gigabyte.

    Raises:
        FileNotFoundError: there is no such process.
    """
    resident = proportional = 0
    for member in _walk(pid) if descendants else [pid]:
        text = Path(f"/proc/{member}/smaps_rollup").read_text()
        resident += _read_kilobytes(text, "Rss")
        proportional += _read_kilobytes(text, "Pss")
    return Memory(resident, proportional)


def read_cpu_seconds(pid: int) -> float:
    """Processor time that a process and its descendants have used so far, to the nanosecond.

    Raises:
        FileNotFoundError: there is no such process.
    """
    nanoseconds = 0
    for member in _walk(pid):
        for thread in Path(f"/proc/{member}/task").iterdir():
            nanoseconds += int((thread / "schedstat").read_text().split()[0])
    return nanoseconds / 1e9


def read_kernel_memory() -> KernelMemory:
    """The whole machine's; slabs are read as far as that is allowed."""
    page_bytes = os.sysconf("SC_PAGE_SIZE")
    tcp = re.search(r"^TCP: inuse (\d+).* mem (\d+)$", Path("/proc/net/sockstat").read_text(), re.MULTILINE)
    assert tcp is not None
    meminfo = Path("/proc/meminfo").read_text()
    return KernelMemory(
        tcp_sockets=int(tcp[1]),
        tcp_buffer_bytes=int(tcp[2]) * page_bytes,
        slab_bytes=_read_kilobytes(meminfo, "Slab"),
        available_bytes=_read_kilobytes(meminfo, "MemAvailable"),
    )


def list_children(pid: int) -> list[int]:
    """Processes that a process has started and that are still there."""
    return [
        int(child)
        for thread in Path(f"/proc/{pid}/task").iterdir()
        for child in (thread / "children").read_text().split()
    ]


def list_descendants(pid: int) -> list[int]:
    """Children of a process, their children, and so on."""
    return [member for member in _walk(pid) if member != pid]


def count_descriptors(pid: int) -> int:
    """Open file descriptors of a process."""
    return sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir())


def read_histogram(url: str, name: str) -> dict[float, int]:
    """A histogram of the service's `/metrics`: how many observations were at most so many seconds, by upper bound.

    Raises:
        OSError: the service does not answer.
    """
    with urllib.request.urlopen(f"{url}/metrics", timeout=10) as answer:  # noqa: S310 - a loopback URL of our own
        text = answer.read().decode()
    found = re.findall(rf'^{name}_bucket{{le="([^"]+)"}} (\S+)$', text, re.MULTILINE)
    return {float(bound): int(float(count)) for bound, count in found}


def bound_percentile(before: Mapping[float, int], after: Mapping[float, int], fraction: float) -> float | None:
    """The smallest bound that at least `fraction` of the observations between two reads of a histogram keep to.

    Returns:
        None if nothing was observed.
    """
    grown = {bound: count - before.get(bound, 0) for bound, count in after.items()}
    total = max(grown.values(), default=0)
    return min(bound for bound, count in grown.items() if count >= fraction * total) if total else None


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
    for child in list_children(pid):
        yield from _walk(child)


def _read_kilobytes(text: str, name: str) -> int:
    found = re.search(rf"^{name}: +(\d+) kB$", text, re.MULTILINE)
    assert found is not None, f"no {name}"
    return int(found[1]) * 1024
