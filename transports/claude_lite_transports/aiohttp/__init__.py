"""The asynchronous transport over aiohttp: aiohttp's connections, our own exchange on them.

`transport.py` is what a client calls; `pool.py` and `connection.py` own the connections,
`exchange.py`, `upload.py` and `reply.py` carry one request, `watch.py` keeps the clocks.
"""

from claude_lite_transports.shared.private_names import require_aiohttp, require_asyncio

require_aiohttp()  # before the import of modules that could not even be loaded without them
require_asyncio()

from claude_lite_transports.aiohttp.transport import AiohttpTransport  # noqa: E402  # see above

__all__ = ["AiohttpTransport"]
