"""A folder of ES modules -> which field is resolved by what, checked against the schema. Runs no call, asks nobody.

    Mutation.createMessage.js        a unit resolver: exports request and response
    Mutation.createOrder/            a pipeline resolver: its functions in the order of the configuration
        resolver.js                  before and after them: exports request and response;
        before.js, after.js          or in two files, each as it is needed: request of the one, response of the other
        validate.js                  a function of this pipeline
    functions/store.js               a function that any pipeline may name

Files are read once; whoever wants to know what has changed reads them again. docs/resolvers.md is for users.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection
from pathlib import Path
from typing import Final

from graphql import GraphQLObjectType

from fanout.errors import ConfigurationError, ConfigurationErrors
from fanout.resolver_settings import NONE, FunctionSettings, ResolverSettings
from fanout.resolvers.checker import check_apart
from fanout.resolvers.definitions import Function, Module, Pipeline, ResolverCode
from fanout.resolvers.rewriter import rewrite_module
from fanout.resolvers.sandbox import Limits
from fanout.schema import ApiSchema
from fanout.settings import Settings

_FUNCTIONS: Final = "functions"
_IGNORED: Final = re.compile(r"\..*|.*\.map|.*\.d\.ts|README.*|package.*\.json|tsconfig.*\.json|node_modules")
_TYPESCRIPT: Final = (".ts", ".mts", ".tsx")
_OTHER_JAVASCRIPT: Final = (".mjs", ".cjs", ".jsx")


def read_directory(path: Path, settings: Settings, schema: ApiSchema) -> ResolverCode:
    """Read and check the resolvers of an API; runs the top level of each module, in a process of its own.

    Takes 0.2 s, and about 10 ms for each module: not to be called on an event loop.

    Args:
        path: the folder.
        settings: what is set for single resolvers, data sources, limits.
        schema: checked.

    Raises:
        ConfigurationErrors: the first thing that is wrong in each resolver, with file, and line and column where they
            are known; of what only running a module's top level shows, the first of all.
        ConfigurationError: the only thing that is wrong.
    """
    return _Reading(path, settings, schema).read()


class _Reading:
    """One reading of the folder."""

    def __init__(self, path: Path, settings: Settings, schema: ApiSchema) -> None:
        self._path = path
        self._settings = settings
        self._schema = schema
        self._modules: dict[Path, Module] = {}
        self._wanted: dict[Path, list[str]] = {}  # what each has to export
        self._mistakes: dict[str, ConfigurationError] = {}  # by text: a function may be in several pipelines

    def read(self) -> ResolverCode:
        fields: dict[tuple[str, str], Function | Pipeline] = {}
        entries = [each for each in self._list(self._path) if each.name != _FUNCTIONS or not each.is_dir()]
        for entry in entries:
            try:
                type_, name = self._read_field(entry)
                if entry.is_dir() and entry.with_name(f"{entry.name}.js") in entries:
                    raise ConfigurationError(
                        f"{entry}.js: {type_}.{name} has a module and a folder: leave one of them out"
                    )
                fields[type_, name] = self._read_code(entry, f"{type_}.{name}")
            except ConfigurationError as error:
                self._note(error)
        names = [each.name.removesuffix(".js") for each in entries]
        for key in self._settings.resolver:
            if key not in names:
                text = f"{self._path} has neither {key}.js nor a folder {key}: add one, or take the setting out"
                self._note(ConfigurationError(f'[resolver."{key}"]: {text}{_suggest(key, names)}'))
        self._check_exports()
        if len(self._mistakes) > 1:
            raise ConfigurationErrors(list(self._mistakes.values()))
        for mistake in self._mistakes.values():
            raise mistake
        return ResolverCode(fields)

    def _note(self, mistake: ConfigurationError) -> None:
        self._mistakes.setdefault(str(mistake), mistake)

    def _list(self, folder: Path) -> list[Path]:
        try:
            entries = sorted(folder.iterdir())
        except OSError as error:
            raise ConfigurationError(f"{folder}: cannot read the resolvers: {error.strerror}") from None
        kept = [entry for entry in entries if not _IGNORED.fullmatch(entry.name)]
        names = {entry.name for entry in kept}
        for entry in kept:
            if entry.suffix in _TYPESCRIPT and f"{entry.stem}.js" not in names:
                raise ConfigurationError(
                    f"{entry}: TypeScript is not run: compile it to {entry.stem}.js with esbuild, see docs/resolvers.md"
                )
            if entry.suffix in _OTHER_JAVASCRIPT:
                raise ConfigurationError(f"{entry}: call it {entry.stem}.js: every resolver is an ES module")
        return [entry for entry in kept if entry.suffix not in _TYPESCRIPT]

    def _read_field(self, entry: Path) -> tuple[str, str]:
        """Which field a file or folder is for."""
        name = entry.name if entry.is_dir() else entry.name.removesuffix(".js")
        if not entry.is_dir() and entry.suffix != ".js":
            raise ConfigurationError(f"{entry}: not a resolver: call it Type.field.js, or take it out of the folder")
        type_name, dot, field_name = name.partition(".")
        if not dot or "." in field_name:
            raise ConfigurationError(
                f"{entry}: name it by its field, like Mutation.createMessage{'' if entry.is_dir() else '.js'}; "
                f"functions of pipelines belong in a pipeline's folder, or in {self._path / _FUNCTIONS}"
            )
        types = self._schema.graphql.type_map
        type_ = types.get(type_name)
        if not isinstance(type_, GraphQLObjectType) or type_name.startswith("__"):
            objects = [each for each, kind in types.items() if isinstance(kind, GraphQLObjectType)]
            raise ConfigurationError(
                f"{entry}: the schema has no object type {type_name!r}{_suggest(type_name, objects)}"
            )
        if field_name not in type_.fields:
            raise ConfigurationError(
                f"{entry}: {type_name} has no field {field_name!r}{_suggest(field_name, list(type_.fields))}"
            )
        return type_name, field_name

    def _read_code(self, entry: Path, key: str) -> Function | Pipeline:
        settings = self._settings.resolver.get(key, ResolverSettings())
        if entry.is_dir():
            return self._read_pipeline(entry, key, settings)
        if settings.functions:
            raise ConfigurationError(
                f'[resolver."{key}"] functions: {entry} is a module; of a pipeline make it the folder {key}'
            )
        source = self._find_source(settings.data_source, f'[resolver."{key}"] data_source')
        return Function(self._read_module(entry, "request", "response"), source)

    def _read_pipeline(self, folder: Path, key: str, settings: ResolverSettings) -> Pipeline:
        where = f'[resolver."{key}"]'
        if not settings.functions:
            raise ConfigurationError(
                f'{folder}: a pipeline has functions in an order: set {where} functions = ["NAME", ...] '
                "in the configuration file"
            )
        if settings.data_source is not None:
            raise ConfigurationError(
                f"{where} data_source: a pipeline's functions have data sources: "
                'functions = [{ name = "NAME", data_source = "..." }]'
            )
        before, after = self._read_steps(folder)
        named = [FunctionSettings(name=each) if isinstance(each, str) else each for each in settings.functions]
        functions = tuple(self._read_function(folder, each, where) for each in named)
        known = {"resolver", "before", "after", *(each.name for each in named)}
        for entry in self._list(folder):
            if entry.suffix != ".js" or not entry.is_file() or entry.stem not in known:
                raise ConfigurationError(
                    f"{entry}: no function of {where} functions: name it there, or take it out of the folder"
                )
        return Pipeline(before, functions, after)

    def _read_steps(self, folder: Path) -> tuple[Module | None, Module | None]:
        both, before, after = (folder / f"{name}.js" for name in ("resolver", "before", "after"))
        if both.is_file():
            for other in (before, after):
                if other.is_file():
                    raise ConfigurationError(f"{other}: {both.name} has this step, too: leave one of the two out")
            module = self._read_module(both, "request", "response")
            return module, module
        return (
            self._read_module(before, "request") if before.is_file() else None,
            self._read_module(after, "response") if after.is_file() else None,
        )

    def _read_function(self, folder: Path, settings: FunctionSettings, where: str) -> Function:
        name = settings.name
        if not re.fullmatch(r"[\w-]+", name) or name in ("resolver", "before", "after"):
            raise ConfigurationError(f"{where} functions: {name!r} cannot be a function's name")
        places = [folder / f"{name}.js", self._path / _FUNCTIONS / f"{name}.js"]
        found = [place for place in places if place.is_file()]
        if not found:
            source = next((place.with_suffix(".ts") for place in places if place.with_suffix(".ts").is_file()), None)
            if source is not None:
                self._list(source.parent)  # tells what to do with it
            raise ConfigurationError(f"{where} functions: {name!r} is neither {places[0]} nor {places[1]}")
        source_name = self._find_source(settings.data_source, f"{where} functions: data_source of {name!r}")
        return Function(self._read_module(found[0], "request", "response"), source_name)

    def _find_source(self, name: str | None, where: str) -> str:
        if name is None or name == NONE:
            return NONE
        if name not in self._settings.data_source:
            known = ", ".join([*self._settings.data_source, NONE])
            raise ConfigurationError(
                f"{where}: there is no data source {name!r} but {known}: give [data_source.{name}] a type and an "
                "endpoint in the configuration file"
            )
        return name

    def _read_module(self, path: Path, *exports: str) -> Module:
        self._wanted.setdefault(path, []).extend(exports)
        if path not in self._modules:
            try:
                text = path.read_text(encoding="utf-8")
            except OSError as error:
                raise ConfigurationError(f"{path}: cannot read the resolver: {error.strerror}") from None
            except UnicodeDecodeError:
                raise ConfigurationError(f"{path}: the resolver is not UTF-8 text") from None
            name = path.relative_to(self._path).as_posix()
            self._modules[path] = Module(name, rewrite_module(text, str(path)), "selectionSet" in text)
        return self._modules[path]

    def _check_exports(self) -> None:
        bodies = {str(path): module.body for path, module in self._modules.items()}
        try:
            handlers = check_apart(bodies, read_limits(self._settings)) if bodies else {}
        except ConfigurationError as error:
            self._note(error)
            return
        for path in self._modules:
            there = handlers[str(path)]
            missing = [name for name in dict.fromkeys(self._wanted[path]) if name not in there]
            if missing:
                text = f"exports no {' and no '.join(missing)}: write `export function {missing[0]}(ctx) {{ ... }}`"
                self._note(ConfigurationError(f"{path}: {text}"))


def read_limits(settings: Settings) -> Limits:
    """What one call may take."""
    return Limits(
        time_ms=settings.resolver_time_limit_ms,
        memory_bytes=settings.resolver_memory_bytes,
        stack_bytes=settings.resolver_stack_bytes,
    )


def _suggest(name: str, known: Collection[str]) -> str:
    close = difflib.get_close_matches(name, known, n=1)
    return f", did you mean {close[0]!r}?" if close else ""
