"""From a document to a response and the events that it makes: queries and mutations. Pure.

    executor             a document of one request, executed
    resolved_operations  whether anything in it has a resolver
    field_calls          its fields, resolved by who resolves them
    field_errors         what is wrong with them, as AppSync writes it
    slices               long lists, completed in turns with what else there is to do
    mutations            what a mutation without a resolver results in
    mutation_events      the events of those that succeeded

Knows the schema; nothing of connections, Redis or HTTP, and nothing here waits but for resolvers.
"""

from fanout.execution.executor import ExecutionResult, Executor
from fanout.execution.field_calls import Begin, Wait

__all__ = ["Begin", "ExecutionResult", "Executor", "Wait"]
