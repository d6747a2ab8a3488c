"""What goes into resolvers and comes out."""

from __future__ import annotations

from typing import Any

import orjson

from fanout.schema.resolving import ResolverFault, can_be_written


def test_a_fault_without_a_type_is_one_of_the_code() -> None:
    assert ResolverFault("Runtime Error").errors == [{"errorType": "Code", "message": "Runtime Error"}]


def test_a_fault_has_what_the_resolver_said() -> None:
    fault = ResolverFault("No", error_type="Refused", data={"id": 1}, error_info=[2])
    assert (fault.error_type, fault.data, fault.error_info) == ("Refused", {"id": 1}, [2])


def test_what_could_not_be_written_inside_of_a_message_is_known_before() -> None:
    def nest(levels: int) -> Any:
        value: Any = 1
        for _ in range(levels):
            value = [value]
        return value

    assert can_be_written(nest(240))
    assert not can_be_written(nest(250))
    orjson.dumps(nest(250))  # by itself it could be
