"""Times for assertions that must hold on a loaded machine as well.

A bound on the clock fails when other processes keep the processors busy. What the code under test
answers for is the time without its waits for a processor, which Linux counts for each thread.
"""

import time
from pathlib import Path

TASKS = Path("/proc/self/task")


def waits():
    """Give the seconds for which each living thread has waited for a processor; Linux only."""
    found = {}
    for task in TASKS.iterdir() if TASKS.is_dir() else ():
        try:
            found[task.name] = int((task / "schedstat").read_text().split()[1]) / 1e9
        except (OSError, IndexError):  # the thread has ended, or the kernel does not count
            continue
    return found


class Stopwatch:
    """The time since it was made: `elapsed` by the clock, `seconds` without waits for a processor.

    Assert lower bounds of `elapsed` and upper bounds of `seconds`.
    """

    def __init__(self):
        """Begin."""
        self._waits, self._began = waits(), time.monotonic()

    @property
    def elapsed(self):
        """The seconds by the clock."""
        return time.monotonic() - self._began

    @property
    def waited(self):
        """The seconds for which threads of this process waited for a processor, added up."""
        return sum(now - self._waits.get(name, 0.0) for name, now in waits().items())

    @property
    def seconds(self):
        """The seconds by the clock less those of waiting, at least 0: threads can wait at once."""
        return max(0.0, self.elapsed - self.waited)
