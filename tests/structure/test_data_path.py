"""The data path has no per-subscriber JSON and does not wait: held by what the hot modules may name."""

from __future__ import annotations

import ast
from collections.abc import Sequence

import orjson
import pytest

from fanout.engine import Dispatcher, Registry
from fanout.metrics import Metrics
from fanout.model import Event
from fanout.protocol import DIALECTS, join_parts
from filters import MATCH_ALL
from tests.structure.sources import ROOT

HOT = ("fanout/engine/dispatch.py", "fanout/engine/registry.py", "fanout/protocol/frames.py")


@pytest.mark.parametrize("path", HOT)
def test_hot_modules_neither_wait_nor_know_json(path: str) -> None:
    tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        assert not isinstance(node, ast.AsyncFunctionDef | ast.Await | ast.AsyncFor | ast.AsyncWith)
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = {name.name for name in node.names} | {getattr(node, "module", None)}
            assert not names & {"json", "orjson", "asyncio", "graphql"}


class CountingProjection:
    key = "p"

    def __init__(self) -> None:
        self.calls = 0

    def project(self, data: object) -> bytes:
        self.calls += 1
        return b'{"data":' + orjson.dumps(data) + b"}"

    def too_large(self, size: int, limit: int) -> bytes:
        raise AssertionError


@pytest.mark.parametrize("dialect", DIALECTS.values(), ids=lambda dialect: dialect.name)
def test_work_does_not_grow_with_subscribers_but_for_the_write(dialect: object) -> None:
    joins = 0

    def counting_join(payloads: Sequence[bytes], id_length: int) -> list[bytes]:
        nonlocal joins
        joins += 1
        return join_parts(payloads, dialect, id_length)

    registry = Registry(Metrics())
    projection = CountingProjection()
    group, _ = registry.find_or_create("onX", MATCH_ALL, projection, "any", counting_join)
    written: list[bytes] = []
    for number in range(1000):
        registry.add(group, b'"%04d"' % number, written.append)
    dispatcher = Dispatcher(registry, lambda mutation: ("onX",), 10_000, Metrics(), lambda: 0)
    dispatcher.deliver("s", [Event(f"1-{n}", "createX", {"n": n}, b"", 0) for n in range(4)])
    assert (projection.calls, joins, len(written)) == (4, 1, 1000)
