"""The emulator on a port: an HTTP/1.1 server on asyncio, without other dependencies."""

from claude_lite.emulator.serving.server import emulator_server, run_server, serve

__all__ = ["emulator_server", "run_server", "serve"]
