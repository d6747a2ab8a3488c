"""NONE gives back what it is given."""

from __future__ import annotations

from typing import Any

import pytest

from fanout.resolvers.data_sources import NoneSource


@pytest.mark.parametrize(
    ("request_", "result"), [({"payload": {"a": 1}}, {"a": 1}), ({"payload": None}, None), ({}, None), (None, None)]
)
async def test_none_gives_back_the_payload(request_: Any, result: Any) -> None:
    assert await NoneSource().invoke(request_) == result
