"""Count what the processes of the soak and of the emulator hold: memory, sockets, tasks, threads.

The figures come from Linux's /proc, so that the emulator's process does no work for them.
"""

import asyncio
import ctypes
import gc
import os
import resource
import threading
from pathlib import Path
from typing import Any, Final

Sample = dict[str, Any]

# glibc keeps freed memory, in an arena per few threads: tens of MB that are not a leak.
TRIM: Final = getattr(ctypes.CDLL(None), "malloc_trim", None)


def held(server_pid: int) -> Sample:
    """Count what this process, without garbage, and the server's process hold now."""
    gc.collect()
    if TRIM is not None:
        TRIM(0)
    try:
        tasks = len(asyncio.all_tasks())
    except RuntimeError:  # no loop here
        tasks = 0
    return {
        "rss_mb": _resident(os.getpid()),
        "sockets": _sockets(os.getpid()),
        "tasks": tasks,
        "threads": threading.active_count(),
        "objects": len(gc.get_objects()),
        "server_rss_mb": _resident(server_pid),
        "server_sockets": _sockets(server_pid),
    }


def _resident(pid: int) -> float:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return round(pages * resource.getpagesize() / 2**20, 2)


def _sockets(pid: int) -> int:
    found = 0
    for number in Path(f"/proc/{pid}/fd").iterdir():
        try:
            found += str(number.readlink()).startswith("socket:")
        except FileNotFoundError:  # closed meanwhile, such as the file that lists them
            continue
    return found


def added(before: Sample, now: Sample) -> list[str]:
    """Return the growth between two samples by name, except for memory."""
    names = ("sockets", "tasks", "threads", "server_sockets")
    return [f"{name}, {now[name] - before[name]}" for name in names if now[name] > before[name]]
