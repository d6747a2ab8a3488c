"""What goes into resolvers and comes out."""

from __future__ import annotations

from fanout.schema.resolving import ResolverFault


def test_a_fault_without_a_type_is_one_of_the_code() -> None:
    assert ResolverFault("Runtime Error").errors == [{"errorType": "Code", "message": "Runtime Error"}]


def test_a_fault_has_what_the_resolver_said() -> None:
    fault = ResolverFault("No", error_type="Refused", data={"id": 1}, error_info=[2])
    assert (fault.error_type, fault.data, fault.error_info) == ("Refused", {"id": 1}, [2])
