"""What a subscription's selection touches, and who is refused for it: any document against a walk through it."""

from __future__ import annotations

import gc
from random import Random
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fanout.errors import FieldDenied
from fanout.model import AuthMode, Identity, SubscribeRequest
from fanout.planning.planner import SubscriptionPlanner
from fanout.planning.plans import Plan
from fanout.schema.access import _MAX_VERDICTS, open_to_all
from fanout.schema.sdl import parse_schema
from fanout.settings import Settings, SubscriptionSettings

SDL = """
type Query { version: String }
type Mutation { put(id: ID): Post act(id: ID): Thing }
type Subscription {
  onPut(id: ID): Post @aws_subscribe(mutations: ["put"])
  onAct(id: ID): Thing @aws_subscribe(mutations: ["act"])
}
interface Named { name: String post: Post }
union Thing = Post | User
type Post implements Named { id: ID name: String author: User post: Post named: Named things: [Thing!] }
type User implements Named { id: ID name: String post: Post secret: String }
"""
SCHEMA = parse_schema(SDL)
ANYBODY = Identity(AuthMode.API_KEY)


class Closed:
    """An access to everything but some places; counts how often it is asked."""

    def __init__(self, *places: str) -> None:
        self.places = set(places)
        self.asked = 0

    def may_use(self, type_name: str, field_name: str) -> bool:
        self.asked += 1
        return f"{type_name}.{field_name}" not in self.places


def build_planner(**settings: Any) -> SubscriptionPlanner:
    return SubscriptionPlanner(SCHEMA, Settings(**settings))


def plan(query: str, access: Any = None, planner: SubscriptionPlanner | None = None, **variables: Any) -> Plan:
    planner = planner or build_planner()
    return planner.plan(SubscribeRequest(query, None, variables, {}), ANYBODY, access)


def list_touched(query: str, **variables: Any) -> set[str]:
    return {f"{type_name}.{field}" for type_name, field in plan(query, **variables).projection.fields}


@pytest.mark.parametrize(
    ("selection", "touched"),
    [
        ("id __typename", {"Post.id"}),
        ("x: id y: id", {"Post.id"}),
        ("author { secret }", {"Post.author", "User.secret"}),
        ("post { post { id } }", {"Post.post", "Post.id"}),
        ("...F", {"Post.name", "Post.author", "User.id"}),
        ("... on Post { id } ... on Named { name }", {"Post.id", "Post.name"}),
        ("id name @skip(if: true) author @include(if: false) { id }", {"Post.id"}),
        ("id name @include(if: $v)", {"Post.id"}),
        ("id @skip(if: $v) ...F @include(if: $v)", {"Post.id"}),
        ("named { name }", {"Post.named", "Post.name", "User.name"}),
        ("named { ... on User { secret } }", {"Post.named", "User.secret"}),
        ("things { __typename }", {"Post.things"}),
        ("things { ... on Post { id } ... on Named { name } }", {"Post.things", "Post.id", "Post.name", "User.name"}),
    ],
)
def test_what_a_selection_touches(selection: str, touched: set[str]) -> None:
    declared = "($v: Boolean = false)" if "$v" in selection else ""
    fragment = " fragment F on Post { name author { id } }" if "...F" in selection else ""
    query = f"subscription {declared} {{ onPut {{ {selection} }} }}{fragment}"
    assert list_touched(query) == touched | {"Subscription.onPut"}


def test_what_is_included_follows_the_variables() -> None:
    query = "subscription ($v: Boolean!) { onPut { id author @include(if: $v) { secret } } }"
    planner, closed = build_planner(), Closed("User.secret")
    plan(query, closed, planner, v=False)
    with pytest.raises(FieldDenied):
        plan(query, closed, planner, v=True)
    plan(query, closed, planner, v=False)


