"""Settings of resolvers and their data sources: what is refused."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from fanout.resolver_settings import HttpDataSourceSettings, ResolverSettings


def test_functions_are_given_by_name_or_as_tables() -> None:
    settings = ResolverSettings.model_validate({"functions": ["check", {"name": "store", "data_source": "orders"}]})
    assert [each if isinstance(each, str) else each.name for each in settings.functions] == ["check", "store"]


def test_an_endpoint_has_to_be_given() -> None:
    with pytest.raises(ValidationError, match="endpoint"):
        HttpDataSourceSettings.model_validate({"type": "HTTP"})
