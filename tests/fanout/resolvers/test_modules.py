"""ES modules as function bodies: imports, exports, places, and what is refused."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from fanout.resolvers.modules import ModuleError, check_module, check_modules, rewrite_module
from fanout.resolvers.sandbox import Limits, Sandbox

UTILS = "'@aws-appsync/utils'"


def run(source: str, handler: str = "request") -> Any:
    sandbox = Sandbox(rewrite_module(source, "a.js"), Limits(), lambda question: {"value": None})
    envelope = sandbox.call(handler, orjson.dumps({"arguments": {"a": 1}}).decode())
    assert "value" in envelope, envelope
    return envelope["value"]


@pytest.mark.parametrize(
    "imports",
    [
        f"import {{ util, runtime }} from {UTILS};",
        f"import {{ util, }} from {UTILS}; import {{ runtime }} from {UTILS}",
        f"import {{ util as u, runtime as r }} from {UTILS}\nconst util = u, runtime = r",
        f"import {{util}}from{UTILS};import{{runtime}}from{UTILS};",
        'import{util,runtime}from"@aws-appsync/utils";',
        f"import * as all from {UTILS}\nconst {{ util, runtime }} = all",
        f"import {UTILS};\nimport {{\n  util, // import x from 'y'\n  runtime\n}}\nfrom\n{UTILS}\n",
        f"import {{ util }} from {UTILS}\nimport {{ util as v, runtime }} from {UTILS}",
        f"import {{ util, util as again, runtime }} from {UTILS}",
        f"import {{ 'util' as util, runtime }} from {UTILS}",
    ],
)
@pytest.mark.parametrize("prefix", ["", "\ufeff", "#!/usr/bin/env node\n"])
def test_imports(imports: str, prefix: str) -> None:
    for text in (imports, imports.replace("\n", "\r\n")):
        code = f"{prefix}{text}\nexport function request() {{ return typeof util.error + typeof runtime.earlyReturn }}"
        assert run(code) == "functionfunction"


@pytest.mark.parametrize(
    "source",
    [
        "export function request() { return 7 }",
        "export const request = () => 7;",
        "export let other = 1, request = function () { return other + 6 }",
        "export var request = () => 7",
        "const a = () => 7; export { a as request };",
        "const request = () => 7\nexport { request }",
        "export { request, }\nfunction request() { return 7 }",
        "export{a as request};const a=()=>7;",
        "export const six = 6\nexport const request = () => six\n + 1",
        "export const request = () => { return 7 }\nfoo(1, request), 2\nfunction foo() {}",
        "function request(){return 7}export{request};",
        "const a = () => 7; export { a as 'request' }",
    ],
)
def test_exports(source: str) -> None:
    assert run(source) == 7


def test_imports_may_stand_after_their_use() -> None:
    assert (
        run(f"const f = util.error\nexport const request = () => typeof f\nimport {{ util }} from {UTILS}")
        == "function"
    )


@pytest.mark.parametrize(
    ("source", "where", "message"),
    [
        ("import axios from 'axios'", "1:19", "bundle the module"),
        (f"import utils from {UTILS}", "1:8", "no default export"),
        ("import { x } from './x.js'", "1:19", "bundle the module"),
        ("\n  import { ddb } from '@aws-appsync/utils/dynamodb'", "2:23", "no data source of that kind"),
        ("import * as d from '@aws-appsync/utils/dynamodb'", "1:20", "no data source of that kind"),
        (f"import {{ utils }} from {UTILS}", "1:10", "exports no `utils`: there are util, extensions, runtime"),
        ("export default function () {}", "1:8", "export by name"),
        ("const a = 1; export { a as default }", "1:23", "export by name"),
        ("export * from 'x'", "1:8", "bundle the module"),
        ("export { a } from 'x'", "1:14", "bundle the module"),
        ("export const { a } = b", "1:14", "simple names"),
        ("export const a = 1; export { a }", "1:30", "exported twice"),
        ("const a = () => import('x')", "1:17", "import() is not there"),
        ("export const a = () => import('x')", "1:24", "import() is not there"),
        ("f(import.meta)", "1:3", "import.meta is not there"),
        ("if (a) { export const b = 1 }", "1:10", "only at the top"),
        ("return 1", "1:1", "only in a function"),
        ("}; x = {", "1:1", "unexpected `}`"),
        ("a\r\nb (", "2:3", "not closed"),
        ("export a", "1:8", "expected a function"),
        ("export { a", "1:8", "not closed"),
        ("import { util } from '@aws-appsync/utils' util", "1:43", "expected `;`"),
    ],
)
def test_what_resolvers_cannot_have_is_refused_where_it_is(source: str, where: str, message: str) -> None:
    with pytest.raises(ModuleError) as raised:
        rewrite_module(source, "Query.a.js")
    assert str(raised.value).startswith(f"Query.a.js:{where}: ")
    assert message in str(raised.value)


def test_names_that_are_no_statements_are_left_alone() -> None:
    source = """
    class A { import() { return 1 } export = 2; static get return() { return 3 } }
    const o = { import: 4, export() { return 5 }, return: 6, await: 7 };
    export const request = () => [new A().import(), new A().export, A.return, o.import, o.export(), o.return, o?.await];
    """
    assert run(source) == [1, 2, 3, 4, 5, 6, 7]


def test_everything_else_stays_where_it_is() -> None:
    source = f"import {{ util }} from {UTILS}; const a = 1; export const b = 2\n"
    source += "/* c */ export { a } ; d(`\nexport { e }`)"
    lines = rewrite_module(source, "a.js").split("\n")[1:-1]
    assert [len(line) for line in lines] == [len(line) for line in source.split("\n")]
    assert lines[0].index("const a") == source.index("const a")
    assert lines[1:] == ["/* c */" + " " * 16 + "d(`", "export { e }`)"]


def test_a_checked_module_tells_its_functions() -> None:
    body = rewrite_module("export const a = 1; export function request() {}", "a.js")
    assert check_modules({"a.js": body}) == {"a.js": frozenset({"request"})}


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("const a = 1;\nlet b = ;", "b.js:2:9: SyntaxError: unexpected token in expression: ';'"),
        ("\n\n  nope();", "b.js:3:3: ReferenceError: nope is not defined"),
        ("while (true) {}", "b.js: the module's top level exceeds its time limit"),
    ],
)
def test_a_module_that_fails_is_told_where(source: str, message: str) -> None:
    with pytest.raises(ModuleError) as raised:
        check_module(rewrite_module(source, "b.js"), "b.js")
    assert str(raised.value) == message
