"""The synchronous transport on the standard library: blocking sockets in a pool.

`transport.py` is what a client calls, `attempt.py` carries one request, and `idle.py` keeps
connections between requests.
"""

from claude_lite_transports.urllib.transport import UrllibTransport

__all__ = ["UrllibTransport"]
