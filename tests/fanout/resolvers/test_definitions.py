"""What resolves a field, as values: what is called in which order, and when it counts as another."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from fanout.resolvers.definitions import Function, Module, Pipeline, ResolverCode, compute_version, list_modules
from fanout.settings import Settings

BOTH = Module("Mutation.create/resolver.js", "return {};", mentions_selection=False)
CHECK = Module("Mutation.create/check.js", "return { check };", mentions_selection=False)
STORE = Module("functions/store.js", "return { store };", mentions_selection=False)
PIPELINE = Pipeline(BOTH, (Function(CHECK), Function(STORE, "orders")), BOTH)
ORDERS: dict[str, Any] = {
    "type": "HTTP",
    "endpoint": "https://orders.example.com",
    "signing": {"region": "r", "service": "s", "access_key_id": "A", "secret_access_key": "one"},
}


def test_modules_come_in_the_order_of_their_calls() -> None:
    assert list(list_modules(PIPELINE)) == [BOTH, CHECK, STORE, BOTH]
    assert list(list_modules(replace(PIPELINE, before=None, after=None))) == [CHECK, STORE]
    assert list(list_modules(Function(CHECK))) == [CHECK]


def test_each_module_in_use_is_there_once() -> None:
    code = ResolverCode({("Mutation", "create"): PIPELINE, ("Query", "a"): Function(STORE)})
    assert code.modules == {module.name: module for module in (BOTH, CHECK, STORE)}


def test_a_line_tells_what_resolves_a_field() -> None:
    code = ResolverCode({("Query", "a"): Function(STORE), ("Mutation", "create"): PIPELINE})
    pipeline = f"{BOTH.name} -> {CHECK.name} (NONE) -> {STORE.name} (orders) -> {BOTH.name}"
    assert code.describe() == [f"Mutation.create: {pipeline}", f"Query.a: {STORE.name} (NONE)"]


def test_a_version_changes_with_what_a_resolver_does_and_with_nothing_else() -> None:
    def compute(code: Pipeline | Function = PIPELINE, orders: dict[str, Any] = ORDERS, **more: Any) -> str:
        return compute_version(code, Settings.model_validate({"data_source": {"orders": orders}, **more}))

    assert compute(resolver_processes=7) == compute()
    assert compute(orders={**ORDERS, "signing": {**ORDERS["signing"], "secret_access_key": "two"}}) == compute()
    versions = [
        compute(),
        compute(environment_variables={"TABLE": "t"}),
        compute(orders={**ORDERS, "endpoint": "https://other.example.com"}),
        compute(replace(PIPELINE, after=None)),
        compute(replace(PIPELINE, functions=PIPELINE.functions[::-1])),
        compute(replace(PIPELINE, functions=(Function(CHECK), Function(STORE)))),
        compute(replace(PIPELINE, functions=(Function(CHECK), Function(replace(STORE, body="return 2;"), "orders")))),
        compute(Function(CHECK)),
    ]
    assert len(set(versions)) == len(versions)
