"""Which fields an identity may use: by the schema's authorization directives, the API's modes and its own policy.

Pure. May not know: GraphQL, documents, or how somebody became this identity.

The rules (AppSync guide, "Configuring authorization"; those marked with * are ours, where the guide says nothing):

    a field                     is open to
    with directives             whom one of them names; its type's directives do not count then
    without                     whom one of its type's directives names
    without, type without       the default mode; nobody, if that is Cognito with the default action DENY

    @aws_cognito_user_pools     Cognito users, of one of the groups if there are any. As if it was not there where one
                                user pool is all that is configured
    @aws_auth                   the same, where one user pool is all that is configured; else nobody*: not counting it
                                would open what it was to restrict
    directive of a mode that
    is not configured           nobody*; AppSync refuses such a schema. Of API_KEY: who has a stored key*, as they come
                                and go without being configured

    policy of the identity      narrows all that: `allow` for the fields of root types, `deny` for those of any type
    `__typename`, `__schema`,
    `__type` and all below      everybody who may come in
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from fanout.errors import ConfigurationError
from fanout.model import AuthDirective, AuthMode, FieldPolicy, Identity
from fanout.settings import Settings

Directives = Mapping[tuple[str, str | None], Sequence[AuthDirective]]
"""By (type, field), field None for those of the type itself."""

_COGNITO_ALONE: Final = "aws_auth"
_COGNITO_BESIDE: Final = "aws_cognito_user_pools"
_MODES: Final = {
    "aws_api_key": AuthMode.API_KEY,
    "aws_iam": AuthMode.IAM,
    "aws_oidc": AuthMode.OIDC,
    "aws_lambda": AuthMode.LAMBDA,
    _COGNITO_BESIDE: AuthMode.COGNITO,
    _COGNITO_ALONE: AuthMode.COGNITO,
}
_SETTINGS: Final = {
    AuthMode.API_KEY: "api_key",  # keys that are stored in Redis open no mode: they can come and go
    AuthMode.COGNITO: "[[cognito]]",
    AuthMode.OIDC: "[[oidc]]",
    AuthMode.IAM: "[iam]",
    AuthMode.LAMBDA: "[lambda_authorizer]",
}
_INTERFACE: Final = "decides nothing on an interface: write it on the object types"
# Policies come from authorizers, one for each user perhaps. Each keeps an answer per field that was asked about.
_MAX_ACCESSES: Final = 256


@dataclass(frozen=True, slots=True)
class Modes:
    """The authorization modes of an API.

    Args:
        default: that of fields without a directive.
        configured: all of them, the default one too.
        is_one_pool: one Cognito user pool is all that is configured.
        denies_by_default: fields without a directive are open to nobody.
    """

    default: AuthMode
    configured: frozenset[AuthMode]
    is_one_pool: bool = False
    denies_by_default: bool = False


def read_modes(settings: Settings) -> Modes:
    """The modes that are configured.

    API keys count as configured if `api_key` names some or they are the default mode (development keys are made).

    Raises:
        ConfigurationError: nothing is configured for the default mode, or a default action DENY beside other modes.
    """
    counts = {
        AuthMode.API_KEY: int(bool(settings.api_key) or settings.auth_mode is AuthMode.API_KEY),
        AuthMode.COGNITO: len(settings.cognito),
        AuthMode.OIDC: len(settings.oidc),
        AuthMode.IAM: int(settings.iam is not None),
        AuthMode.LAMBDA: int(settings.lambda_authorizer is not None),
    }
    default = settings.auth_mode
    if not counts[default]:
        raise ConfigurationError(
            f"auth_mode: {default.value} is the default mode, but nobody could come in by it: "
            f"give {_SETTINGS[default]} in the configuration file, or choose another mode"
        )
    is_alone = sum(counts.values()) == 1
    denying = [pool.user_pool_id for pool in settings.cognito if pool.default_action == "DENY"]
    if denying and not is_alone:
        raise ConfigurationError(
            f"cognito: user pool {denying[0]}: default_action DENY is for an API whose only authorization mode is "
            "this pool (as in AppSync): use ALLOW, and directives in the schema"
        )
    return Modes(
        default=default,
        configured=frozenset(mode for mode, count in counts.items() if count),
        is_one_pool=is_alone and default is AuthMode.COGNITO,
        denies_by_default=bool(denying),
    )


class _Patterns:
    """What is named as it is, found at once, and what has to be compared one by one."""

    __slots__ = ("_literal", "_open")

    def __init__(self, patterns: Sequence[str]) -> None:
        self._literal = frozenset(pattern for pattern in patterns if "*" not in pattern)
        self._open = tuple(pattern for pattern in patterns if "*" in pattern)

    def match(self, place: str) -> bool:
        return place in self._literal or any(matches_pattern(pattern, place) for pattern in self._open)


class _Narrowing:
    """A policy, ready to be asked: authorizers may deny thousands of fields."""

    __slots__ = ("_allow", "_deny")

    def __init__(self, policy: FieldPolicy) -> None:
        self._allow = _Patterns(policy.allow)
        self._deny = _Patterns(policy.deny)

    def leaves_open(self, place: str, *, is_root: bool) -> bool:
        return not self._deny.match(place) and (not is_root or self._allow.match(place))


class Access:
    """What identities of one class (mode, groups, policy) may use. Compared by identity; keeps its answers."""

    __slots__ = ("_answers", "_groups", "_mode", "_narrowing", "_rules")

    def __init__(self, rules: FieldRules, mode: AuthMode, groups: frozenset[str], policy: FieldPolicy | None) -> None:
        self._rules = rules
        self._mode = mode
        self._groups = groups
        self._narrowing = None if policy is None else _Narrowing(policy)
        self._answers: dict[tuple[str, str], bool] = {}

    def may_use(self, type_name: str, field_name: str) -> bool:
        """Whether a field of an object type is open. Takes 0.1 us for one that was asked about before, else 2 us and
        0.3 us for each pattern of the policy that has a `*`."""
        answer = self._answers.get((type_name, field_name))
        if answer is None:
            answer = self._rules.decide(type_name, field_name, self._mode, self._groups, self._narrowing)
            self._answers[type_name, field_name] = answer
        return answer


class FieldRules:
    """Decides for one schema under certain modes.

    Args:
        directives: of the schema.
        modes: those that are configured.
        root_types: names of the types of queries, mutations and subscriptions.
    """

    __slots__ = ("_directives", "_find_access", "_groups", "_modes", "_open_mode", "_root_types")

    def __init__(self, directives: Directives, modes: Modes, root_types: Collection[str]) -> None:
        counting = {
            place: tuple(each for each in given if not _is_passed_over(each, modes))
            for place, given in directives.items()
        }
        self._directives = {place: given for place, given in counting.items() if given}
        self._modes = modes
        self._root_types = frozenset(root_types)
        self._groups = frozenset(
            group for given in self._directives.values() for each in given for group in each.cognito_groups
        )
        self._open_mode = None if self._directives or modes.denies_by_default else modes.default
        self._find_access = lru_cache(_MAX_ACCESSES)(self._build_access)

    def access_of(self, identity: Identity) -> Access | None:
        """What an identity may use; None: everything. One object for all of a class while it is in use.

        Takes 0.1 us where nothing is restricted, else 1 us, whatever the length of the policy.
        """
        policy = identity.policy
        if policy is not None and not policy.deny and "*" in policy.allow:
            policy = None
        if policy is None and identity.mode is self._open_mode:
            return None
        # Only groups that the schema names make a difference: a class for each user's groups would be many.
        return self._find_access(identity.mode, identity.groups & self._groups, policy)

    def decide(
        self, type_name: str, field_name: str, mode: AuthMode, groups: frozenset[str], narrowing: _Narrowing | None
    ) -> bool:
        """Whether somebody of this mode and groups, narrowed by a policy or not, may use a field of an object type."""
        if field_name.startswith("__") or type_name.startswith("__"):
            return True
        if narrowing is not None and not narrowing.leaves_open(
            f"{type_name}.{field_name}", is_root=type_name in self._root_types
        ):
            return False
        directives = self._directives.get((type_name, field_name)) or self._directives.get((type_name, None))
        if directives:
            return any(self._names(directive, mode, groups) for directive in directives)
        return mode is self._modes.default and not self._modes.denies_by_default

    def _names(self, directive: AuthDirective, mode: AuthMode, groups: frozenset[str]) -> bool:
        if _MODES[directive.name] is not mode:
            return False
        if directive.name == _COGNITO_ALONE and not self._modes.is_one_pool:
            return False
        return not directive.cognito_groups or not groups.isdisjoint(directive.cognito_groups)

    def _build_access(self, mode: AuthMode, groups: frozenset[str], policy: FieldPolicy | None) -> Access:
        return Access(self, mode, groups, policy)


def matches_pattern(pattern: str, text: str) -> bool:
    """Whether a pattern, in which `*` is any text and all else is itself, is the whole text. Linear in both."""
    first, *others = pattern.split("*")
    if not others:
        return pattern == text
    *middle, last = others
    if not text.startswith(first):
        return False
    at = len(first)
    for part in middle:
        found = text.find(part, at)
        if found < 0:
            return False
        at = found + len(part)
    return len(text) - at >= len(last) and text.endswith(last)


def list_warnings(directives: Directives, modes: Modes, interfaces: Collection[str] = ()) -> Iterator[str]:
    """Directives that do not do what they say under these modes, in the order of the text: `LINE: what and why`.

    Args:
        directives: of the schema.
        modes: those that are configured.
        interfaces: names of its interfaces.
    """
    found = [
        (directive.line, f"{directive.line}: @{directive.name} on {_write_place(*place)} {trouble}")
        for place, given in directives.items()
        for directive in given
        if (trouble := _INTERFACE if place[0] in interfaces else _describe_trouble(directive, modes))
    ]
    for _, warning in sorted(found):
        yield warning


def _is_passed_over(directive: AuthDirective, modes: Modes) -> bool:
    return directive.name == _COGNITO_BESIDE and modes.is_one_pool


def _describe_trouble(directive: AuthDirective, modes: Modes) -> str:
    mode = _MODES[directive.name]
    # Keys that are stored let in by API_KEY too, and nobody knows here whether there are any.
    if mode not in modes.configured and mode is not AuthMode.API_KEY:
        return f"lets nobody in: {mode.value} is not configured, give {_SETTINGS[mode]} or take the directive out"
    if _is_passed_over(directive, modes):
        return f"does not count, since one user pool is all that is configured (as in AppSync): use @{_COGNITO_ALONE}"
    if directive.name == _COGNITO_ALONE and not modes.is_one_pool:
        return f"lets nobody in, since it is for one user pool and nothing else (as in AppSync): use @{_COGNITO_BESIDE}"
    return ""


def _write_place(type_name: str, field_name: str | None) -> str:
    return f"type {type_name}" if field_name is None else f"{type_name}.{field_name}"
