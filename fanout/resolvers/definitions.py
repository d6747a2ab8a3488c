"""What resolves a field: a module by itself, or a pipeline of several. Values; knows no file and no process."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files

from fanout.resolver_settings import NONE
from fanout.settings import Settings


@dataclass(frozen=True, slots=True)
class Module:
    """One file.

    Args:
        name: its path in the folder, as the log calls it.
        body: what a sandbox makes it from.
        mentions_selection: its text names the selection of `ctx.info`, so that it has to be worked out.
    """

    name: str
    body: str = field(repr=False)
    mentions_selection: bool


@dataclass(frozen=True, slots=True)
class Function:
    """A module with a request and a response, and what stands between them.

    Args:
        module: exports both.
        data_source: a name of the configuration's, or NONE.
    """

    module: Module
    data_source: str = NONE


@dataclass(frozen=True, slots=True)
class Pipeline:
    """Functions one after the other.

    Args:
        before: exports `request`, which is called first; None: there is no such step.
        functions: in order.
        after: exports `response`, which is called last; None: the last function's result is the field's.
    """

    before: Module | None
    functions: tuple[Function, ...]
    after: Module | None


@dataclass(frozen=True, slots=True)
class ResolverCode:
    """All resolvers of an API, checked: equal where they would do the same.

    Args:
        fields: by type and field.
    """

    fields: Mapping[tuple[str, str], Function | Pipeline]

    @property
    def modules(self) -> dict[str, Module]:
        """Every module that is in use, by its name."""
        return {module.name: module for code in self.fields.values() for module in list_modules(code)}

    def describe(self) -> list[str]:
        """A line per field, in the order of names: what resolves it."""
        return [f"{type_}.{name}: {_describe(code)}" for (type_, name), code in sorted(self.fields.items())]


def list_modules(code: Function | Pipeline) -> Iterator[Module]:
    """The modules of one field's resolver, in the order in which they are called."""
    if isinstance(code, Function):
        yield code.module
        return
    if code.before:
        yield code.before
    for function in code.functions:
        yield function.module
    if code.after:
        yield code.after


def compute_version(code: Function | Pipeline, settings: Settings) -> str:
    """Equal for equal code, settings and library; holds no secret, and does not change with one."""
    digest = hashlib.sha256(_read_library())
    for module in list_modules(code):
        digest.update(f"\0{module.name}\0{module.body}".encode())
    functions = (code,) if isinstance(code, Function) else code.functions
    for function in functions:
        source = settings.data_source.get(function.data_source)
        digest.update(f"\0{function.data_source}\0{source.model_dump_json() if source else ''}".encode())
    digest.update(repr((_describe(code), sorted(settings.environment_variables.items()))).encode())
    return digest.hexdigest()


def _describe(code: Function | Pipeline) -> str:
    if isinstance(code, Function):
        return _describe_function(code)
    steps = [code.before.name] if code.before else []
    steps += [_describe_function(each) for each in code.functions]
    return " -> ".join([*steps, code.after.name] if code.after else steps)


def _describe_function(function: Function) -> str:
    return f"{function.module.name} ({function.data_source})"


@cache
def _read_library() -> bytes:
    folder = files("fanout.resolvers") / "library"
    texts = {each.name: each.read_bytes() for each in folder.iterdir() if each.name.endswith(".js")}
    return b"\0".join(text for _, text in sorted(texts.items()))
