"""Every function of the library, given what it does not take: a value, or words that name the function; nothing more.

The cases are what clients can send as arguments, and a few that only code can make.
"""

from __future__ import annotations

import itertools
import random
from typing import Any

import orjson
import pytest

from fanout.resolvers.answers import answer
from fanout.resolvers.sandbox import Limits, Sandbox
from tests.fanout.resolvers.running import IMPORT, list_functions

# What JSON cannot say stands for itself by its number in this list.
MADE = "[undefined, NaN, () => 1, { toString: null, valueOf: null }, Object.create(null), new Array(3), 10n]"
CALL = """
const made = %s;
const request = ({ args }) => {
  const result = %s(...args.list.map((value) => (value && value.made !== undefined ? made[value.made] : value)));
  if ({}.polluted !== undefined || [].polluted !== undefined) throw new Error("polluted");
  if (typeof result === "object" && result !== null && result.polluted !== undefined) throw new Error("inherited");
  return result === undefined ? null : result;
};
return { request };
"""
PROTO = orjson.loads(b'{"__proto__": {"polluted": 1}}')
VALUES: list[Any] = [
    *(None, True, 0, -1.5, 9e15, 1e308, [], [None], [[[]]], [1, "a"], {}, PROTO, [PROTO]),
    *("", "x", "__proto__", "constructor", "\u0000\ud7ff\U0001f600", "(a+", "%", "a" * 2000),
    *("yyyy-MM-dd HH:mm:ssZ", "[yyyy", "Europe/Berlin", "../../etc/passwd", "+99:99", "2024-02-30T99:99:99Z"),
    *({"constructor": {"prototype": {"polluted": 1}}}, {"toString": 1, "valueOf": 2, "length": -1}),
    *({"and": [None]}, {"a": {"eq": PROTO}}, {"S": "{}"}),
    *({"made": number} for number in range(7)),
]


@pytest.mark.parametrize("function", list_functions())
def test_nothing_but_a_value_or_words_about_the_function(function: str) -> None:
    sandbox = Sandbox(f"{IMPORT}\n{CALL % (MADE, function)}", Limits(time_ms=1000), answer)
    chosen = random.Random(function)
    several = ([chosen.choice(VALUES) for _ in range(chosen.randint(2, 4))] for _ in range(60))
    for values in itertools.chain([[]], ([value] for value in VALUES), several):
        context = {"arguments": {"list": values}, "stash": {}, "info": {"fieldName": "f", "parentTypeName": "T"}}
        envelope = sandbox.call("request", orjson.dumps(context).decode())
        if "failure" in envelope:
            room = function.partition(".")[0] + "."
            told = room in envelope["failure"] or "JSON" in envelope["failure"] or function == "util.parseJson"
            assert told, (values, envelope)
