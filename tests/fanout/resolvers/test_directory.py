"""Which field is resolved by what: from files and settings, with every mistake named by its file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from fanout.errors import ConfigurationError, ConfigurationErrors
from fanout.resolvers.definitions import Function, Pipeline, list_modules
from fanout.resolvers.directory import read_directory
from fanout.settings import Settings
from tests.fanout.resolvers.written import SCHEMA, UNIT, read

ORDERS = {"orders": {"type": "HTTP", "endpoint": "https://orders.example.com"}}
PIPELINE = {"Mutation.create": {"functions": ["check", {"name": "store", "data_source": "orders"}]}}


def test_a_module_resolves_the_field_that_it_is_named_by(tmp_path: Path) -> None:
    code = read(
        tmp_path,
        {"Mutation.create.js": UNIT, "Room.author.js": UNIT},
        resolver={"Room.author": {"data_source": "orders"}},
        data_source=ORDERS,
    )
    assert {key: each.data_source for key, each in code.fields.items() if isinstance(each, Function)} == {
        ("Mutation", "create"): "NONE",
        ("Room", "author"): "orders",
    }
    assert code.describe() == ["Mutation.create: Mutation.create.js (NONE)", "Room.author: Room.author.js (orders)"]


def test_a_folder_is_a_pipeline_in_the_order_of_the_configuration(tmp_path: Path) -> None:
    modules = {
        "Mutation.create/before.js": "export function request(ctx) { return {}; }",
        "Mutation.create/check.js": UNIT,
        "functions/check.js": "this is not looked at, since the pipeline has its own",
        "functions/store.js": UNIT,
        "functions/unused.js": UNIT,
    }
    code = read(tmp_path, modules, resolver=PIPELINE, data_source=ORDERS)
    pipeline = code.fields["Mutation", "create"]
    assert isinstance(pipeline, Pipeline)
    assert (pipeline.before is not None, pipeline.after) == (True, None)
    assert code.describe() == [
        "Mutation.create: Mutation.create/before.js -> Mutation.create/check.js (NONE) -> functions/store.js (orders)"
    ]


def test_one_file_can_be_before_and_after(tmp_path: Path) -> None:
    modules = {"Mutation.create/resolver.js": UNIT, "Mutation.create/check.js": UNIT}
    code = read(tmp_path, modules, resolver={"Mutation.create": {"functions": ["check"]}})
    names = [module.name for module in list_modules(code.fields["Mutation", "create"])]
    assert names == ["Mutation.create/resolver.js", "Mutation.create/check.js", "Mutation.create/resolver.js"]


def test_what_is_no_resolver_is_left_alone(tmp_path: Path) -> None:
    modules = dict.fromkeys(
        (".eslintrc", "README.md", "package.json", "package-lock.json", "tsconfig.json", "Query.a.js.map"), "?"
    )
    modules |= {"node_modules/x/index.js": "?", "Query.a.ts": "?", "Query.a.js": UNIT, "types.d.ts": "?"}
    assert set(read(tmp_path, modules).fields) == {("Query", "a")}


NO_RESPONSE = "export function request(ctx) {\n  return {};\n}\n"


@pytest.mark.parametrize(
    ("modules", "settings", "text"),
    [
        ({"Mutation.nothing.js": UNIT}, {}, "Mutation.nothing.js: Mutation has no field 'nothing'"),
        ({"Mutation.creat.js": UNIT}, {}, "Mutation has no field 'creat', did you mean 'create'?"),
        ({"Mutations.create.js": UNIT}, {}, "the schema has no object type 'Mutations', did you mean 'Mutation'?"),
        ({"Node.id.js": UNIT}, {}, "the schema has no object type 'Node'"),
        ({"__Schema.types.js": UNIT}, {}, "the schema has no object type '__Schema'"),
        ({"create.js": UNIT}, {}, "create.js: name it by its field, like Mutation.createMessage.js"),
        ({"Mutation.create.v2.js": UNIT}, {}, "Mutation.create.v2.js: name it by its field"),
        ({"notes.txt": UNIT}, {}, "notes.txt: not a resolver"),
        ({"Query.a.ts": UNIT}, {}, "Query.a.ts: TypeScript is not run: compile it to Query.a.js with esbuild"),
        ({"Query.a.mjs": UNIT}, {}, "Query.a.mjs: call it Query.a.js"),
        ({"Query.a.js": NO_RESPONSE}, {}, "Query.a.js: exports no response: write `export function response(ctx)"),
        ({"Query.a.js": "export const x = 1;"}, {}, "Query.a.js: exports no request and no response"),
        ({"Query.a.js": "import x from 'y';\n"}, {}, "Query.a.js:1:"),
        ({"Query.a.js": f"{UNIT}\nconst a = ;"}, {}, "Query.a.js:5:11: SyntaxError: "),
        ({"Query.a.js": f"{UNIT}\n\n  nothing.here;"}, {}, "Query.a.js:6:3: ReferenceError: nothing is not defined"),
        ({"Query.a.js": f"{UNIT}\nwhile (true);"}, {}, "Query.a.js: the module's top level exceeds its time limit"),
        ({"Query.a.js": UNIT, "Query.a/x.js": UNIT}, {}, "Query.a.js: Query.a has a module and a folder"),
        ({"Query.a/x.js": UNIT}, {}, 'a pipeline has functions in an order: set [resolver."Query.a"] functions'),
        (
            {"Query.a/x.js": UNIT, "Query.a/y.js": UNIT},
            {"resolver": {"Query.a": {"functions": ["x"]}}},
            'y.js: no function of [resolver."Query.a"] functions',
        ),
        (
            {"Query.a/x.js": UNIT},
            {"resolver": {"Query.a": {"functions": ["x", "z"]}}},
            "'z' is neither {folder}/Query.a/z.js nor {folder}/functions/z.js",
        ),
        (
            {"Query.a/x.js": UNIT, "functions/z.ts": UNIT},
            {"resolver": {"Query.a": {"functions": ["x", "z"]}}},
            "functions/z.ts: TypeScript is not run",
        ),
        (
            {"Query.a/x.js": UNIT},
            {"resolver": {"Query.a": {"functions": ["../x"]}}},
            "'../x' cannot be a function's name",
        ),
        (
            {"Query.a/x.js": UNIT, "Query.a/resolver.js": UNIT, "Query.a/after.js": UNIT},
            {"resolver": {"Query.a": {"functions": ["x"]}}},
            "after.js: resolver.js has this step, too",
        ),
        (
            {"Query.a/x.js": UNIT, "Query.a/after.js": NO_RESPONSE},
            {"resolver": {"Query.a": {"functions": ["x"]}}},
            "after.js: exports no response",
        ),
        (
            {"Query.a/x.js": UNIT},
            {"resolver": {"Query.a": {"functions": ["x"], "data_source": "NONE"}}},
            "data_source: a pipeline's functions have data sources",
        ),
        (
            {"Query.a.js": UNIT},
            {"resolver": {"Query.a": {"functions": ["x"]}}},
            "Query.a.js is a module; of a pipeline",
        ),
        ({"Query.a.js": UNIT}, {"resolver": {"Query.b": {}}}, "has neither Query.b.js nor a folder Query.b"),
        (
            {"Query.a.js": UNIT},
            {"resolver": {"Query.a": {"data_source": "order"}}, "data_source": ORDERS},
            "there is no data source 'order' but orders, NONE: give [data_source.order] a type",
        ),
    ],
)
def test_mistakes_are_named_with_their_file(
    tmp_path: Path, modules: dict[str, str], settings: dict[str, Any], text: str
) -> None:
    with pytest.raises(ConfigurationError) as caught:
        read(tmp_path, modules, **settings)
    assert text.replace("{folder}", str(tmp_path)) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_all_resolvers_with_a_mistake_are_told_at_once(tmp_path: Path) -> None:
    table = "import * as ddb from '@aws-appsync/utils/dynamodb';\n"
    modules = {
        "Mutation.change/check.js": UNIT,
        "Mutation.create/check.js": UNIT,
        "Mutation.none.js": UNIT,
        "Query.a.js": table + UNIT,
        "Query.room.js": NO_RESPONSE,
        "Room.author.js": UNIT,
        "functions/store.js": table + UNIT,
    }
    both = {"functions": ["check", "store"]}
    settings = {"Mutation.create": both, "Mutation.change": both, "Query.rom": {}, "Query.a": {}}
    with pytest.raises(ConfigurationErrors) as caught:
        read(tmp_path, modules, resolver=settings)
    mistakes = [str(each).removeprefix(f"{tmp_path}/") for each in caught.value.mistakes]
    # Of the two pipelines that share a function that function is told, once.
    assert [each.partition(": ")[0] for each in mistakes] == [
        "functions/store.js:1:22",
        "Mutation.none.js",
        "Query.a.js:1:22",
        '[resolver."Query.rom"]',
        "Query.room.js",
    ]
    assert mistakes[3].endswith("did you mean 'Query.room'?")
    assert str(caught.value) == f"{caught.value.mistakes[0]} (and 4 more)"


def test_what_cannot_be_read_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="none: cannot read the resolvers: No such file"):
        read_directory(tmp_path / "none", Settings(), SCHEMA)
    (tmp_path / "Query.a.js").write_bytes(b"\xff")
    with pytest.raises(ConfigurationError, match=r"Query\.a\.js: the resolver is not UTF-8 text"):
        read_directory(tmp_path, Settings(), SCHEMA)
