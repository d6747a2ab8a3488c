"""Configuration of resolvers: what the API's owner sets for single ones, and their data sources. Knows no room.

Given in the configuration file only, as tables; see docs/resolvers.md.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Final, Literal
from urllib.parse import urlsplit

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PositiveInt,
    field_validator,
    model_validator,
)

from fanout.auth_settings import SigningCredentials

NONE: Final = "NONE"
"""The data source that every function has unless another is set: it gives back the request's `payload`."""
_Text = Annotated[str, Field(min_length=1)]
# What a URL may be made of (RFC 3986): nothing that one reader takes for an end and another does not.
_URL = re.compile(r"https?://[A-Za-z0-9._\-\[\]:]+(/[A-Za-z0-9._~!$&'()*+,;=:@%/-]*)?")
_HOST = re.compile(r"([A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(:\d{1,5})?")


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

    @model_validator(mode="before")
    @classmethod
    def _check_name(cls, values: Any) -> Any:
        """TOML reads `[resolver.Query.room]` as a table in a table."""
        if isinstance(values, dict) and any(isinstance(each, dict) for each in values.values()):
            raise ValueError('a field stands in quotes: [resolver."Mutation.createMessage"]')
        return values


class SigningSettings(SigningCredentials):
    """How requests to a data source are signed (`[data_source.NAME.signing]`)."""

    region: Annotated[str, Field(pattern=r"^[A-Za-z0-9-]+$")]
    """AppSync's `signingRegion`."""
    service: Annotated[str, Field(pattern=r"^[A-Za-z0-9-]+$")]
    """AppSync's `signingServiceName`, like `states`."""


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
    signing: SigningSettings | None = None
    """Sign requests to the endpoint; AppSync's `awsIamConfig`."""

    @field_validator("type", mode="before")
    @classmethod
    def _check_type(cls, type: Any) -> Any:
        if type != "HTTP":
            raise ValueError(
                'there are "HTTP", and NONE, which needs no table; what to do instead of others is in '
                'docs/from-appsync.md, "What is not there yet"'
            )
        return type

    @field_validator("endpoint")
    @classmethod
    def _check_endpoint(cls, endpoint: str) -> str:
        parts = urlsplit(endpoint) if _URL.fullmatch(endpoint) else None
        if parts is None or _HOST.fullmatch(parts.netloc) is None:
            raise ValueError("give a URL like https://api.example.com/v1, without user, query and fragment")
        return endpoint

    @field_validator("allowed_hosts")
    @classmethod
    def _check_hosts(cls, hosts: tuple[str, ...]) -> tuple[str, ...]:
        for host in hosts:
            if _HOST.fullmatch(host) is None:
                raise ValueError(f"{host!r} is not a host: give names like api.example.com, or api.example.com:8443")
        return hosts
