"""What the soak's process and the emulator's hold: memory, sockets, tasks, threads, objects.

Read from Linux's /proc, so that the emulator's process need not be asked.
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

# glibc keeps what is freed, in an arena for each few threads: tens of MB that are nobody's leak.
TRIM: Final = getattr(ctypes.CDLL(None), "malloc_trim", None)


def held(server_pid: int) -> Sample:
    """What this process and the server's hold at the moment; ours without what is garbage."""
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
        except FileNotFoundError:  # closed meanwhile, as the one that lists them is
            continue
    return found


def added(before: Sample, now: Sample) -> list[str]:
    """What there is now that was not there before, by name and number; memory does not count."""
    names = ("sockets", "tasks", "threads", "server_sockets")
    return [f"{name}, {now[name] - before[name]}" for name in names if now[name] > before[name]]
