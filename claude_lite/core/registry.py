"""The classes of operations by name, so that an operation can be read from the JSON of a queue.

A class with a route is registered when it is declared. A package of operations adds a loader: a
function that imports the modules of the package. `find` calls loaders only for an unknown name.
"""

from collections.abc import Callable

_classes: dict[str, type] = {}
_loaders: list[Callable[[], object]] = []


def register(name: str, cls: type) -> None:
    """Register the class of the operation *name*, in place of an earlier class of this name."""
    _classes[name] = cls


def add_loader(load: Callable[[], object]) -> None:
    """Add a function that `find` calls if a name is not registered.

    `find` may call the function more than once, also from several threads. That is safe: a repeated
    import is cheap, and Python's import lock makes threads wait.
    """
    _loaders.append(load)


def find(name: str) -> type | None:
    """Return the class of the operation *name*; None if no loader registers this name."""
    for load in _loaders:  # one by one, until the name is known
        if name in _classes:
            break
        load()
    return _classes.get(name)
