"""The classes of operations by name, so that an operation can be read from the JSON of a queue.

A class with a route is registered when it is declared. A package of operations adds a loader, which
imports its modules. Loaders are called only when a name is asked for that is not registered yet.
"""

from collections.abc import Callable

_classes: dict[str, type] = {}
_loaders: list[Callable[[], object]] = []


def register(name: str, cls: type) -> None:
    """Register the class of the operation *name*, in place of an earlier class of this name."""
    _classes[name] = cls


def add_loader(load: Callable[[], object]) -> None:
    """Add a function to call when a name is asked for that is not registered.

    It is called for each such name, by several threads at once if need be; importing modules again
    costs nothing, and waits for another thread that is still importing them.
    """
    _loaders.append(load)


def find(name: str) -> type | None:
    """Give the class of the operation *name*; None if no loader registers this name."""
    for load in _loaders:
        if name in _classes:
            break
        load()
    return _classes.get(name)
