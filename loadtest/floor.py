"""The floor: one write per subscriber and event, with nothing around it. The loop in Python, and the way to run both.

    python -m loadtest.floor CONNECTIONS

speaks what `floor.c` speaks, whose first lines say what that is. Where there is a C compiler, the C loop is what
the service is compared with; both are named in reports.
"""

from __future__ import annotations

import os
import shutil
import socket
import struct
import subprocess
import sys
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from loadtest import chat, frames
from loadtest.marks import ID_BYTES, Mark
from loadtest.processes import ProcessError, run_program
from loadtest.publisher import build_messages

_COMMAND = struct.Struct("=IIII")
_SOURCE = Path(__file__).with_name("floor.c")


@dataclass(frozen=True, slots=True)
class Floor:
    """A running floor: what it is (`C` or `Python`), its URL, its process, and where its commands go."""

    kind: str
    url: str
    pid: int
    rooms: int
    commands: IO[bytes]

    def publish(self, marks: Sequence[Mark]) -> None:
        """Have each event sent to its room, as a message with the bytes that the service sends."""
        for mark, message in zip(marks, build_messages(marks), strict=True):
            head, tail = build_frame_parts(message)
            room, rooms = (0, 1) if mark.room < 0 else (mark.room, self.rooms)
            self.commands.write(_COMMAND.pack(room, rooms, len(head), len(tail)) + head + tail)
        self.commands.flush()


def build_frame_parts(message: bytes) -> tuple[bytes, bytes]:
    """The frame of an AppSync `data` message before and after its id.

    Args:
        message: JSON of the event's selected fields.
    """
    before, after = build_text_parts(message)
    length = len(before) + ID_BYTES + len(after)
    width, code = (b"", length) if length < 126 else (length.to_bytes(2, "big"), 126)
    return bytes((0x80 | frames.TEXT, code)) + width + before, after


def build_text_parts(message: bytes) -> tuple[bytes, bytes]:
    """The text of an AppSync `data` message before and after its id."""
    return b'{"id":"', b'","type":"data","payload":{"data":{"%s":%s}}}' % (chat.SUBSCRIPTION_FIELD.encode(), message)


def compile_floor(folder: Path) -> Path | None:
    """Compile the C loop into a folder; None where there is no C compiler.

    Raises:
        ProcessError: the compiler refuses it.
    """
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        return None
    program = folder / "floor"
    line = [compiler, "-O2", "-std=gnu11", "-o", str(program), str(_SOURCE)]
    done = subprocess.run(line, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise ProcessError(f"{' '.join(line)}: {done.stderr[-2000:]}")
    return program


@contextmanager
def run_floor(
    connections: int, rooms: int, program: Path | None, *, cores: Collection[int] | None = None
) -> Iterator[Floor]:
    """Run the loop while the context lasts: the compiled program, or the one in Python where it is None.

    Raises:
        ProcessError: it did not start.
    """
    line = [str(program)] if program else [sys.executable, "-m", "loadtest.floor"]
    with run_program([*line, str(connections)], cores=cores) as (url, process):
        assert process.stdin is not None
        yield Floor("C" if program else "Python", url, process.pid, rooms, process.stdin)


def main(connections: int) -> None:
    """The loop in Python."""
    from loadtest.fleet import raise_descriptor_limit

    raise_descriptor_limit()
    commands = sys.stdin.buffer
    descriptors = [-1] * connections
    ids = [b""] * connections
    with socket.create_server(("127.0.0.1", 0), backlog=4096) as listener:
        print(f"floor on http://127.0.0.1:{listener.getsockname()[1]}", flush=True)
        for _ in range(connections):
            connection, _ = listener.accept()
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            id = connection.recv(ID_BYTES, socket.MSG_WAITALL)
            number = int(id[:8], 16)
            ack = b'{"id":"%s","type":"start_ack"}' % id
            connection.sendall(bytes((0x80 | frames.TEXT, len(ack))) + ack)
            descriptors[number], ids[number] = connection.detach(), id
    write = os.write
    while command := commands.read(_COMMAND.size):
        room, rooms, head_bytes, tail_bytes = _COMMAND.unpack(command)
        head, tail = commands.read(head_bytes), commands.read(tail_bytes)
        # What a group's frame is in the service: parts that an id joins.
        parts = (head, tail)
        for descriptor, id in zip(descriptors[room::rooms], ids[room::rooms], strict=True):
            write(descriptor, id.join(parts))


if __name__ == "__main__":
    main(int(sys.argv[1]))
