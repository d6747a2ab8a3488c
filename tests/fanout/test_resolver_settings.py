"""Settings of resolvers and their data sources: what is refused, and that secrets are not shown."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from fanout.errors import ConfigurationError
from fanout.resolver_settings import HttpDataSourceSettings, ResolverSettings
from fanout.settings import load_settings

SIGNED = """
[data_source.orders]
type = "HTTP"
endpoint = "https://states.eu-west-1.amazonaws.com"
[data_source.orders.signing]
region = "eu-west-1"
service = "states"
access_key_id = "AKIA"
"""


def test_functions_are_given_by_name_or_as_tables() -> None:
    settings = ResolverSettings.model_validate({"functions": ["check", {"name": "store", "data_source": "orders"}]})
    assert [each if isinstance(each, str) else each.name for each in settings.functions] == ["check", "store"]


def test_an_endpoint_has_to_be_given() -> None:
    with pytest.raises(ValidationError, match="endpoint"):
        HttpDataSourceSettings.model_validate({"type": "HTTP"})


@pytest.mark.parametrize("endpoint", ["https://api.example.com", "http://127.0.0.1:1/v1/", "http://[::1]:80"])
def test_endpoints(endpoint: str) -> None:
    assert HttpDataSourceSettings(type="HTTP", endpoint=endpoint).endpoint == endpoint


@pytest.mark.parametrize(
    "endpoint",
    [
        "api.example.com",
        "ftp://a",
        "https://user:word@a",
        "https://a?b=c",
        "https://a#b",
        "https://a\\b",
        "https://a b",
    ],
)
def test_what_is_no_endpoint(endpoint: str) -> None:
    with pytest.raises(ValidationError, match="give a URL like https"):
        HttpDataSourceSettings(type="HTTP", endpoint=endpoint)


@pytest.mark.parametrize("host", ["https://a", "a/b", "u@a", "", "a:b", "*"])
def test_what_is_no_host(host: str) -> None:
    with pytest.raises(ValidationError, match="is not a host"):
        HttpDataSourceSettings(type="HTTP", endpoint="https://a", allowed_hosts=(host,))


def test_secrets_stand_in_the_environment_and_are_not_shown(tmp_path: Path) -> None:
    config = tmp_path / "fanout.toml"
    config.write_text(SIGNED + 'secret_access_key_env = "ORDERS_SECRET"\n')
    settings = load_settings({}, {"ORDERS_SECRET": "hush"}, config)
    signing = settings.data_source["orders"].signing
    assert signing is not None
    assert signing.secret_access_key.get_secret_value() == "hush"
    assert "hush" not in repr(settings)
    assert load_settings({}, {"ORDERS_SECRET": "other"}, config).data_source != settings.data_source
    with pytest.raises(
        ConfigurationError, match=r"data_source\.orders\.signing: .* ORDERS_SECRET is not set, or empty"
    ):
        load_settings({}, {}, config)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ('[environment_variables]\nA = "1"\n', "environment_variables.A: String should match pattern"),
        ('[environment_variables]\nA-B = "1"\n', "environment_variables.A-B: String should match pattern"),
        (f'[environment_variables]\nAB = "{"x" * 513}"\n', "environment_variables.AB: String should have at most 512"),
        ('[data_source.NONE]\ntype = "HTTP"\nendpoint = "https://a"\n', "data_source.NONE: this one is always there"),
        (
            '[data_source.a]\ntype = "AWS_LAMBDA"\nendpoint = "https://a"\n',
            'data_source.a.type: there are "HTTP", and NONE, which needs no table',
        ),
        ('[resolver.Query.a]\ndata_source = "a"\n', "resolver.Query: a field stands in quotes: [resolver."),
        ('[resolver."Query.a"]\ndatasource = "a"\n', "resolver.Query.a.datasource: unknown setting"),
    ],
)
def test_mistakes_are_named(tmp_path: Path, text: str, problem: str) -> None:
    config = tmp_path / "fanout.toml"
    config.write_text(text)
    with pytest.raises(ConfigurationError) as caught:
        load_settings({}, {}, config)
    assert problem in str(caught.value).replace(".[key]", "")
