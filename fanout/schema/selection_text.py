"""What a client selected below a field, as resolvers see it: `ctx.info.selectionSetList` and `selectionSetGraphQL`.

As in AppSync (developer guide, "context object reference", `Info`): the list has aliases in place of names, paths with
`/`, fragments spread, each path once, and nothing that `@skip` or `@include` leaves out; fields for several types of an
interface or union are all in it. The text is what the document says, fragments as they are written.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from graphql import (
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLIncludeDirective,
    GraphQLSkipDirective,
    InlineFragmentNode,
    SelectionNode,
    SelectionSetNode,
    get_directive_values,
    print_ast,
)
from graphql.execution.values import VariableValues

from fanout.schema.resolving import SelectionText


def describe_selection(
    fields: Iterable[FieldNode], fragments: Mapping[str, FragmentDefinitionNode], variables: VariableValues
) -> SelectionText:
    """What is selected below a field, by all of its nodes; nothing, and no text, of a scalar or enum."""
    selection_sets = [node.selection_set for node in fields if node.selection_set]
    if not selection_sets:
        return SelectionText((), "")
    paths: dict[str, None] = {}
    for selection_set in selection_sets:
        _list_paths(paths, "", selection_set, fragments, variables)
    nodes = tuple(node for selection_set in selection_sets for node in selection_set.selections)
    return SelectionText(tuple(paths), print_ast(SelectionSetNode(selections=nodes)))


def _list_paths(
    paths: dict[str, None],
    prefix: str,
    selection_set: SelectionSetNode,
    fragments: Mapping[str, FragmentDefinitionNode],
    variables: VariableValues,
) -> None:
    for node in selection_set.selections:
        if not _is_included(node, variables):
            continue
        match node:
            case FieldNode():
                path = prefix + (node.alias or node.name).value
                paths[path] = None
                if node.selection_set:
                    _list_paths(paths, path + "/", node.selection_set, fragments, variables)
            case InlineFragmentNode():
                _list_paths(paths, prefix, node.selection_set, fragments, variables)
            case FragmentSpreadNode():
                _list_paths(paths, prefix, fragments[node.name.value].selection_set, fragments, variables)


def _is_included(node: SelectionNode, variables: VariableValues) -> bool:
    if not node.directives:
        return True
    skip = get_directive_values(GraphQLSkipDirective, node, variables)
    include = get_directive_values(GraphQLIncludeDirective, node, variables)
    return not (skip and skip["if"]) and not (include and not include["if"])
