"""Who may use which field: AppSync's own examples, what is ours, and any schema against a plain evaluation."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fanout.auth.fields import FieldRules, Modes, list_warnings, matches_pattern, read_modes
from fanout.auth_settings import CognitoSettings, IamSettings, IamUser, LambdaSettings, OidcSettings
from fanout.errors import ConfigurationError
from fanout.model import AuthDirective, AuthMode, FieldPolicy, Identity
from fanout.schema import parse_schema
from fanout.settings import Settings

POOL = CognitoSettings(user_pool_id="eu-west-1_a")
OTHER_POOL = CognitoSettings(user_pool_id="eu-west-1_b")
DENYING_POOL = CognitoSettings(user_pool_id="eu-west-1_c", default_action="DENY")
OIDC = OidcSettings(issuer="https://issuer.example")
IAM = IamSettings(users=(IamUser(access_key_id="a", secret_access_key="s"),))
LAMBDA = LambdaSettings(url="http://127.0.0.1/authorize")

ROOTS = {"Query", "Mutation", "Subscription"}


def build_rules(sdl: str, **settings: Any) -> FieldRules:
    schema = parse_schema(sdl)
    return FieldRules(schema.authorization, read_modes(Settings(**settings)), schema.root_types)


def may_use(rules: FieldRules, place: str, mode: AuthMode, *groups: str, policy: FieldPolicy | None = None) -> bool:
    access = rules.access_of(Identity(mode, groups=frozenset(groups), policy=policy))
    type_name, _, field_name = place.partition(".")
    return access is None or access.may_use(type_name, field_name)


def list_open(rules: FieldRules, places: str, mode: AuthMode, *groups: str) -> str:
    return " ".join(place for place in places.split() if may_use(rules, place, mode, *groups))


# The guide's example of several modes (page "Configuring authorization"): API_KEY by default, IAM beside it.
POSTS = """
schema { query: Query mutation: Mutation }
type Query { getPost(id: ID): Post getAllPosts: [Post] @aws_api_key }
type Mutation { addPost(id: ID!): Post! }
type Post @aws_api_key @aws_iam {
  id: ID!
  author: String
  restrictedContent: String! @aws_iam
}
"""
POST_PLACES = "Query.getPost Query.getAllPosts Mutation.addPost Post.id Post.author Post.restrictedContent"


def test_the_guides_example_of_several_modes() -> None:
    rules = build_rules(POSTS, api_key=("k",), iam=IAM)
    assert list_open(rules, POST_PLACES, AuthMode.API_KEY) == (
        "Query.getPost Query.getAllPosts Mutation.addPost Post.id Post.author"
    )
    assert list_open(rules, POST_PLACES, AuthMode.IAM) == "Post.id Post.author Post.restrictedContent"
    assert list_open(rules, POST_PLACES, AuthMode.OIDC) == ""


def test_the_guides_example_of_groups_beside_another_mode() -> None:
    sdl = """
    type Query {
      posts: [Post!]! @aws_cognito_user_pools(cognito_groups: ["Bloggers", "Readers"])
      addPost(id: ID!): Post! @aws_cognito_user_pools(cognito_groups: ["Bloggers"])
    }
    type Post @aws_cognito_user_pools { id: ID! }
    """
    rules = build_rules(sdl, cognito=(POOL,), api_key=("k",))
    places = "Query.posts Query.addPost Post.id"
    assert list_open(rules, places, AuthMode.COGNITO, "Readers", "Others") == "Query.posts Post.id"
    assert list_open(rules, places, AuthMode.COGNITO, "Bloggers") == places
    assert list_open(rules, places, AuthMode.COGNITO) == "Post.id"
    assert list_open(rules, places, AuthMode.API_KEY) == ""


GROUPS = """
type Query {
  auth: T @aws_auth(cognito_groups: ["Bloggers"])
  pools: T @aws_cognito_user_pools(cognito_groups: ["Bloggers"])
  plain: T
}
type T { a: Int b: Int @aws_auth }
type U @aws_auth(cognito_groups: ["Bloggers"]) { c: Int d: Int @aws_cognito_user_pools }
"""
GROUP_PLACES = "Query.auth Query.pools Query.plain T.a T.b U.c U.d"
COGNITO: dict[str, Any] = {"auth_mode": AuthMode.COGNITO}


@pytest.mark.parametrize(
    ("settings", "in_group", "in_none"),
    [
        # One pool and nothing else: @aws_auth counts, nested fields too, and the other is as if it was not there.
        ({"cognito": (POOL,)}, GROUP_PLACES, "Query.pools Query.plain T.a T.b"),
        ({"cognito": (DENYING_POOL,)}, "Query.auth T.b U.c U.d", "T.b"),
        # Anything beside it: the other way round, and @aws_auth lets nobody in.
        ({"cognito": (POOL,), "iam": IAM}, "Query.pools Query.plain T.a U.d", "Query.plain T.a U.d"),
        ({"cognito": (POOL, OTHER_POOL)}, "Query.pools Query.plain T.a U.d", "Query.plain T.a U.d"),
        ({"cognito": (POOL,), "api_key": ("k",)}, "Query.pools Query.plain T.a U.d", "Query.plain T.a U.d"),
    ],
)
def test_which_of_cognitos_directives_counts(settings: dict[str, Any], in_group: str, in_none: str) -> None:
    rules = build_rules(GROUPS, **COGNITO, **settings)
    assert list_open(rules, GROUP_PLACES, AuthMode.COGNITO, "Bloggers") == in_group
    assert list_open(rules, GROUP_PLACES, AuthMode.COGNITO, "Others") == in_none
    assert list_open(rules, GROUP_PLACES, AuthMode.API_KEY) == ""


def test_aws_auth_lets_nobody_in_where_there_is_no_cognito() -> None:
    rules = build_rules(GROUPS)
    assert list_open(rules, GROUP_PLACES, AuthMode.API_KEY) == "Query.plain T.a"


@pytest.mark.parametrize(
    ("directive", "mode"),
    [
        ("@aws_api_key", AuthMode.API_KEY),
        ("@aws_iam", AuthMode.IAM),
        ("@aws_oidc", AuthMode.OIDC),
        ("@aws_lambda", AuthMode.LAMBDA),
        ("@aws_cognito_user_pools", AuthMode.COGNITO),
    ],
)
def test_each_directive_is_for_its_mode(directive: str, mode: AuthMode) -> None:
    rules = build_rules(f"type Query {{ a: Int {directive} }}", cognito=(POOL,), oidc=(OIDC,))
    assert [each for each in AuthMode if may_use(rules, "Query.a", each)] == [mode]


def test_introspection_and_typename_are_open_to_everybody() -> None:
    rules = build_rules("type Query @aws_iam { a: Int }")
    nothing = FieldPolicy(allow=(), deny=("*",))
    for place in ("Query.__typename", "Query.__schema", "Query.__type", "__Schema.types", "__Type.name"):
        assert may_use(rules, place, AuthMode.API_KEY, policy=nothing)
    assert not may_use(rules, "Query.a", AuthMode.API_KEY)


def test_a_policy_narrows_what_directives_open() -> None:
    rules = build_rules("type Query { a: T b: T } type T { x: Int y: Int } type Mutation { a: T }")
    places = "Query.a Query.b Mutation.a T.x T.y"

    def opened(**policy: tuple[str, ...]) -> str:
        given = FieldPolicy(**policy)
        return " ".join(place for place in places.split() if may_use(rules, place, AuthMode.API_KEY, policy=given))

    assert opened() == places
    assert opened(allow=("Query.*",)) == "Query.a Query.b T.x T.y"
    assert opened(allow=("*.a",), deny=("Mutation.*", "T.y")) == "Query.a T.x"
    assert opened(allow=()) == "T.x T.y"
    assert opened(deny=("*",)) == ""
    assert not may_use(rules, "Query.a", AuthMode.IAM, policy=FieldPolicy())


def test_root_types_can_have_other_names() -> None:
    rules = build_rules("schema { query: Root } type Root { a: T } type T { x: Int }")
    policy = FieldPolicy(allow=())
    assert not may_use(rules, "Root.a", AuthMode.API_KEY, policy=policy)
    assert may_use(rules, "T.x", AuthMode.API_KEY, policy=policy)


def test_where_nothing_is_restricted_nothing_is_asked() -> None:
    rules = build_rules("type Query { a: Int }", iam=IAM)
    assert rules.access_of(Identity(AuthMode.API_KEY)) is None
    assert rules.access_of(Identity(AuthMode.API_KEY, policy=FieldPolicy(allow=("Query.a", "*")))) is None
    assert rules.access_of(Identity(AuthMode.API_KEY, policy=FieldPolicy(deny=("Query.a",)))) is not None
    assert rules.access_of(Identity(AuthMode.IAM)) is not None


def test_who_may_use_the_same_shares_one_access() -> None:
    rules = build_rules(GROUPS, **COGNITO, cognito=(POOL,), iam=IAM)

    def access(*groups: str, subject: str = "", policy: FieldPolicy | None = None) -> object:
        return rules.access_of(Identity(AuthMode.COGNITO, {}, subject, groups=frozenset(groups), policy=policy))

    assert access("Bloggers", "x", subject="ada") is access("Bloggers", "y", subject="bob")
    assert access("Bloggers") is not access("x")
    assert access(policy=FieldPolicy(deny=("T.a",))) is access(policy=FieldPolicy(deny=("T.a",)))
    assert access(policy=FieldPolicy(deny=("T.a",))) is not access()


class Counted(str):
    """A pattern that tells how often the likes of it were hashed."""

    hashed = 0

    def __hash__(self) -> int:
        Counted.hashed += 1
        return super().__hash__()


def test_a_long_policy_costs_once(monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[str] = []

    def compare(pattern: str, text: str) -> bool:
        compared.append(pattern)
        return matches_pattern(pattern, text)

    rules = build_rules("type Query { a: Int }")
    policy = FieldPolicy(deny=(*(Counted(f"T.f{number}") for number in range(10_000)), "Q*.b", "T.*x"))
    identity = Identity(AuthMode.API_KEY, policy=policy)
    access = rules.access_of(identity)
    assert access is not None
    hashed = Counted.hashed
    assert rules.access_of(identity) is access
    assert Counted.hashed == hashed
    monkeypatch.setattr("fanout.auth.fields.matches_pattern", compare)
    assert [access.may_use("T", name) for name in ("f1", "f9999", "f10000", "x")] == [False, False, True, False]
    assert not access.may_use("Query", "b")
    assert set(compared) == {"Q*.b", "T.*x"}


def test_equal_policies_are_one() -> None:
    policies = [FieldPolicy(("Query.*",), ("T.a", "T.b")) for _ in range(2)]
    assert policies[0] == policies[1] != FieldPolicy(("Query.*",), ("T.a",))
    assert len({*policies, FieldPolicy()}) == 2
    assert "hash" not in repr(policies[0])


@pytest.mark.parametrize(
    ("settings", "modes"),
    [
        ({}, Modes(AuthMode.API_KEY, frozenset({AuthMode.API_KEY}))),
        ({"iam": IAM}, Modes(AuthMode.API_KEY, frozenset({AuthMode.API_KEY, AuthMode.IAM}))),
        ({"auth_mode": AuthMode.IAM, "iam": IAM}, Modes(AuthMode.IAM, frozenset({AuthMode.IAM}))),
        (
            {"auth_mode": AuthMode.LAMBDA, "lambda_authorizer": LAMBDA, "api_key": ("k",)},
            Modes(AuthMode.LAMBDA, frozenset({AuthMode.LAMBDA, AuthMode.API_KEY})),
        ),
        ({**COGNITO, "cognito": (POOL,)}, Modes(AuthMode.COGNITO, frozenset({AuthMode.COGNITO}), True)),
        ({**COGNITO, "cognito": (DENYING_POOL,)}, Modes(AuthMode.COGNITO, frozenset({AuthMode.COGNITO}), True, True)),
        ({**COGNITO, "cognito": (POOL, OTHER_POOL)}, Modes(AuthMode.COGNITO, frozenset({AuthMode.COGNITO}))),
    ],
)
def test_the_modes_are_those_that_are_configured(settings: dict[str, Any], modes: Modes) -> None:
    assert read_modes(Settings(**settings)) == modes


@pytest.mark.parametrize("mode", [mode for mode in AuthMode if mode is not AuthMode.API_KEY])
def test_a_default_mode_that_nobody_could_come_in_by_is_refused(mode: AuthMode) -> None:
    with pytest.raises(ConfigurationError, match=rf"auth_mode: {mode.value} is the default mode, but nobody"):
        read_modes(Settings(auth_mode=mode, api_key=("k",)))


def test_deny_is_for_one_pool_alone() -> None:
    for beside in ({"api_key": ("k",)}, {"cognito": (POOL, DENYING_POOL)}):
        with pytest.raises(ConfigurationError, match="eu-west-1_c: default_action DENY is for an API whose only"):
            read_modes(Settings(**{**COGNITO, "cognito": (DENYING_POOL,), **beside}))


def test_directives_that_do_not_do_what_they_say_are_told() -> None:
    schema = parse_schema(
        "type Query {\n  a: Int @aws_iam @aws_api_key\n  b: Int @aws_auth\n}\ntype T @aws_cognito_user_pools { c: Int }"
    )

    def warn(**settings: Any) -> list[str]:
        return list(list_warnings(schema.authorization, read_modes(Settings(**settings))))

    assert warn() == [
        "2: @aws_iam on Query.a lets nobody in: AWS_IAM is not configured, give [iam] or take the directive out",
        "3: @aws_auth on Query.b lets nobody in: AMAZON_COGNITO_USER_POOLS is not configured, "
        "give [[cognito]] or take the directive out",
        "5: @aws_cognito_user_pools on type T lets nobody in: AMAZON_COGNITO_USER_POOLS is not configured, "
        "give [[cognito]] or take the directive out",
    ]
    assert warn(iam=IAM, cognito=(POOL,)) == [
        "3: @aws_auth on Query.b lets nobody in, since it is for one user pool and nothing else (as in AppSync): "
        "use @aws_cognito_user_pools",
    ]
    # Nothing is said of @aws_api_key: keys can be stored.
    assert warn(**COGNITO, cognito=(POOL,))[1:] == [
        "5: @aws_cognito_user_pools on type T does not count, since one user pool is all that is configured "
        "(as in AppSync): use @aws_auth",
    ]


def test_directives_on_an_interface_are_told_and_decide_nothing() -> None:
    schema = parse_schema(
        "interface Named {\n  name: String @aws_iam @aws_api_key\n}\ntype Query implements Named { name: String }"
    )
    modes = read_modes(Settings(iam=IAM))
    assert schema.interfaces == {"Named"}
    assert list(list_warnings(schema.authorization, modes, schema.interfaces)) == [
        f"2: @{name} on Named.name decides nothing on an interface: write it on the object types"
        for name in ("aws_api_key", "aws_iam")
    ]
    rules = FieldRules(schema.authorization, modes, schema.root_types)
    assert list_open(rules, "Query.name", AuthMode.API_KEY) == "Query.name"
    assert list_open(rules, "Query.name", AuthMode.IAM) == ""


@given(st.text("ab*.", max_size=8), st.text("ab.", max_size=8))
def test_patterns_match_as_regular_expressions_would(pattern: str, text: str) -> None:
    expression = ".*".join(map(re.escape, pattern.split("*")))
    assert matches_pattern(pattern, text) == bool(re.fullmatch(expression, text))


# Any schema, modes and identity, against the rules as one would say them.

names = st.sampled_from(
    ["aws_api_key", "aws_iam", "aws_oidc", "aws_lambda", "aws_cognito_user_pools", "aws_auth"],
)
groups = st.sampled_from(["g1", "g2", "g3"])
directives = st.builds(AuthDirective, names, st.lists(groups, max_size=2).map(tuple))
fields = st.sampled_from(["Query.a", "Query.b", "T.a", "T.b"])
declared = st.dictionaries(
    st.sampled_from([("Query", None), ("Query", "a"), ("Query", "b"), ("T", None), ("T", "a"), ("T", "b")]),
    st.lists(directives, min_size=1, max_size=3).map(tuple),
)
patterns = st.lists(st.sampled_from(["*", "Query.*", "*.a", "T.b", "Query.b"]), max_size=2).map(tuple)
identities = st.builds(
    Identity,
    st.sampled_from(AuthMode),
    groups=st.frozensets(groups, max_size=2),
    policy=st.none() | st.builds(FieldPolicy, patterns, patterns),
)
deployments = st.fixed_dictionaries(
    {},
    optional={
        "api_key": st.just(("k",)),
        "iam": st.just(IAM),
        "oidc": st.just((OIDC,)),
        "lambda_authorizer": st.just(LAMBDA),
        "cognito": st.sampled_from([(POOL,), (POOL, OTHER_POOL), (DENYING_POOL,)]),
        "auth_mode": st.sampled_from(AuthMode),
    },
)


def evaluate(
    declared: Mapping[Any, tuple[AuthDirective, ...]], settings: Settings, identity: Identity, place: str
) -> bool:
    """The rules of the module's first lines, one after the other."""
    providers = [*settings.cognito, *settings.oidc, *filter(None, [settings.iam, settings.lambda_authorizer])]
    has_keys = bool(settings.api_key) or settings.auth_mode is AuthMode.API_KEY
    one_pool = len(providers) == 1 and not has_keys and bool(settings.cognito)
    if identity.policy:
        matching = {"*", place, place.split(".")[0] + ".*", "*." + place.split(".")[1]}
        if matching & set(identity.policy.deny):
            return False
        if place.startswith("Query") and not matching & set(identity.policy.allow):
            return False
    type_name, field_name = place.split(".")
    lists: list[list[AuthDirective]] = [list(declared.get((type_name, key), ())) for key in (field_name, None)]
    if one_pool:
        lists = [[each for each in given if each.name != "aws_cognito_user_pools"] for given in lists]
    for each_list in lists:
        for each in each_list:
            in_group = not each.cognito_groups or bool(identity.groups & set(each.cognito_groups))
            match each.name, identity.mode:
                case ("aws_api_key", AuthMode.API_KEY) | ("aws_iam", AuthMode.IAM) | ("aws_oidc", AuthMode.OIDC):
                    return in_group
                case ("aws_lambda", AuthMode.LAMBDA):
                    return in_group
                case ("aws_auth", AuthMode.COGNITO) if one_pool and in_group:
                    return True
                case ("aws_cognito_user_pools", AuthMode.COGNITO) if in_group:
                    return True
        if each_list:
            return False
    return identity.mode is settings.auth_mode and settings.cognito != (DENYING_POOL,)


@given(declared, deployments, identities, fields)
def test_any_schema_is_decided_as_a_plain_evaluation_does(
    declared: dict[Any, tuple[AuthDirective, ...]], deployment: dict[str, Any], identity: Identity, place: str
) -> None:
    settings = Settings(**deployment)
    # Only Cognito's directives have groups.
    declared = {
        key: tuple(
            each if "cognito" in each.name or each.name == "aws_auth" else AuthDirective(each.name) for each in given
        )
        for key, given in declared.items()
    }
    try:
        modes = read_modes(settings)
    except ConfigurationError:
        return
    access = FieldRules(declared, modes, ROOTS).access_of(identity)
    type_name, _, field_name = place.partition(".")
    expected = evaluate(declared, settings, identity, place)
    for _ in range(2):
        assert (access is None or access.may_use(type_name, field_name)) == expected
