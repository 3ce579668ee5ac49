"""The asynchronous transport on plain asyncio and httptools, which is the fastest.

`transport.py` is what a client calls. `pool.py`, `connection.py`, `opening.py` and `reach.py`
own the connections, and `incoming.py` reads replies.
"""

from claude_lite_transports.asyncio.transport import AsyncioTransport

__all__ = ["AsyncioTransport"]
