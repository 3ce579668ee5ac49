"""The synchronous transport on the standard library: http.client connections in a pool.

`transport.py` is what a client calls; `attempt.py` carries one request, `idle.py` keeps the
connections between requests.
"""

from claude_lite_transports.urllib.transport import UrllibTransport

__all__ = ["UrllibTransport"]
