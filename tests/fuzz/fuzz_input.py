"""What a fuzzed input is read by: bytes as a row of decisions, and then the rest of them.

A target first takes the few decisions that it has to make (which operation, which headers, where
to cut) and then gives the rest to what is tested. At the end of the input every decision is 0,
so that any bytes are an input, and a shorter one is a simpler case.
"""

import copy
import json
import random
from itertools import pairwise

from claude_lite.errors import ClaudeError


class Given:
    """The bytes of one input."""

    def __init__(self, data):
        """Begin at the first of them."""
        self._data = data
        self._at = 0

    @property
    def left(self):
        """How many bytes were not read."""
        return max(0, len(self._data) - self._at)

    def number(self, below=256):
        """Read a number of one byte, or of two where that could not be large enough."""
        size = 1 if below <= 256 else 2  # what a byte holds
        raw = self._data[self._at : self._at + size]
        self._at += size
        return int.from_bytes(raw) % below

    def pick(self, choices):
        """Choose one."""
        return choices[self.number(len(choices))]

    def text(self):
        """Read text with its length in front, a character a byte, as headers are."""
        size = self.number()
        raw = self._data[self._at : self._at + size]
        self._at += size
        return raw.decode("latin-1")

    def rest(self):
        """Read all that is left."""
        raw = self._data[self._at :]
        self._at = len(self._data)
        return raw


def cut(data, seed):
    """Cut bytes into chunks as *seed*, a byte, says: not at all, evenly, or at random."""
    if seed == 0 or not data:
        return [data]
    if seed < 64:  # as good a division as any
        return [data[i : i + seed] for i in range(0, len(data), seed)]
    rng = random.Random(seed)  # noqa: S311  # no secret
    places = sorted(rng.randrange(len(data) + 1) for _ in range(rng.randrange(1, 9)))
    return [data[a:b] for a, b in pairwise([0, *places, len(data)])]


def changed(given, data, values, keys):
    """Give a copy of JSON *data* with some places changed: to *values*, under *keys* or its own."""
    holder = [copy.deepcopy(data)]
    for _ in range(1 + given.number(5)):
        place = holder
        for _ in range(given.number(7)):
            inner = place.values() if isinstance(place, dict) else place
            inner = [value for value in inner if isinstance(value, dict | list)]
            place = given.pick(inner) if inner else place
        names = [*place, *keys] if isinstance(place, dict) else range(len(place))
        if not names:
            continue
        name, how = given.pick(names), given.number(4)
        if how == 0 and isinstance(place, dict):
            place.pop(name, None)
        elif how == 1 and isinstance(place, list):
            place.append(copy.deepcopy(place[name]))
        else:
            place[name] = copy.deepcopy(given.pick(values))
    return holder[0]


def plain(error):
    """Check that an error is one of ours and survives a queue; give it as plain data."""
    assert isinstance(error, ClaudeError), repr(error)
    assert type(error).__module__.startswith("claude_lite"), repr(error)
    text = json.dumps(error.to_dict())
    assert isinstance(str(error), str)
    again = ClaudeError.from_dict(json.loads(text)).to_dict()
    if again["error"] == type(error).__name__:  # else it is a transport's own, not looked up there
        assert json.dumps(again) == text
    return text
