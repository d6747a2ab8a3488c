"""`fanout keys`: what scripts read is on standard output, the rest on standard error, and no key in lists."""

from __future__ import annotations

import re
from collections.abc import Iterator
from hashlib import sha256
from typing import Any

import orjson
import pytest

from fanout import key_commands
from fanout.bus import EmbeddedServer
from fanout.errors import BadRequest, ConfigurationError, Unavailable
from fanout.key_commands import format_table
from fanout.model import KeyKind
from fanout.settings import Settings
from tests.served import run_command
from tests.valkey import Valkey, run_valkey

HASH = "fanout:{keys}"


@pytest.fixture(scope="module")
def server() -> Iterator[Valkey]:
    with run_valkey() as server:
        yield server


@pytest.fixture
def valkey(server: Valkey) -> Valkey:
    server.client.flushall()
    return server


@pytest.fixture
def settings(valkey: Valkey) -> Settings:
    return Settings(redis_url=valkey.url)


def create(settings: Settings, capsys: Any, kind: KeyKind = KeyKind.API, description: str = "") -> tuple[str, str]:
    """The key, and what was said about it."""
    key_commands.create(settings, kind, description, 7)
    out, error = capsys.readouterr()
    assert re.fullmatch(r"da2-[a-z0-9]{26}\n", out)
    return out.strip(), error


def test_the_commands_as_a_script_uses_them(valkey: Valkey) -> None:
    environment = {"FANOUT_REDIS_URL": valkey.url}
    made = run_command("keys", "create", "--description", "for CI", "--days", "2", environment=environment)
    assert (made.returncode, made.stdout.count("\n")) == (0, 1)
    key = made.stdout.strip()
    id = f"sha256:{sha256(key.encode()).hexdigest()[:16]}"
    assert f"{id}, kind api, good until 20" in made.stderr
    assert "the only time that the key is shown" in made.stderr
    assert "no gateway runs on this Redis" in made.stderr
    assert key not in made.stderr

    listed = run_command("keys", "list", "--json", "--redis-url", valkey.url)
    assert listed.stderr == ""
    (shown,) = orjson.loads(listed.stdout)
    assert (shown["id"], shown["description"], shown["state"]) == (id, "for CI", "active")

    revoked = run_command("keys", "revoke", id, environment=environment)
    assert (revoked.returncode, revoked.stdout) == (0, f"{id}\n")
    assert valkey.client.hlen(HASH) == 0
    for arguments, code, text in (
        (("keys", "revoke", id), 1, "no key is stored by this id"),
        (("keys", "revoke", key), 1, "never as the key itself"),
        (("keys", "create", "--description", "a\nb"), 1, "description: give at most"),
    ):
        refused = run_command(*arguments, environment=environment)
        assert (refused.returncode, refused.stdout) == (code, "")
        assert re.fullmatch(r"fanout: [^\n]+\n", refused.stderr)
        assert text in refused.stderr
        assert key not in refused.stderr
    assert run_command("keys", "create", "--days", "366", environment=environment).returncode == 2


def test_the_table_shows_all_but_keys(valkey: Valkey, settings: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    key, _ = create(settings, capsys, description="web")
    create(settings, capsys, KeyKind.PUBLISHER)
    old = orjson.dumps({"kind": "admin", "description": "\x1b[31mred", "createdAt": 1, "expiresAt": 2})
    valkey.client.hset(HASH, "ab" * 32, old.decode())
    key_commands.list_all(settings, as_json=False)
    out, error = capsys.readouterr()
    assert error == ""
    lines = out.splitlines()
    assert lines[0].split() == ["ID", "KIND", "STATE", "CREATED", "EXPIRES", "DESCRIPTION"]
    assert lines[1] == (
        "sha256:abababababababab  admin      expired  1970-01-01T00:00:01Z  1970-01-01T00:00:02Z  \ufffd[31mred"
    )
    assert {tuple(line.split()[1:3]) for line in lines[2:]} == {("api", "active"), ("publisher", "active")}
    assert key not in out
    assert not any(line.endswith(" ") for line in lines)
    assert key not in str(valkey.client.hgetall(HASH))


def test_an_empty_list(settings: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    key_commands.list_all(settings, as_json=False)
    assert capsys.readouterr() == ("", "no key is stored; those of the configuration are not listed here\n")
    key_commands.list_all(settings, as_json=True)
    assert capsys.readouterr() == ("[]\n", "")


def test_the_fifty_first_key_is_refused(valkey: Valkey, settings: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    create(settings, capsys)
    (value,) = valkey.client.hgetall(HASH).values()
    for number in range(1, 50):
        valkey.client.hset(HASH, f"{number:064x}", value)
    refused = run_command("keys", "create", "--redis-url", valkey.url)
    assert (refused.returncode, refused.stdout) == (1, "")
    assert "there are 50 stored keys of the kind 'api' that have not expired" in refused.stderr
    create(settings, capsys, KeyKind.ADMIN)
    key_commands.revoke(settings, f"{1:064x}")
    capsys.readouterr()
    create(settings, capsys)


def test_gateways_that_do_not_answer_are_told_of() -> None:
    for gateways, text in (
        (None, "within 30 s after it is back they accept it"),
        ({"told": 3, "answered": 1}, "1 of 3 gateways accept it now, the others when they go on, or are dead"),
        ({"told": 3, "answered": 3}, "3 of 3 gateways accept it"),
    ):
        assert key_commands._count({"gateways": gateways}, "accept it").endswith(text)


def test_the_prefix_of_the_deployment_counts(valkey: Valkey, capsys: pytest.CaptureFixture[str]) -> None:
    create(Settings(redis_url=valkey.url, key_prefix="other:"), capsys)
    assert set(valkey.client.keys()) == {"other:{keys}", "other:{announcements}"}


def test_without_a_redis_it_is_said_how_to_reach_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(key_commands, "find_running", list)
    with pytest.raises(ConfigurationError, match=r"^no Redis is given: give --redis-url, [^;]*$"):
        key_commands.create(Settings(), KeyKind.API, "", 7)
    monkeypatch.undo()
    embedded = EmbeddedServer()
    url = embedded.start()
    try:
        with pytest.raises(ConfigurationError) as caught:
            key_commands.list_all(Settings(), as_json=False)
        assert url in str(caught.value)
    finally:
        embedded.stop()


def test_a_redis_that_is_away_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    settings = Settings(redis_url="redis://user:secret@127.0.0.1:1")
    with pytest.raises(Unavailable, match=r"redis://127.0.0.1:1 cannot be reached"):
        key_commands.create(settings, KeyKind.API, "", 7)
    assert capsys.readouterr() == ("", "")
    assert key_commands.find_stored(settings) == set()


def test_kinds_of_which_there_is_a_good_key(
    valkey: Valkey, settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    assert key_commands.find_stored(Settings()) == key_commands.find_stored(settings) == set()
    create(settings, capsys, KeyKind.PUBLISHER)
    old = orjson.dumps({"kind": "api", "description": "", "createdAt": 1, "expiresAt": 2})
    valkey.client.hset(HASH, "ab" * 32, old.decode())
    assert key_commands.find_stored(settings) == {KeyKind.PUBLISHER}
    with pytest.raises(BadRequest):
        key_commands.revoke(settings, "x")


def test_columns_are_as_wide_as_they_have_to_be() -> None:
    assert format_table([("a", "long", ""), ("more", "b", "c")]) == ["a     long", "more  b     c"]
