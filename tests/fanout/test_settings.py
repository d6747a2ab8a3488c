"""Settings come from options, environment and file, in this order, and mistakes are named in one line."""

from __future__ import annotations

from enum import Enum
from pathlib import Path

import pytest

from fanout.errors import ConfigurationError
from fanout.settings import (
    RELOADED,
    MutationSettings,
    Settings,
    SettingsSource,
    load_settings,
    public_name,
    renew_settings,
)
from tests.structure.sources import ROOT


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "fanout.toml"
    path.write_text(
        'port = 1000\nhost = "file"\nstream = ["a", "b"]\n[subscriptions.onX]\nfilter = {room = {eq = "$args.room"}}\n'
    )
    return path


def test_options_beat_environment_beats_file(config: Path) -> None:
    environment = {"FANOUT_HOST": "environment", "FANOUT_PORT": "2000", "OTHER": "x"}
    settings = load_settings({"port": 3000, "host": None}, environment, config)
    assert (settings.port, settings.host, settings.stream) == (3000, "environment", ("a", "b"))
    assert settings.subscriptions["onX"].filter == {"room": {"eq": "$args.room"}}


def test_lists_in_the_environment_are_separated_by_commas() -> None:
    settings = load_settings({}, {"FANOUT_API_KEY": "one, two,", "FANOUT_SCHEMA": "x.graphql"})
    assert settings.api_key == ("one", "two")
    assert settings.schema_path == Path("x.graphql")


@pytest.mark.parametrize(
    ("options", "environment", "text"),
    [
        ({}, {"FANOUT_PROT": "1"}, "environment variable FANOUT_PROT: unknown setting, did you mean 'port'?"),
        ({}, {"FANOUT_QQQQ": "1"}, "environment variable FANOUT_QQQQ: unknown setting, see docs/operations.md"),
        ({}, {"FANOUT_PORT": "x"}, "environment variable FANOUT_PORT: Input should be a valid integer"),
        ({"port": 70000}, {}, "option --port: Input should be less than or equal to 65535"),
        ({"log_level": "loud"}, {}, "option --log-level: Input should be 'debug'"),
        ({"tls_cert": "a.pem"}, {}, "tls_cert and tls_key go together"),
        ({"tls_cert": "a", "tls_key": "b", "tls_dev": True}, {}, "tls_dev makes its own certificate"),
        ({}, {"FANOUT_SUBSCRIPTIONS": "x"}, "FANOUT_SUBSCRIPTIONS: set this in the configuration file"),
        ({}, {"FANOUT_HEARTBEAT_INTERVAL_MS": "6000"}, "heartbeat_timeout_ms: give at least three times"),
        ({}, {"FANOUT_REDIS_URL": ""}, "environment variable FANOUT_REDIS_URL is empty: give it a value, or unset it"),
        ({}, {"FANOUT_KEEP_ALIVE_INTERVAL_MS": "400000"}, "keep_alive_interval_ms: has to be below"),
        (
            {"mutations": {"m": {"stream": "x"}}},
            {},
            "mutations.m.stream: 'x' is not one of the streams (fanout:events)",
        ),
        ({"stream": [""]}, {}, "name at least one event stream"),
        ({}, {"FANOUT_STREAM": " "}, "name at least one event stream"),
    ],
)
def test_mistakes_are_named(options: dict[str, object], environment: dict[str, str], text: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        load_settings(options, environment)
    assert text in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ("port = ", "not valid TOML"),
        ('[resolvers."Query.a"]', 'settings of one are in [resolver."Type.field"]'),
        ("prot = 1", "unknown setting, did you mean 'port'?"),
        ("[subscriptions.onX]\nfliter = {}", "subscriptions.onX.fliter"),
        ("workers = 0", "workers: Input should be greater than 0"),
    ],
)
def test_mistakes_in_the_file_name_the_file(tmp_path: Path, content: str, text: str) -> None:
    path = tmp_path / "fanout.toml"
    path.write_text(content)
    with pytest.raises(ConfigurationError) as caught:
        load_settings({}, {}, path)
    assert str(path) in str(caught.value)
    assert text in str(caught.value)


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="cannot read the configuration file: No such file"):
        load_settings({}, {}, tmp_path / "none.toml")


def test_settings_cannot_be_changed() -> None:
    with pytest.raises(ValueError, match="frozen"):
        Settings().port = 1  # type: ignore[misc]


def test_the_table_of_settings_in_the_docs_is_this_one() -> None:
    text = (ROOT / "docs/operations.md").read_text(encoding="utf-8")
    for name, field in Settings.model_fields.items():
        assert field.description, name
        row = f"| `{field.alias or name}` | {describe_default(field.default)} | {field.description} |"
        assert row in text, f"docs/operations.md should have the row:\n{row}"


def describe_default(default: object) -> str:
    if default is None or default == () or default == {}:
        return ""
    if isinstance(default, tuple):
        return f"`{','.join(default)}`"
    if isinstance(default, bool):
        return f"`{str(default).lower()}`"
    if isinstance(default, Enum):
        return f"`{default.value}`"
    return f"`{default}`"


def test_what_kubernetes_injects_is_no_setting() -> None:
    environment = {
        "FANOUT_SERVICE_HOST": "10.0.0.1",
        "FANOUT_SERVICE_PORT": "8080",
        "FANOUT_SERVICE_PORT_HTTP": "8080",
        "FANOUT_PORT": "tcp://10.0.0.1:8080",
        "FANOUT_PORT_8080_TCP": "tcp://10.0.0.1:8080",
        "FANOUT_PORT_8080_TCP_ADDR": "10.0.0.1",
    }
    assert load_settings({}, environment).port == 8080
    assert load_settings({}, {"FANOUT_PORT": "99"}).port == 99


def test_a_reload_takes_what_can_change_and_names_what_cannot(config: Path) -> None:
    source = SettingsSource({"workers": 2}, {"FANOUT_LOG_LEVEL": "error"}, config, {"api_key": ("generated",)})
    settings = source.read()
    assert (settings.port, settings.workers, settings.log_level, settings.api_key) == (1000, 2, "error", ("generated",))
    assert renew_settings(settings, source) == (settings, [])
    config.write_text('port = 2000\nhost = "other"\napi_key = ["mine"]\nadmin_key = ["a"]\nschema = "b.graphql"\n')
    renewed, ignored = renew_settings(settings, source)
    assert ignored == ["host", "port", "stream"]
    assert (renewed.port, renewed.host, renewed.stream) == (settings.port, settings.host, settings.stream)
    assert (renewed.api_key, renewed.admin_key, renewed.schema_path) == (("mine",), ("a",), Path("b.graphql"))
    assert renewed.subscriptions == {}
    config.write_text("port = ")
    with pytest.raises(ConfigurationError, match="not valid TOML"):
        renew_settings(settings, source)


def test_what_can_be_reloaded_are_settings_and_the_docs_name_them() -> None:
    assert set(RELOADED) <= Settings.model_fields.keys()
    text = (ROOT / "docs/operations.md").read_text(encoding="utf-8")
    assert ", ".join(f"`{public_name(name)}`" for name in RELOADED) in text


def test_a_mutation_has_its_own_stream_or_the_first() -> None:
    settings = Settings(stream=("one", "two"), mutations={"createX": MutationSettings(stream="two")})
    assert [settings.stream_of(mutation) for mutation in ("createX", "createY")] == ["two", "one"]
