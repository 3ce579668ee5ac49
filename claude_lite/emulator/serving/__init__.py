"""Serve the emulator on a port: an HTTP/1.1 server on asyncio, without other dependencies.

`serve` runs in an event loop, `emulator_server` on a thread, `run_server` until a signal comes.
`server` has the connections, `http1` the parsing of requests.
"""

from claude_lite.emulator.serving.server import emulator_server, run_server, serve

__all__ = ["emulator_server", "run_server", "serve"]
