"""What `fanout serve` prints when it is ready, and `fanout check` of a schema. Knows the schema, nothing that runs."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from graphql import (
    GraphQLArgument,
    GraphQLEnumType,
    GraphQLField,
    GraphQLObjectType,
    get_named_type,
    get_nullable_type,
    is_leaf_type,
    is_required_argument,
)

from fanout import __version__
from fanout.api import Api
from fanout.errors import ClientFault
from fanout.model import AuthMode, Identity, SubscribeRequest
from fanout.schema import ApiSchema
from fanout.settings import Settings
from filters import compile_filter

_EXAMPLE_FIELDS = 5
_SHOWN_RESOLVERS = 8
_EXAMPLE_VALUES: dict[str, Any] = {
    "Int": 1,
    "Float": 1.5,
    "Boolean": True,
    "AWSTimestamp": 1767225600,
    "AWSDate": "2026-01-01",
    "AWSTime": "12:00:00Z",
    "AWSDateTime": "2026-01-01T12:00:00Z",
    "AWSJSON": "{}",
    "AWSEmail": "a@example.com",
    "AWSURL": "https://example.com",
    "AWSPhone": "+1 650 253 0000",
    "AWSIPAddress": "127.0.0.1",
}


def build_banner(
    served: Api,
    settings: Settings,
    generated_keys: Mapping[str, str],
    address: tuple[str, int],
    *,
    tls_ca: Path | None,
    embedded_url: str,
) -> str:
    """The endpoint, keys made for this run (never configured ones), and lines to paste for a first try."""
    host, port = address
    shown_host = f"[{host}]" if ":" in host else host
    tls = "s" if settings.tls_dev or settings.tls_cert else ""
    url = f"http{tls}://{shown_host}:{port}"
    rows = [
        ("endpoint", f"{url}/graphql"),
        ("real-time", f"ws{tls}://{shown_host}:{port}/graphql/realtime"),
        ("API key", generated_keys.get("api_key", "as configured" if settings.api_key else "none")),
        ("publisher key", generated_keys.get("publisher_key", "as configured")),
        ("Redis", f"embedded Valkey, {embedded_url}" if embedded_url else "as configured"),
        ("event stream", ", ".join(settings.stream)),
    ]
    if settings.anonymous:
        rows.append(("anonymous", f"let in as {settings.auth_mode.value}: whoever gives no credentials may subscribe"))
    if served.resolvers:
        names = [f"{type_}.{name}" for type_, name in sorted(served.resolvers)]
        rows.append(("resolvers", f"{settings.resolvers}: {_list_some(names)}"))
    if tls_ca:
        rows.append(("CA to trust", str(tls_ca.resolve())))
    api = str(settings.schema_path) if settings.schema_path else "the built-in chat API"
    lines = [f"Fanout {__version__} serves {api}", ""]
    lines += [f"  {name:<14} {value}" for name, value in rows]
    example = _build_example(served)
    if example:
        subscription, mutation, data = example
        where = "" if url == "http://127.0.0.1:8080" else f" --url {url}"
        where += f" --ca {tls_ca}" if tls_ca else ""
        lines += [
            "",
            "Subscribe, in a second terminal:",
            f"  .venv/bin/fanout subscribe{where} --api-key {generated_keys.get('api_key', 'KEY')} '{subscription}'",
            "Publish, in a third:",
            f"  .venv/bin/fanout publish{where} --publisher-key {generated_keys.get('publisher_key', 'KEY')}"
            f" {mutation} '{data}'",
        ]
    return "\n".join([*lines, ""])


def describe_resolvers(lines: Sequence[str], directory: Path) -> str:
    """A summary, and one line per field that has a resolver."""
    return "\n".join([f"{directory}: ok, {len(lines)} resolvers", *(f"  {line}" for line in lines)])


def describe_schema(schema: ApiSchema, source: str) -> str:
    """One line per mutation that triggers subscriptions, and a summary."""
    links = {name: schema.subscriptions_of(name) for name in sorted(schema.mutations)}
    lines = [f"  {mutation} -> {', '.join(fields)}" for mutation, fields in links.items() if fields]
    fields = {field for linked in links.values() for field in linked}
    triggered = f"{len(fields)} subscription{'s' * (len(fields) != 1)} on {len(lines)} of {len(links)} mutations"
    return "\n".join([f"{source}: ok, {triggered}", *lines])


def _list_some(names: Sequence[str]) -> str:
    rest = len(names) - _SHOWN_RESOLVERS
    return ", ".join(names[:_SHOWN_RESOLVERS]) + (f" and {rest} more" if rest > 0 else "")


def _build_example(served: Api) -> tuple[str, str, str] | None:
    """A subscription document, a mutation that triggers it, and data for it; None where none is found that fits."""
    subscription_type = served.schema.graphql.subscription_type
    for mutation in sorted(served.schema.mutations):
        for name in served.schema.subscriptions_of(mutation):
            assert subscription_type is not None
            field = subscription_type.fields[name]
            needed = _list_needed(field, served.planner.template_arguments(name))
            if all(is_leaf_type(get_nullable_type(argument.type)) for argument in needed.values()):
                document, data = _write_example(name, field, needed)
                if _fits(served, document, data):
                    return document, mutation, json.dumps(data)
    return None


def _write_example(name: str, field: GraphQLField, needed: Mapping[str, GraphQLArgument]) -> tuple[str, Any]:
    kinds = {key: get_named_type(argument.type) for key, argument in needed.items()}
    values = {key: _example_value(key, kind) for key, kind in kinds.items()}
    arguments = ", ".join(
        f"{key}: {values[key] if isinstance(kind, GraphQLEnumType) else json.dumps(values[key])}"
        for key, kind in kinds.items()
    )
    root = f"{name}({arguments})" if arguments else name
    returned = get_named_type(field.type)
    if not isinstance(returned, GraphQLObjectType):
        return f"subscription {{ {root} }}", _example_value(name, returned)
    types = {key: get_nullable_type(value.type) for key, value in returned.fields.items()}
    leaves = [key for key, type_ in types.items() if is_leaf_type(type_)]
    chosen = leaves[:_EXAMPLE_FIELDS]
    data = {key: _example_value(key, types[key]) for key in [*chosen, *(key for key in values if key in leaves)]}
    return f"subscription {{ {root} {{ {' '.join(chosen)} }} }}", data | values


def _list_needed(field: GraphQLField, by_templates: Collection[str]) -> dict[str, GraphQLArgument]:
    return {
        name: argument
        for name, argument in field.args.items()
        if is_required_argument(argument) or name in by_templates
    }


def _fits(served: Api, document: str, data: Any) -> bool:
    """Whether whoever has an API key may subscribe so, and gets the data: templates may ask for more.

    A resolver may ask for more, too, and is not run here: it is taken to let through what fits the arguments.
    """
    try:
        plan = served.preview(SubscribeRequest(document, None, {}, {}), Identity(AuthMode.API_KEY))
    except ClientFault:
        return False
    return compile_filter(plan.filter)(data)


def _example_value(name: str, leaf: Any) -> Any:
    if isinstance(leaf, GraphQLEnumType):
        return next(iter(leaf.values))
    return _EXAMPLE_VALUES.get(leaf.name, f"{name}-1" if leaf.name == "ID" else f"some {name}")
