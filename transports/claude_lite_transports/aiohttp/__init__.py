"""The asynchronous transport over aiohttp: aiohttp's connections, and our own exchange on them.

`transport.py` is what a client calls. `pool.py` and `connection.py` own the connections,
`exchange.py`, `upload.py` and `reply.py` carry one request, and `watch.py` keeps the limits on
time. The names of aiohttp that are not documented are checked when this package is loaded.
"""

from claude_lite_transports.shared.private_names import require_aiohttp, require_asyncio

# Before the modules are loaded: without these names some could not be.
require_aiohttp()
require_asyncio()

from claude_lite_transports.aiohttp.transport import AiohttpTransport  # noqa: E402  # after the check

__all__ = ["AiohttpTransport"]
