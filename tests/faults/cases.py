"""What a server can do to its clients, and what the caller has to get: every case, in order.

`test_every_fault.py` runs them, `table.py` prints them.
"""

from importlib import import_module

from expectations import CASES

__all__ = ["CASES"]

for chapter in (
    "connecting",
    "broken_off",
    "slow",
    "streams",
    "replies",
    "compression",
    "heads",
    "statuses",
    "redirects",
    "waiting",
    "early",
):
    import_module(f"cases_{chapter}")
