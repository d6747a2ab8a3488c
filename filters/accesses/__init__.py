"""Accesses: how an AND-group is found by what an event has, without looking at the other groups.

    choice      a group's conditions -> the accesses that it offers, each with the spots where it would hang
    equality    spots by value, and by absence            (`eq`, `in`)
    elements    spots by an element of a list             (`contains`, `containsAny`)
    needles     spots by a part of a string               (`contains`, where the event has a string)
    prefixes    spots by the beginning of a string        (`beginsWith`)
    bounds      spots by one bound, in order              (`lt`, `le`, `gt`, `ge`)
    intervals   spots by two bounds, found by stabbing    (`between`, or a lower and an upper bound on one path)
    node        a table of such stores; a spot that too many groups hang on becomes a node of its own

Every store has one interface, that of `node.Store`: a mapping from keys to whatever hangs there, and `find`, which
takes what an event has at the path and gives what hangs on the keys that fit it, each key once. All of them are
exact: a key that is found does fit. None takes a step over all it holds when one thing is added or removed.
"""
