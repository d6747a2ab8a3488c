"""Load tests of a served Fanout, from outside: locust users, and a raw client that holds many connections.

A black box: nothing here imports `fanout` or `filters`, so that a mistake there cannot hide itself here. What is
expected to arrive is worked out from what was published, and every difference is a failure.
"""

__all__: list[str] = []
