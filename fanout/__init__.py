"""Fanout: self-hosted real-time GraphQL, the subscriptions of AWS AppSync as a Python service.

The rooms, from the edge inwards (imports only point down, `tests/structure/test_layers.py` holds it):

    cli, client, supervisor                   entry: commands and worker processes
    service                                   wiring, the only file that knows every room
    administration, reload, orders            what an operator asks of the gateways
    gateway    web    bus    trust resolvers  edges: WebSocket | HTTP | Redis | who vouches for clients | owners' code
    engine                                    registry, dispatch, timer wheel: asyncio, no I/O library
    api        planning    execution          what is served: subscriptions and mutations by one schema
    protocol   schema      auth               pure: dialects and frames | SDL and projection | identity
    model, errors, settings                   base: values passed between rooms, error tree, configuration
    filters (a package beside this one)       the filter language, a library of its own
"""

__version__ = "0.1.0"