@pytest.mark.parametrize(
    ("query", "closed", "message"),
    [
        ("subscription { onPut { id } }", "Subscription.onPut", "Not Authorized to access onPut on type Subscription"),
        ("subscription { onPut { a: id } }", "Post.id", "Not Authorized to access id on type Post"),
        ("subscription { onPut { author { secret } } }", "User.secret", "Not Authorized to access secret on type User"),
        ("subscription { onPut { named { name } } }", "User.name", "Not Authorized to access name on type User"),
        ("subscription { onAct { ... on Named { name } } }", "Post.name", "Not Authorized to access name on type Post"),
    ],
)
def test_a_closed_field_refuses_the_subscription_in_appsyncs_words(query: str, closed: str, message: str) -> None:
    planner = build_planner()
    for _ in range(3):
        with pytest.raises(FieldDenied) as caught:
            plan(query, Closed(closed), planner)
        assert caught.value.errors == [{"errorType": "Unauthorized", "message": message}]
        # The plan of those who may is the same document's.
        assert plan(query, Closed(), planner) is plan(query, None, planner)


@pytest.mark.parametrize(
    ("filter_", "touched"),
    [
        ({"id": {"eq": "1"}}, {"Post.id"}),
        (
            {"or": [{"name": {"eq": "1"}}, {"author.secret": {"beginsWith": "a"}}]},
            {"Post.name", "Post.author", "User.secret"},
        ),
        ({"things.name": {"eq": "x"}}, {"Post.things", "Post.name", "User.name"}),
        ({"named.post.id": {"eq": "x"}}, {"Post.named", "Post.post", "User.post", "Post.id"}),
        ({"nothing.of.it": {"eq": 1}}, set()),
        ({"id.deeper": {"eq": 1}}, {"Post.id"}),
    ],
)
def test_what_a_filter_reads_has_to_be_open_too(filter_: dict[str, Any], touched: set[str]) -> None:
    query = "subscription ($f: AWSJSON) { onPut(filter: $f) { __typename } }"
    planner = SubscriptionPlanner(
        parse_schema(SDL.replace("onPut(id: ID)", "onPut(id: ID filter: AWSJSON)")), Settings()
    )
    given = orjson.dumps(filter_).decode()
    made = plan(query, None, planner, f=given)
    assert {f"{type_}.{name}" for type_, name in made.filtered} == touched
    for closed in touched:
        # Whether the plan is there already or not.
        for f in (given, given + " "):
            with pytest.raises(FieldDenied):
                plan(query, Closed(closed), planner, f=f)
        assert planner.verdicts.find_denial(made, Closed(closed)) is not None
    assert plan(query, Closed("User.id"), planner, f=given) is made
    # The owner's template, and plain arguments, which the owner has declared, may read what is closed.
    rules = SubscriptionSettings(filter={"id": {"eq": "$args.id"}})
    for given_settings in ({}, {"subscriptions": {"onPut": rules}}):
        one = build_planner(**given_settings)
        assert plan('subscription { onPut(id: "1") { name } }', Closed("Post.id"), one).filtered == ()


def test_a_closed_field_is_told_before_a_claim_that_its_template_lacks() -> None:
    rules = SubscriptionSettings(filter={"id": {"eq": "$identity.sub"}})
    with pytest.raises(FieldDenied):
        plan("subscription { onPut { id } }", Closed("Post.id"), build_planner(subscriptions={"onPut": rules}))


def test_a_selection_is_decided_once_for_a_class_of_identities() -> None:
    planner, access = build_planner(), Closed()
    query = "subscription ($id: ID) { onPut(id: $id) { id author { id name } } }"
    for number in range(20):
        plan(query, access, planner, id=str(number))
    assert access.asked == len(plan(query, None, planner).projection.fields) == 5


