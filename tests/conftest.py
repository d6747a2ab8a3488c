"""For all tests: how long an example of a property takes says nothing on a machine that does other work too."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("fanout", deadline=None)
settings.load_profile("fanout")
