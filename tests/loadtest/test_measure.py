import math
import os
import socket
import subprocess
import sys

import pytest

from loadtest.measure import (
    bound_percentile,
    count_descriptors,
    describe_machine,
    list_children,
    percentile,
    read_cpu_seconds,
    read_histogram,
    read_kernel_memory,
    read_memory,
    read_resident_bytes,
)


def test_resident_memory_includes_descendants():
    child = "import sys; block = bytearray(b'x' * 40_000_000); print(flush=True); sys.stdin.read()"
    parent = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {child!r}])"
    with subprocess.Popen([sys.executable, "-c", parent], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"\n"
        assert 40_000_000 < read_resident_bytes(process.pid) < 150_000_000


def test_resident_memory_of_nobody():
    with pytest.raises(FileNotFoundError):
        read_resident_bytes(2**22 + 1)


@pytest.mark.parametrize(("fraction", "expected"), [(0, 1), (0.25, 1), (0.5, 2), (0.51, 3), (0.99, 4), (1, 4)])
def test_percentile_is_one_of_the_values(fraction, expected):
    assert percentile([4, 1, 3, 2], fraction) == expected


@pytest.mark.parametrize(("values", "fraction"), [([], 0.5), ([1], 1.1), ([1], -0.1)])
def test_percentile_of_nothing(values, fraction):
    with pytest.raises(ValueError, match="percentile"):
        percentile(values, fraction)


def test_the_machine_is_described_in_one_line():
    text = describe_machine()
    assert f"{os.cpu_count()} cores" in text
    assert "\n" not in text


def test_memory_and_processor_time_of_a_tree():
    child = "import sys; block = bytearray(b'x' * 40_000_000); print(flush=True); sys.stdin.read()"
    parent = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {child!r}])"
    with subprocess.Popen([sys.executable, "-c", parent], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"\n"
        (inner,) = list_children(process.pid)
        whole, alone = read_memory(process.pid), read_memory(process.pid, descendants=False)
        assert 40_000_000 < whole.proportional_bytes < whole.resident_bytes
        assert alone.resident_bytes < 40_000_000
        assert read_cpu_seconds(process.pid) > read_cpu_seconds(inner) > 0
        assert count_descriptors(inner) == 3


def test_the_kernels_share_counts_sockets():
    before = read_kernel_memory()
    with socket.create_server(("127.0.0.1", 0)):
        assert read_kernel_memory().tcp_sockets > 0
    assert min(before.slab_bytes, before.available_bytes) > 0


def test_a_histogram_tells_bounds_of_percentiles_between_two_reads():
    before = {0.001: 5, 0.01: 5, math.inf: 5}
    after = {0.001: 5 + 90, 0.01: 5 + 99, math.inf: 5 + 100}
    assert [bound_percentile(before, after, fraction) for fraction in (0.5, 0.99, 1)] == [0.001, 0.01, math.inf]
    assert bound_percentile(after, after, 0.5) is None


def test_a_histogram_is_read_from_the_service(service):
    bounds = read_histogram(service.url, "fanout_publish_to_write_seconds")
    assert set(bounds.values()) == {0}
    assert math.inf in bounds
