"""Configuration of who may come in: AppSync's authentication providers, in its words. Knows no room.

Given in the configuration file only, as tables; see docs/security.md. API keys are settings of their own.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt, PositiveInt, SecretStr, model_validator

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


class IamUser(BaseModel):
    """Credentials that requests may be signed with (`[[iam.users]]`)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    access_key_id: _Text
    """Tells whose signature it is."""
    secret_access_key: SecretStr
    """What signatures are made with; never shown."""
    session_token: SecretStr | None = None
    """Of temporary credentials: has to come with each request."""
    account_id: str = "000000000000"
    """`ctx.identity.accountId`."""
    username: str = ""
    """`ctx.identity.username`; empty: the access key's id."""
    user_arn: str = ""
    """`ctx.identity.userArn`; empty: made of account and name."""
    statements: tuple[IamStatement, ...] = (IamStatement(resources=("*",)),)
    """What the user may do; without any, everything that the schema opens to AWS_IAM."""


class IamSettings(BaseModel):
    """Signed requests (`[iam]`): AWS_IAM."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    region: _Text = "us-east-1"
    """The region in a signature's scope."""
    clock_skew_seconds: PositiveInt = 300
    """How far a request's time may be from ours."""
    users: tuple[IamUser, ...]
    """Who may sign."""


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

    @model_validator(mode="after")
    def _check_source(self) -> LambdaSettings:
        if (self.url is None) == (self.function is None):
            raise ValueError("give either url or function")
        return self
