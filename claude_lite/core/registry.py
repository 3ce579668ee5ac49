"""Operations by name: how the JSON of a queue finds its class again.

A class enters itself here when it is declared with a route. Whoever declares more of them adds
a loader, which imports them all: it is called when a name is not known yet.
"""

from collections.abc import Callable

_classes: dict[str, type] = {}
_loaders: list[Callable[[], object]] = []


def register(name: str, cls: type) -> None:
    """Enter the class of the operation *name*, in place of one that had this name."""
    _classes[name] = cls


def add_loader(load: Callable[[], object]) -> None:
    """Have *load* called once, when a name is asked for that is not known."""
    _loaders.append(load)


def find(name: str) -> type | None:
    """Give the class of the operation *name*; None if no loader brings it."""
    while name not in _classes and _loaders:
        _loaders[0]()
        del _loaders[0]
    return _classes.get(name)
