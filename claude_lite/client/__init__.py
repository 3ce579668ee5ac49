"""The two clients: the loops that do the I/O, and operations as methods.

`calling.py` is what both share; `sync.py` and `aio.py` are the same in the same order, one
blocking and one awaited; `clients.py` adds the API's groups of methods (`namespaces.py`).
"""

from claude_lite.client.clients import AsyncClient, Client

__all__ = ["AsyncClient", "Client"]
