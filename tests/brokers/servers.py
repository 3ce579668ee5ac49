"""RabbitMQ and Redis on free ports, with their data in a folder of the caller; killed at the end.

    with running_rabbitmq(folder) as rabbitmq, running_redis(folder) as redis:
        AioPikaBroker(rabbitmq.url)

Nothing of a broker that the system runs is used or changed.
"""

import os
import shutil
import signal
import socket
import subprocess
import time
from contextlib import contextmanager, suppress
from pathlib import Path

START_TIMEOUT = 90.0  # seconds; RabbitMQ needs some five on an idle machine
RABBITMQ = ("/usr/lib/rabbitmq/bin/rabbitmq-server", "rabbitmq-server")
HOW_TO_INSTALL = (
    "RabbitMQ and Redis are needed: install them with"
    " `apt-get install rabbitmq-server redis-server` or `brew install rabbitmq redis`."
    " The services of the system need not run."
)


def rabbitmq_program():
    """Find the program that starts RabbitMQ as any user; None if RabbitMQ is not installed."""
    return next(filter(None, map(shutil.which, RABBITMQ)), None)


def redis_program():
    """Find the Redis server; None if Redis is not installed."""
    return shutil.which("redis-server")


def are_installed():
    """Tell whether both servers are installed."""
    return rabbitmq_program() is not None and redis_program() is not None


def free_port():
    """Find a port that is free now."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


class Server:
    """A server in a process group of its own.

    Attributes:
        port: The port that clients use.
        url: The URL that clients use.

    """

    scheme = ""

    def __init__(self, folder):
        self.folder = Path(folder) / type(self).__name__.lower()
        self.folder.mkdir()
        self.port = free_port()
        self.url = f"{self.scheme}://127.0.0.1:{self.port}"
        self.process = None

    def command(self):
        """Give the command and the environment."""
        raise NotImplementedError

    def is_ready(self):
        """Tell whether the server answers."""
        raise NotImplementedError

    def start(self):
        """Start the server, and wait until it answers."""
        command, environment = self.command()
        log = (self.folder / "log").open("ab")
        with log:
            self.process = subprocess.Popen(  # noqa: S603  # the server that is installed here
                command,
                env={**os.environ, **environment},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        end = time.monotonic() + START_TIMEOUT
        while not self.is_ready():
            if self.process.poll() is not None or time.monotonic() > end:
                self.kill()
                said = (self.folder / "log").read_text(errors="replace")[-2000:]
                raise RuntimeError(f"{command[0]} did not start: {said}")
            time.sleep(0.1)

    def signal(self, number):
        """Send a signal to all processes of the server."""
        if self.process is not None:
            with suppress(ProcessLookupError):
                os.killpg(self.process.pid, number)

    def kill(self):
        """Kill the server."""
        self.signal(signal.SIGKILL)
        if self.process is not None:
            self.process.wait()

    def stop(self):
        """End the server as an administrator would, so that it writes what it has."""
        self.signal(signal.SIGTERM)
        self.process.wait()

    def _exchange(self, asked, size):
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=2.0) as connection:
                connection.sendall(asked)
                return connection.recv(size)
        except OSError:
            return b""


class RabbitMQ(Server):
    """RabbitMQ, with an epmd of its own: the daemon of the system would outlive the test."""

    scheme = "amqp"

    def __init__(self, folder):
        super().__init__(folder)
        self.url = f"amqp://guest:guest@127.0.0.1:{self.port}/"
        self._epmd_port = free_port()
        self._epmd = None

    def command(self):
        """Give the command and the environment."""
        base = self.folder
        if self._epmd is None:
            epmd = ["epmd", "-port", str(self._epmd_port), "-address", "127.0.0.1"]
            self._epmd = subprocess.Popen(  # noqa: S603  # a part of RabbitMQ
                epmd, stdin=subprocess.DEVNULL, start_new_session=True
            )
            (base / "enabled_plugins").write_text("[].\n")
            (base / "rabbitmq.conf").write_text("loopback_users = none\nlog.file = false\n")
        environment = {
            "HOME": str(base),
            "ERL_EPMD_PORT": str(self._epmd_port),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODENAME": f"claude-lite-{self.port}@localhost",
            "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODE_PORT": str(self.port),
            "RABBITMQ_DIST_PORT": str(free_port()),
            "RABBITMQ_MNESIA_BASE": str(base / "mnesia"),
            "RABBITMQ_LOG_BASE": str(base / "logs"),
            "RABBITMQ_PID_FILE": str(base / "pid"),
            "RABBITMQ_CONFIG_FILE": str(base / "rabbitmq"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(base / "enabled_plugins"),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "+S 2:2 +sbwt none",
        }
        return [rabbitmq_program()], environment

    def is_ready(self):
        """Tell whether RabbitMQ speaks AMQP: it then offers its mechanisms."""
        return b"PLAIN" in self._exchange(b"AMQP\x00\x00\x09\x01", 4096)

    def close(self):
        """Kill RabbitMQ and its epmd."""
        self.kill()
        if self._epmd is not None:
            self._epmd.kill()
            self._epmd.wait()


class Redis(Server):
    """Redis, which keeps nothing on disk."""

    scheme = "redis"

    def command(self):
        """Give the command and the environment."""
        options = {
            "--port": str(self.port),
            "--bind": "127.0.0.1",
            "--save": "",
            "--appendonly": "no",
            "--dir": str(self.folder),
        }
        return [redis_program(), *[word for pair in options.items() for word in pair]], {}

    def is_ready(self):
        """Tell whether Redis answers a PING."""
        return self._exchange(b"PING\r\n", 16) == b"+PONG\r\n"

    def close(self):
        """Kill Redis."""
        self.kill()


@contextmanager
def _running(server):
    try:
        server.start()
        yield server
    finally:
        server.close()


def running_rabbitmq(folder):
    """Run RabbitMQ: a context manager."""
    return _running(RabbitMQ(folder))


def running_redis(folder):
    """Run Redis: a context manager."""
    return _running(Redis(folder))
