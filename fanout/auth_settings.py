"""Configuration of who may come in: AppSync's authentication providers, in its words. Knows no room.

Given in the configuration file only, as tables; see docs/security.md. API keys are settings of their own.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    NonNegativeInt,
    PositiveInt,
    SecretStr,
    ValidationInfo,
    model_validator,
)

_Text = Annotated[str, Field(min_length=1)]


class CognitoSettings(BaseModel):
    """One user pool (`[[cognito]]`): AMAZON_COGNITO_USER_POOLS."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    user_pool_id: _Text
    """Like `eu-west-1_AbCdEfGhI`; its region is what stands before the underscore."""
    app_id_client_regex: str = ""
    """A token's client id (`client_id` or `aud`) has to match this as a whole; empty: any."""
    default_action: Literal["ALLOW", "DENY"] = "ALLOW"
    """What fields without a directive are to users of this pool; DENY only where Cognito is the only mode."""
    issuer: str | None = None
    """`iss` of its tokens, where that is not AWS's for the pool: a local substitute."""
    jwks_url: str | None = None
    """Where its keys are, where that is not below the issuer."""


class OidcSettings(BaseModel):
    """One issuer (`[[oidc]]`): OPENID_CONNECT."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    issuer: _Text
    """Its URL; the keys are found by `/.well-known/openid-configuration` below it."""
    client_id: str = ""
    """A regular expression that `aud` or `azp` has to match as a whole; empty: any."""
    iat_ttl_ms: NonNegativeInt = 0
    """How long after its `iat` a token is good at most; 0: until its `exp`."""
    auth_ttl_ms: NonNegativeInt = 0
    """The same after its `auth_time`."""
    jwks_url: str | None = None
    """Where its keys are, if its discovery document is not to be asked."""


class IamStatement(BaseModel):
    """A part of a user's policy (`[[iam.users.statements]]`)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    effect: Literal["Allow", "Deny"] = "Allow"
    """Deny wins over Allow."""
    resources: tuple[_Text, ...]
    """`types/Subscription/fields/onCreate*`, or the end of an ARN that says so; `*` is any text."""


class SigningCredentials(BaseModel):
    """What requests are signed with by AWS Signature Version 4; secrets may stand elsewhere."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    access_key_id: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,128}$")]
    """Tells whose signature it is."""
    secret_access_key: Annotated[SecretStr, Field(min_length=1)]
    """What signatures are made with; never shown."""
    secret_access_key_env: str | None = None
    """In place of it, the environment variable that holds it; one whose name does not begin with `FANOUT_`."""
    secret_access_key_file: Path | None = None
    """In place of it, the file that holds it, without blanks and line ends around it."""
    session_token: Annotated[SecretStr, Field(min_length=1)] | None = None
    """Of temporary credentials: has to come with each request."""
    session_token_env: str | None = None
    """In place of it, the environment variable that holds it."""
    session_token_file: Path | None = None
    """In place of it, the file that holds it."""

    @model_validator(mode="before")
    @classmethod
    def _read_secrets(cls, values: Any, info: ValidationInfo) -> Any:
        """Fill in what stands elsewhere, so that a reload sees when it has changed."""
        if not isinstance(values, dict):
            return values
        environment = (info.context or {}).get("environment", os.environ)
        found = {name: find_secret(name, values, environment) for name in ("secret_access_key", "session_token")}
        return {**values, **{name: secret for name, secret in found.items() if secret is not None}}


class IamUser(SigningCredentials):
    """Credentials that requests may be signed with (`[[iam.users]]`)."""

    account_id: str = "000000000000"
    """`ctx.identity.accountId`."""
    username: str = ""
    """`ctx.identity.username`; empty: the access key's id."""
    user_arn: str = ""
    """`ctx.identity.userArn`; empty: made of account and name."""
    statements: tuple[IamStatement, ...] = (IamStatement(resources=("*",)),)
    """What the user may do; without any, everything that the schema opens to AWS_IAM."""


def find_secret(name: str, values: Mapping[str, Any], environment: Mapping[str, str]) -> str | None:
    """A secret that is given by another place; None where it is given itself or not at all.

    Args:
        name: of the setting; `NAME_env` and `NAME_file` are the other places.
        values: what is given, by the names of settings.
        environment: where environment variables are looked up.

    Raises:
        ValueError: given twice, or not to be found; the text holds no secret.
    """
    places = [place for place in (name, f"{name}_env", f"{name}_file") if values.get(place) is not None]
    if len(places) > 1:
        raise ValueError(f"give {name} in one way only, not by {' and '.join(places)}")
    if not places or places == [name]:
        return None
    (place,) = places
    source = str(values[place])
    if place.endswith("_env"):
        secret = environment.get(source, "")
        problem = f"{place}: the environment variable {source} is not set, or empty"
    else:
        try:
            secret = Path(source).read_text(encoding="utf-8").strip()
        except OSError as error:
            raise ValueError(f"{place}: cannot read {source}: {error.strerror}") from None
        except UnicodeDecodeError:
            raise ValueError(f"{place}: {source} is not UTF-8 text") from None
        problem = f"{place}: {source} is empty"
    if not secret:
        raise ValueError(problem)
    return secret


class IamSettings(BaseModel):
    """Signed requests (`[iam]`): AWS_IAM."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    region: Annotated[str, Field(pattern=r"^[A-Za-z0-9-]+$")] = "us-east-1"
    """The region in a signature's scope."""
    clock_skew_seconds: PositiveInt = 300
    """How far a request's time may be from ours; as long a request that was overheard can be sent again."""
    path_prefix: Annotated[str, Field(pattern=r"^(/[^/?#\s]+)*$")] = ""
    """What stands before `/graphql` in the clients' endpoint, where a proxy takes it off: `/api`."""
    users: Annotated[tuple[IamUser, ...], Field(min_length=1)]
    """Who may sign."""

    @model_validator(mode="after")
    def _check_users(self) -> IamSettings:
        ids = [user.access_key_id for user in self.users]
        for id in ids:
            if ids.count(id) > 1:
                raise ValueError(f"users: the access key {id} is given twice, leave one of the two out")
        return self


class LambdaSettings(BaseModel):
    """An authorizer function (`[lambda_authorizer]`): AWS_LAMBDA."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    url: str | None = None
    """Answers POST with AppSync's JSON for authorizers."""
    function: str | None = None
    """In place of `url`, for local use: `package.module:function`, called with the same JSON as a dict."""
    ttl_seconds: Annotated[int, Field(ge=0, le=3600)] = 0
    """How long an answer is good for the same token, unless it says `ttlOverride`; 0: asked each time."""
    identity_validation_expression: str = ""
    """A regular expression that a token has to match as a whole before the authorizer is asked; empty: any."""
    timeout_ms: Annotated[int, Field(gt=0, le=10_000)] = 10_000
    """How long an answer may take; AppSync's limit."""
    api_id: Annotated[str, Field(pattern=r"^[\w-]*$")] = ""
    """`requestContext.apiId`, and whose ARNs in `deniedFields` count; empty: `fanout`, and ARNs of any API count."""
    account_id: str = "000000000000"
    """`requestContext.accountId`."""

    @model_validator(mode="after")
    def _check_source(self) -> LambdaSettings:
        if (self.url is None) == (self.function is None):
            raise ValueError("give either url or function")
        return self
