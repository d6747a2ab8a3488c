"""The scenarios of the benchmark suite: each takes a `Setting` and returns an `Outcome`."""

__all__: list[str] = []