def test_verdicts_are_bounded_and_go_with_their_selection() -> None:
    planner = build_planner()
    query = "subscription { onPut { id } }"
    for _ in range(3 * _MAX_VERDICTS):
        plan(query, Closed(), planner)
    (known,) = planner.verdicts._known.values()
    assert len(known) <= _MAX_VERDICTS
    del known
    with pytest.raises(FieldDenied):
        plan(query, Closed("Post.id"), planner)
    planner._known._entries.clear()
    planner._operations._operations._entries.clear()
    gc.collect()
    assert len(planner.verdicts._known) == 0


def test_open_to_all_closes_nothing() -> None:
    assert open_to_all(ANYBODY) is None  # type: ignore[func-returns-value]


# Any document: its text is made together with the places that it touches.

POSSIBLE = {"Post": ["Post"], "User": ["User"], "Named": ["Post", "User"], "Thing": ["Post", "User"]}
FIELDS: dict[str, dict[str, str | None]] = {
    "Post": {"id": None, "name": None, "author": "User", "post": "Post", "named": "Named", "things": "Thing"},
    "User": {"id": None, "name": None, "post": "Post", "secret": None},
    "Named": {"name": None, "post": "Post"},
    "Thing": {},
}
PLACES = {f"{type_}.{name}" for type_ in ("Post", "User") for name in FIELDS[type_]}
PLANNER = build_planner()


def make_selection(random: Random, static: str, narrowed: list[str], depth: int, counts: bool) -> tuple[str, set[str]]:
    """A selection on `static`, of an object that can be any of `narrowed`; nothing of it is touched unless it `counts`.

    Each field has an alias of its own, so that two of them never conflict.
    """
    texts, touched = ["__typename"], set[str]()
    for _ in range(random.randint(1, 3)):
        inside = set[str]()
        condition = random.choice(["", "@skip(if: false)", "@include(if: $no)", "@skip(if: $yes)"])
        is_counted = counts and "$" not in condition
        if (not FIELDS[static] or random.random() < 0.3) and depth > 0:
            narrower = random.choice([name for name in POSSIBLE if set(POSSIBLE[static]) & set(POSSIBLE[name])])
            common = [name for name in narrowed if name in POSSIBLE[narrower]]
            text, inside = make_selection(random, narrower, common, depth - 1, is_counted)
            texts.append(f"... on {narrower} {condition} {{ {text} }}")
        elif FIELDS[static]:
            name, target = random.choice(list(FIELDS[static].items()))
            if target and depth == 0:
                continue
            inside = {f"{each}.{name}" for each in narrowed} if is_counted else set[str]()
            text = ""
            if target:
                nested, below = make_selection(random, target, POSSIBLE[target], depth - 1, bool(inside))
                text = f"{{ {nested} }}"
                inside |= below
            texts.append(f"a{random.getrandbits(60)}: {name} {condition} {text}")
        touched |= inside
    return " ".join(texts), touched


@settings(deadline=None)  # a document of 100 fields takes as long as the machine is busy
@given(st.integers(0, 2**32), st.sets(st.sampled_from(sorted(PLACES)), max_size=3))
def test_any_document_is_refused_exactly_if_it_touches_what_is_closed(seed: int, closed: set[str]) -> None:
    random = Random(seed)
    field, type_name = random.choice([("onPut", "Post"), ("onAct", "Thing")])
    text, touched = make_selection(random, type_name, POSSIBLE[type_name], 3, True)
    touched.add(f"Subscription.{field}")
    variables = "x: __typename @skip(if: $yes) y: __typename @include(if: $no)"
    query = f"subscription ($yes: Boolean = true, $no: Boolean = false) {{ {field} {{ {text} {variables} }} }}"
    made = plan(query, None, PLANNER)
    assert {f"{type_}.{name}" for type_, name in made.projection.fields} == touched
    denial = PLANNER.verdicts.find_denial(made, Closed(*closed))
    told = {
        f"Not Authorized to access {name} on type {type_}" for type_, name in (p.split(".") for p in touched & closed)
    }
    assert (denial.message in told) if denial else not told
