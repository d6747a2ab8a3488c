"""The command line: exit codes, one line per mistake, and the progress line. More is shown in tests/system."""

from __future__ import annotations

import io
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from fanout import __version__, cli
from tests.served import run_command


def test_help_names_every_command() -> None:
    result = run_command("--help")
    assert result.returncode == 0
    for command in ("serve", "publish", "subscribe", "check", "keys", "version"):
        assert command in result.stdout


def test_version() -> None:
    assert run_command("version").stdout == f"fanout {__version__}\n"


def test_check_of_a_good_schema(tmp_path: Path) -> None:
    path = tmp_path / "a.graphql"
    path.write_text(
        'type Query { a: Int } type Mutation { m: Int }type Subscription { onM: Int @aws_subscribe(mutations: ["m"]) }'
    )
    result = run_command("check", str(path))
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout == f"{path}: ok, 1 subscription on 1 of 1 mutations\n  m -> onM\n"


RESOLVER = """import { util } from '@aws-appsync/utils';
export const request = (ctx) => ({ payload: ctx.args });
export const response = (ctx) => ctx.result;
"""


def test_check_says_what_resolves_which_field_and_where_a_mistake_is(tmp_path: Path) -> None:
    schema = tmp_path / "a.graphql"
    schema.write_text("type Query { a: Int b: Int }")
    config = tmp_path / "fanout.toml"
    config.write_text('[resolver."Query.b"]\nfunctions = ["one"]\n')
    folder = tmp_path / "resolvers"
    (folder / "Query.b").mkdir(parents=True)
    (folder / "Query.a.js").write_text(RESOLVER)
    (folder / "Query.b" / "one.js").write_text(RESOLVER)
    arguments = ("check", str(schema), "--resolvers", str(folder), "--config", str(config))
    result = run_command(*arguments)
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.endswith(
        f"{folder}: ok, 2 resolvers\n  Query.a: Query.a.js (NONE)\n  Query.b: Query.b/one.js (NONE)\n"
    )
    (folder / "Query.a.js").write_text(RESOLVER + "\nconst = 1;\n")
    result = run_command(*arguments)
    assert (result.returncode, result.stdout) == (2, "")
    assert re.fullmatch(rf"fanout: {re.escape(str(folder))}/Query\.a\.js:5:\d+: SyntaxError: [^\n]+\n", result.stderr)
    (folder / "Query.b" / "one.js").write_text("import 'one';")
    lines = run_command(*arguments).stderr.splitlines()
    assert [line.partition(".js:")[0] for line in lines] == [
        f"fanout: {folder}/Query.b/one",
        f"fanout: {folder}/Query.a",
    ]
    assert run_command("check", str(schema), "--config", str(config)).returncode == 2


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("check", "none.graphql"), "none.graphql: cannot read the schema"),
        (("publish", "m", "{"), "data: not valid JSON"),
        (("subscribe", "subscription { a }", "--variables", "[]"), "--variables: give a JSON object"),
        (("subscribe", "subscription { a }", "--api-key", "k", "--token", "t"), "give either --api-key"),
        (("publish", "m", "{}", "--url", "http://127.0.0.1:1"), "127.0.0.1:1"),
        (("subscribe", "subscription { a }", "--url", "http://127.0.0.1:1"), "127.0.0.1:1"),
        (("publish", "m", "{}", "--ca", "none.pem"), "none.pem: not a CA certificate"),
    ],
)
def test_a_mistake_is_one_line(arguments: tuple[str, ...], text: str) -> None:
    result = run_command(*arguments)
    assert result.returncode in {1, 2}
    assert text in result.stderr
    assert re.fullmatch(r"fanout: [^\n]+\n", result.stderr), result.stderr


def test_a_bad_filter_template_is_found_by_check(tmp_path: Path) -> None:
    schema = tmp_path / "a.graphql"
    schema.write_text(
        'type Query { a: Int } type Mutation { m: Int }type Subscription { onM: Int @aws_subscribe(mutations: ["m"]) }'
    )
    config = tmp_path / "fanout.toml"
    config.write_text("[subscriptions.onNothing]\nfilter = {a = {eq = 1}}\n")
    result = run_command("check", str(schema), "--config", str(config))
    assert result.returncode == 2
    assert "onNothing" in result.stderr


def test_check_warns_of_directives_of_modes_that_are_not_there(tmp_path: Path) -> None:
    schema = tmp_path / "a.graphql"
    schema.write_text("type Query {\n  a: Int @aws_iam\n}\n")
    result = run_command("check", str(schema))
    assert (result.returncode, result.stderr) == (0, "")
    _, warning = result.stdout.splitlines()
    assert warning.startswith(f"warning: {schema}:2: @aws_iam on Query.a lets nobody in: AWS_IAM is not configured")
    config = tmp_path / "fanout.toml"
    config.write_text('[iam]\nusers = [{access_key_id = "a", secret_access_key = "s"}]\n')
    assert "warning" not in run_command("check", str(schema), "--config", str(config)).stdout
    config.write_text('auth_mode = "AWS_IAM"\n')
    for command in (("check", str(schema)), ("serve", "--schema", str(schema), "--port", "0")):
        result = run_command(*command, "--config", str(config))
        assert result.returncode == 2
        assert "fanout: auth_mode: AWS_IAM is the default mode, but nobody could come in by it" in result.stderr


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_the_progress_line_counts_and_shows_the_latency(monkeypatch: Any) -> None:
    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    progress = cli._Progress()
    progress.show(None)
    assert "subscribed, waiting" in terminal.getvalue()
    created = (datetime.now(UTC) - timedelta(seconds=2)).isoformat()
    progress.show({"data": {"onX": {"createdAt": created}}})
    assert re.search(r"1 events in 0 s, 2\d\d\d ms after createdAt$", terminal.getvalue())
    progress.show({"data": {"onX": None}})
    assert "2 events" in terminal.getvalue()
    assert "select createdAt" in terminal.getvalue()


def test_there_is_no_progress_line_in_a_pipe(monkeypatch: Any) -> None:
    pipe = io.StringIO()
    monkeypatch.setattr("sys.stderr", pipe)
    progress = cli._Progress()
    progress.show({"data": {}})
    progress.clear()
    assert pipe.getvalue() == ""
    assert progress.count == 1


@pytest.mark.parametrize("value", ["yesterday", 5, None])
def test_a_time_that_cannot_be_read_is_no_latency(value: object) -> None:
    assert cli._read_delay_ms({"data": {"onX": {"createdAt": value}}}) is None
