"""util.time, util.matches and util.urlEncode against what OpenJDK 17 gave for random cases, see `java_cases.py`."""

from __future__ import annotations

from itertools import groupby
from typing import Any

import orjson
import pytest

from fanout.resolvers.answers import answer
from tests.fanout.resolvers.library.java_cases import FILE
from tests.fanout.resolvers.running import load

EXPRESSIONS = {
    "format": "util.time.epochMilliSecondsToFormatted(Number(a), b, c)",
    "parse": "String(util.time.parseFormattedToEpochMilliSeconds(a, b, c))",
    "matches": "String(util.matches(a, b))",
    "urlEncode": "util.urlEncode(a)",
}
PAIRS: list[tuple[list[str], str | None]] = orjson.loads(FILE.read_bytes())
CASES = {kind: list(pairs) for kind, pairs in groupby(PAIRS, key=lambda pair: pair[0][0])}


@pytest.mark.parametrize("kind", EXPRESSIONS)
def test_what_java_gives_is_given_here(kind: str) -> None:
    sandbox = load(
        f"const request = ({{ args: {{ list: [a, b, c] }} }}) => {EXPRESSIONS[kind]};\nreturn {{ request }};",
        answer,
        time_ms=1000,
    )
    different: list[Any] = []
    for (_, *arguments), expected in CASES[kind]:
        context = orjson.dumps({"arguments": {"list": arguments}, "stash": {}}).decode()
        envelope = sandbox.call("request", context)
        if envelope.get("value") != expected:
            different.append((arguments, expected, envelope.get("value", envelope.get("failure"))))
    assert not different, different[:10]
    assert len(CASES[kind]) >= 40
