"""Imports only point down, and rooms on one line do not import each other (design.md section 5)."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.structure.sources import list_imports, list_modules

# From the top down. Rooms of one line may not import each other; every room may import from the lines below it.
LINES: tuple[tuple[str, ...], ...] = (
    ("fanout.__main__",),
    ("fanout.cli",),
    ("fanout.supervisor", "fanout.banner", "fanout.client", "fanout.development_tls", "fanout.key_commands"),
    ("fanout.service",),
    ("fanout.administration",),
    ("fanout.reload", "fanout.key_watch"),
    ("fanout.key_orders",),
    ("fanout.orders",),
    ("fanout.gateway", "fanout.web", "fanout.bus", "fanout.trust", "fanout.resolvers"),
    ("fanout.engine",),
    ("fanout.api",),
    ("fanout.planning", "fanout.execution"),
    ("fanout.protocol", "fanout.schema", "fanout.auth"),
    (
        "fanout.model",
        "fanout.errors",
        "fanout.settings",
        "fanout.auth_settings",
        "fanout.resolver_settings",
        "fanout.metrics",
        "fanout.log_limit",
        "fanout.origins",
    ),
    ("filters",),
)
RANKS = {room: rank for rank, line in enumerate(LINES) for room in line}

# Base modules are one line of small files, of which the plain values and errors are the lowest.
BASE_EXCEPTIONS = {
    ("fanout.settings", "fanout.errors"),
    ("fanout.settings", "fanout.model"),
    ("fanout.settings", "fanout.auth_settings"),
    ("fanout.settings", "fanout.resolver_settings"),
    ("fanout.settings", "fanout.origins"),
    ("fanout.resolver_settings", "fanout.auth_settings"),
    ("fanout.metrics", "fanout.model"),
}

PURE = (
    "filters",
    "fanout.api",
    "fanout.planning",
    "fanout.execution",
    "fanout.protocol",
    "fanout.schema",
    "fanout.auth",
    "fanout.model",
    "fanout.errors",
    "fanout.origins",
)
IO_LIBRARIES = {"asyncio", "socket", "redis", "uvicorn", "fastapi", "starlette", "httpx", "uvloop", "threading"}


def find_room(name: str) -> str | None:
    """The room that a module or imported name belongs to; None for what is not ours, or the package itself."""
    parts = name.split(".")
    if parts[0] == "filters":
        return "filters"
    return ".".join(parts[:2]) if parts[0] == "fanout" and ".".join(parts[:2]) in RANKS else None


def module_name(path: Path) -> str:
    parts = path.with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


OURS = [path for path in list_modules() if path.parts[0] != "loadtest" and module_name(path) != "fanout"]


@pytest.mark.parametrize("path", OURS, ids=str)
def test_imports_point_down(path: Path) -> None:
    room = find_room(module_name(path))
    assert room is not None, f"{path} is in no room: add it to LINES"
    for name in list_imports(path):
        imported = find_room(name)
        if imported is None or imported == room or (room, imported) in BASE_EXCEPTIONS:
            continue
        assert RANKS[imported] > RANKS[room], f"{path} imports {name}, which is not below it"


@pytest.mark.parametrize("path", [path for path in OURS if find_room(module_name(path)) in PURE], ids=str)
def test_pure_rooms_do_no_io(path: Path) -> None:
    assert not {name.split(".")[0] for name in list_imports(path)} & IO_LIBRARIES


@pytest.mark.parametrize("path", [path for path in list_modules() if path.parts[0] == "loadtest"], ids=str)
def test_the_load_test_is_a_black_box(path: Path) -> None:
    assert not {name.split(".")[0] for name in list_imports(path)} & {"fanout", "filters"}


@pytest.mark.parametrize("path", [path for path in OURS if path.parts[0] == "filters"], ids=str)
def test_filters_is_a_library_of_its_own(path: Path) -> None:
    assert not {name.split(".")[0] for name in list_imports(path)} & {"fanout", "graphql"}


def test_only_the_wiring_knows_the_edges() -> None:
    edges = {"fanout.gateway", "fanout.web", "fanout.bus", "fanout.trust", "fanout.resolvers"}
    for path in OURS:
        room = find_room(module_name(path))
        known = {find_room(name) for name in list_imports(path)} & (edges - {room})
        if len(known) > 1:
            assert room == "fanout.service", f"{path} knows {known}"
