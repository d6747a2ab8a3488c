"""Every schedule of a small concurrent program, or rather one of each kind: dynamic partial-order reduction.

Source: Flanagan and Godefroid, "Dynamic partial-order reduction for model checking software" (POPL 2005), with sleep
sets. A schedule is run from the beginning; where a step could as well have come before an earlier one that touches
the same thing, that order is run too. Two schedules that differ only in the order of steps that touch nothing in
common end alike, so one of them is enough. Knows nothing of what is explored.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

Touched = frozenset[tuple[str, bool]]
"""What a step touches: name of the thing, and whether it may change it."""


class World(Protocol):
    """One run of the program, from its beginning."""

    def list_enabled(self) -> list[str]:
        """Names of the processes that can take a step now; in a fixed order."""

    def take_step(self, process: str) -> Touched:
        """Let a process take its next step."""

    def list_prevented(self) -> dict[str, Touched]:
        """The steps that cannot be taken now, but perhaps could have been in another order, and what they touch."""

    def finish(self) -> None:
        """No process can take a step: check how it has come out, and clean up."""

    def abandon(self) -> None:
        """The run ends early: clean up."""


@dataclass(slots=True)
class _Node:
    """A state on the way of the present schedule, the choices that are left there, and the one that was made."""

    enabled: list[str]
    sleeping: dict[str, Touched]
    to_try: set[str]
    tried: dict[str, Touched] = field(default_factory=dict)
    process: str = ""
    touched: Touched = frozenset()
    # For each process, how many nodes from the start its last step before or at this one, in causal order, is.
    clock: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Explored:
    """What an exploration came to.

    Args:
        schedules: that were run to their end.
        steps: taken in all of them.
        is_complete: whether no kind of schedule is left.
    """

    schedules: int
    steps: int
    is_complete: bool


class Failed(AssertionError):
    """A schedule that came out wrong; holds the schedule."""


def explore(start: Callable[[], World], max_schedules: int) -> Explored:
    """Run one schedule of each kind, at most `max_schedules`.

    Raises:
        Failed: from what `World.finish` or a step raised, with the schedule that led there.
    """
    path: list[_Node] = []
    schedules = steps = 0
    while True:
        world = start()
        try:
            for node in path[:-1]:
                world.take_step(node.process)
            steps += _run_on(world, path)
            if path and not path[-1].enabled:
                world.finish()
                schedules += 1
            else:
                world.abandon()
        except Exception as error:
            world.abandon()
            raise Failed(f"{error!r} after {' '.join(node.process for node in path)}") from error
        while path and not _left(path[-1]):
            path.pop()
        if not path:
            return Explored(schedules, steps, True)
        if schedules >= max_schedules:
            return Explored(schedules, steps, False)


def _left(node: _Node) -> set[str]:
    return node.to_try - node.tried.keys() - node.sleeping.keys()


def _run_on(world: World, path: list[_Node]) -> int:
    """Take the choice that is left at the end of the path, and go on from there to the end of the program."""
    steps = 0
    last = path[-1] if path else None
    while True:
        if last is None or steps or not path:
            enabled = world.list_enabled()
            sleeping = _keep_asleep(last) if last is not None else {}
            awake = [process for process in enabled if process not in sleeping]
            # To go on with the same process makes schedules that are easy to read.
            awake.sort(key=lambda process: last is None or process != last.process)
            last = _Node(enabled, sleeping, set(awake[:1]))
            path.append(last)
            if not awake:
                _note_prevented(world, path)
                return steps
        last.process = min(_left(last), key=last.enabled.index)
        last.touched = world.take_step(last.process)
        last.tried[last.process] = last.touched
        _note_order(path)
        steps += 1


def _keep_asleep(node: _Node) -> dict[str, Touched]:
    """What need not be tried next: it was tried before this step, which makes no difference to it."""
    known = {**node.sleeping, **node.tried}
    return {
        process: touched
        for process, touched in known.items()
        if process != node.process and not _conflict(touched, node.touched)
    }


def _conflict(left: Touched, right: Touched) -> bool:
    return any((name, True) in right or (changes and (name, False) in right) for name, changes in left)


def _note_order(path: list[_Node]) -> None:
    """Find what the last step comes after, and all steps with which it could have changed places."""
    index = len(path) - 1
    node = path[index]
    before: dict[str, int] = {}
    for earlier in reversed(path[:index]):
        if earlier.process == node.process:
            before = earlier.clock
            break
    clock = dict(before)
    raced = []
    for place in range(index - 1, -1, -1):
        earlier = path[place]
        if earlier.process == node.process or not _conflict(earlier.touched, node.touched):
            continue
        # Also with those between which and it there is another: that one may be what could not come before.
        if before.get(earlier.process, -1) < place:
            raced.append(place)
        _merge(clock, earlier.clock)
    clock[node.process] = index
    node.clock = clock
    for place in raced:
        _add_choice(path, place)


def _note_prevented(world: World, path: list[_Node]) -> None:
    """A step that was not taken because of another one is tried before that one."""
    for process, touched in world.list_prevented().items():
        path.append(_Node([], {}, set(), process=process, touched=touched))
        _note_order(path)
        path.pop()


def _add_choice(path: list[_Node], place: int) -> None:
    """See to it that the last step is tried before the one at `place`, with which it could change places.

    To get there, whatever is not a consequence of that step is done in its stead, and this last step after it. With
    one of the processes that can begin (the initials of Abdulla et al., "Optimal dynamic partial order reduction",
    POPL 2014) it is enough.
    """
    chosen, last = path[place], path[-1]
    instead: list[tuple[int, _Node]] = []
    beginning: list[str] = []
    for number, step in enumerate(path[place + 1 :], place + 1):
        if step is not last and step.clock.get(chosen.process, -1) >= place:
            continue
        if all(step.clock.get(other.process, -1) < earlier for earlier, other in instead):
            beginning.append(step.process)
        instead.append((number, step))
    ready = [process for process in beginning if process in chosen.enabled]
    if not chosen.to_try.isdisjoint(ready):
        return
    if ready:
        chosen.to_try.add(ready[0])
    elif len(instead) > 1 or last.process not in path[place + 1].enabled:
        chosen.to_try.update(chosen.enabled)
    # Else the last step could not be taken before: it waited for the one at `place`.


def _merge(clock: dict[str, int], other: dict[str, int]) -> None:
    for process, index in other.items():
        if clock.get(process, -1) < index:
            clock[process] = index
