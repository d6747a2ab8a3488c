"""For all tests: how long an example of a property takes says nothing on a machine that does other work too.

And hundreds of them start a process of Fanout. Where Python may not write what it has compiled, as containers often
have it, each would compile all modules: 2.2 s to its start in place of 0.9 s.
"""

from __future__ import annotations

import os
import sys

import pytest
from hypothesis import settings

os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

settings.register_profile("fanout", deadline=None)
settings.load_profile("fanout")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """For `-n auto`: tests wait for processes half of their time, so one worker leaves half of its core idle."""
    return 2 * (os.cpu_count() or 1)


def pytest_make_parametrize_id(val: object) -> str | None:
    """Of bytes the beginning is enough: what a compressor writes has the time in it, and then workers do not agree on
    what there is to run."""
    return ascii(val[:40])[2:-1] if isinstance(val, bytes) else None
