from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from fanout.auth_settings import IamSettings, IamUser, LambdaSettings
from fanout.errors import ConfigurationError
from fanout.settings import load_settings


@pytest.mark.parametrize("given", [{}, {"url": "http://127.0.0.1:1", "function": "a:b"}])
def test_an_authorizer_function_is_in_one_place(given: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match="either url or function"):
        LambdaSettings(**given)


def test_secrets_are_not_shown() -> None:
    user = IamUser(access_key_id="AKIA", secret_access_key="hush", session_token="quiet")
    assert "hush" not in repr(user)
    assert "quiet" not in repr(user)
    assert user.secret_access_key.get_secret_value() == "hush"


def test_secrets_stand_in_the_environment_or_in_files(tmp_path: Path) -> None:
    (tmp_path / "token").write_text(" temporary\n")
    config = tmp_path / "fanout.toml"
    config.write_text(
        '[[iam.users]]\naccess_key_id = "AKIA"\nsecret_access_key_env = "ADA_SECRET"\n'
        f'session_token_file = "{tmp_path / "token"}"\n'
    )
    settings = load_settings({}, {"ADA_SECRET": "hush"}, config)
    assert settings.iam is not None
    (user,) = settings.iam.users
    assert user.secret_access_key.get_secret_value() == "hush"
    assert user.session_token is not None
    assert user.session_token.get_secret_value() == "temporary"
    assert "hush" not in repr(settings)
    (tmp_path / "token").write_text("another")
    assert load_settings({}, {"ADA_SECRET": "hush"}, config).iam != settings.iam
    assert load_settings({}, {"ADA_SECRET": "other"}, config).iam != settings.iam


@pytest.mark.parametrize(
    ("lines", "text"),
    [
        ("", "secret_access_key: Field required"),
        ('secret_access_key = ""', "should have at least 1"),
        ('secret_access_key_env = "NONE"', "secret_access_key_env: the environment variable NONE is not set, or empty"),
        ('secret_access_key_file = "/none"', "secret_access_key_file: cannot read /none: No such file"),
        ('secret_access_key_file = "/dev/null"', "secret_access_key_file: /dev/null is empty"),
        (
            'secret_access_key = "hush"\nsecret_access_key_env = "ADA_SECRET"',
            "give secret_access_key in one way only, not by secret_access_key and secret_access_key_env",
        ),
        ('secret_access_key = "hush"\nsession_token_env = "NONE"', "session_token_env: the environment variable NONE"),
        ('secret_access_key = "hush"\naccess_key_id = "a/b"', "access_key_id: String should match pattern"),
    ],
)
def test_mistakes_in_users_are_named_without_secrets(tmp_path: Path, lines: str, text: str) -> None:
    config = tmp_path / "fanout.toml"
    id = "" if "access_key_id" in lines else 'access_key_id = "AKIA"\n'
    config.write_text(f"[[iam.users]]\n{id}{lines}\n")
    with pytest.raises(ConfigurationError) as caught:
        load_settings({}, {"ADA_SECRET": "hush"}, config)
    assert f"{config}: iam.users.0" in str(caught.value)
    assert text in str(caught.value)
    assert "hush" not in str(caught.value)


def test_a_file_of_other_bytes_is_named(tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b"\xff")
    with pytest.raises(ValidationError, match="is not UTF-8 text"):
        IamUser(access_key_id="AKIA", secret_access_key_file=tmp_path / "secret")


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({"users": []}, "at least 1 item"),
        ({"region": "eu/west"}, "should match pattern"),
        ({"path_prefix": "api"}, "should match pattern"),
        ({"path_prefix": "/api/"}, "should match pattern"),
        ({"clock_skew_seconds": 0}, "greater than 0"),
        ({"users": [{"access_key_id": "A", "secret_access_key": "s"}] * 2}, "the access key A is given twice"),
    ],
)
def test_mistakes_in_the_table_of_signatures(given: dict[str, Any], text: str) -> None:
    good = {"users": [{"access_key_id": "A", "secret_access_key": "s"}], "path_prefix": "/api/v1"}
    assert IamSettings(**good).region == "us-east-1"
    with pytest.raises(ValidationError, match=text):
        IamSettings(**{**good, **given})
