from __future__ import annotations

from fnmatch import fnmatchcase

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fanout.auth.policies import build_policy
from fanout.auth_settings import IamStatement
from fanout.errors import ConfigurationError
from fanout.model import FieldPolicy

ARN = "arn:aws:appsync:eu-west-1:123456789012:apis/abcdefghijklmnopqrstuvwxyz/"


@pytest.mark.parametrize(
    ("resource", "pattern"),
    [
        ("types/Subscription/fields/onCreateMessage", "Subscription.onCreateMessage"),
        ("types/Subscription/fields/onCreate*", "Subscription.onCreate*"),
        ("types/*/fields/get*", "*.get*"),
        ("types/Query/*", "Query.*"),
        ("types/Query/fields/*", "Query.*"),
        ("types/Mut*", "Mut*"),
        ("types/*", "*"),
        ("*", "*"),
        (f"{ARN}types/Query/fields/getRoom", "Query.getRoom"),
        (f"{ARN}types/Mutation/*", "Mutation.*"),
        (f"{ARN}*", "*"),
        ("arn:aws:appsync:*:*:*", "*"),
        ("arn:aws-cn:appsync:cn-north-1:123456789012:apis/*", "*"),
        ("arn:aws:appsync:us-east-1:123456789012:apis/*/types/Query/*", "Query.*"),
    ],
)
def test_a_resource_is_a_pattern(resource: str, pattern: str) -> None:
    assert build_policy([IamStatement(effect="Deny", resources=(resource,))], "u") == FieldPolicy((), (pattern,))


@pytest.mark.parametrize(
    "resource",
    [
        "Query",
        "Query.getRoom",
        "types/Query",
        "types/Query/",
        "types/Query/fields",
        "types/Query/fields/",
        "types/Query/fields/a/b",
        "types/Query/fields/a?",
        "types//fields/x",
        "Types/Query/*",
        "types/Query/*\n",
        "arn:aws:s3:::bucket/*",
        "arn:aws:appsync:eu-west-1:1:apis/x",
        "arn:aws:appsync:eu-west-1:1:apis/x/functions/y",
    ],
)
def test_other_resources_are_the_operator_s_mistake(resource: str) -> None:
    statements = [IamStatement(resources=("*",)), IamStatement(resources=("types/A/*", resource))]
    with pytest.raises(ConfigurationError) as caught:
        build_policy(statements, "iam.users 3")
    assert str(caught.value).startswith(f"iam.users 3, statement 2: {resource!r} is no resource: write types/TYPE")


def test_everything_needs_no_policy() -> None:
    assert build_policy([IamStatement(resources=("types/Query/*", "*"))], "u") is None


def test_without_a_statement_nothing_is_allowed() -> None:
    assert build_policy([], "u") == FieldPolicy((), ())


def test_statements_add_up() -> None:
    statements = [
        IamStatement(resources=("types/Query/*", "types/Mutation/fields/a")),
        IamStatement(effect="Deny", resources=("types/Query/fields/secret",)),
        IamStatement(resources=("*",)),
    ]
    assert build_policy(statements, "u") == FieldPolicy(("Query.*", "Mutation.a", "*"), ("Query.secret",))


names = st.text("abAB*", min_size=1, max_size=5)
resources = st.one_of(
    st.builds("types/{}/fields/{}".format, names, names),
    st.builds("types/{}/*".format, names),
    st.builds("types/{}*".format, names),
    st.just("*"),
)


@given(resources, st.text("abAB", min_size=1, max_size=4), st.text("abAB", min_size=1, max_size=4))
def test_a_pattern_means_what_the_resource_means_in_aws(resource: str, type_: str, field: str) -> None:
    """There, `*` is any text of the whole ARN."""
    policy = build_policy([IamStatement(effect="Deny", resources=(resource,))], "u")
    assert policy is not None
    means = fnmatchcase(f"types/{type_}/fields/{field}", resource)
    assert fnmatchcase(f"{type_}.{field}", policy.deny[0]) is means
