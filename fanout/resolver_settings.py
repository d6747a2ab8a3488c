"""Configuration of resolvers: what the API's owner sets for single ones, and their data sources. Knows no room.

Given in the configuration file only, as tables; see docs/resolvers.md.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, PositiveInt

_Text = Annotated[str, Field(min_length=1)]


class FunctionSettings(BaseModel):
    """One function of a pipeline resolver."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: _Text
    """`NAME.js` in the resolver's folder, else in `functions/` beside the resolvers."""
    data_source: str | None = None
    """What its request goes to: a name of `[data_source]`; without it NONE."""


class ResolverSettings(BaseModel):
    """What the API's owner sets for one resolver (`[resolver."Type.field"]` in the file)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    data_source: str | None = None
    """What the request of a resolver of one module goes to: a name of `[data_source]`; without it NONE."""
    functions: tuple[FunctionSettings | str, ...] = ()
    """Of a pipeline resolver: its functions in order, each by name or as `{ name = ..., data_source = ... }`."""


class HttpDataSourceSettings(BaseModel):
    """An HTTP data source (`[data_source.NAME]` in the file)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    type: Literal["HTTP"]
    """HTTP is the only type that has settings; NONE needs no table."""
    endpoint: _Text
    """Where it is, like `https://api.example.com`; a request's `resourcePath` is added to it."""
    allowed_hosts: tuple[str, ...] = ()
    """Further hosts that a `resourcePath` which is a whole URL may name; without any, only the endpoint is reached."""
    timeout_ms: PositiveInt = 10_000
    """A request that is not answered by then has failed."""
    max_response_bytes: PositiveInt = 5 * 1024 * 1024
    """A longer body has failed; AppSync's limit of a result."""
