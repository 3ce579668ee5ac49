"""The two clients: the loops that do the I/O, and operations as methods.

`calling.py` has the code that both clients share. `sync.py` and `aio.py` have the same classes and
methods in the same order. `clients.py` adds the API's groups of methods (`namespaces.py`).
"""

from claude_lite.client.clients import AsyncClient, Client

__all__ = ["AsyncClient", "Client"]
