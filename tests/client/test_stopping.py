"""A sync stream that another thread closes: the thread that waits for it wakes up at once."""

import gc
import os
import signal
import threading
import time

import pytest
from driving import BLOCK, HEL, HELLO, KEY, START, WHOLE
from each_transport import client_tls, server_tls

from claude_lite import Client, StreamInterrupted, StreamMessage
from claude_lite.testing.conformance.loopback import LoopbackServer, chunked, reply
from claude_lite_transports.recording import RecordingTransport
from claude_lite_transports.urllib import UrllibTransport

KIND = b"\r\ncontent-type: text/event-stream\r\n"
BEGUN = chunked(START, BLOCK, HEL, end=b"").replace(b"\r\n", KIND, 1)
ALL = chunked(*WHOLE).replace(b"\r\n", KIND, 1)
MODEL = b'{"type": "model", "id": "m", "display_name": "m", "created_at": "2026-01-01T00:00:00Z"}'
SOON = 2.5  # seconds; a thread that is not woken up waits for longer


class Silent(LoopbackServer):
    """A server that begins each reply with so many bytes, and then waits."""

    def __init__(self, begin, tls=None):
        """Serve, over TLS if there is a context."""
        super().__init__(self._begin, tls)
        self.begin, self.waiting, self.gone = begin, threading.Event(), 0

    def _begin(self, peer):
        peer._sock.settimeout(20.0)
        while peer.request():
            peer.send(self.begin)
            if self.begin is ALL:
                continue
            self.waiting.set()
            self.gone += peer.gone(within=20.0)
            return


def outcome(read):
    """Run *read* on a thread; return the thread and the list that its error comes into."""
    errors = []

    def run():
        try:
            read()
        except BaseException as error:  # noqa: BLE001  # it is the result
            errors.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    return thread, errors


def transports(tmp_path, tls):
    """Make a transport of each kind that can be stopped."""
    inner = UrllibTransport(trust_env=False, ssl_context=client_tls() if tls else None)
    return {"urllib": inner, "recording": RecordingTransport(tmp_path / "tape.json", inner, "all")}


READS = {
    "iterating": lambda stream: list(stream),  # noqa: PLW0108  # it reads as the others
    "text": lambda stream: list(stream.text_stream),
    "final": lambda stream: stream.final_message(),
}


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "TLS"])
@pytest.mark.parametrize("read", READS)
@pytest.mark.parametrize("kind", ["urllib", "recording"])
def test_closing_a_stream_that_is_read(kind, read, tls, tmp_path):
    """A thread that waits for the next event gets an error at once, with what has arrived."""
    with Silent(BEGUN, server_tls() if tls else None) as server:
        made = Client(transports(tmp_path, tls)[kind], api_key=KEY, base_url=server.url(""))
        with made.messages.stream(**HELLO) as stream:
            thread, errors = outcome(lambda: READS[read](stream))
            time.sleep(0.1)  # it is likely to wait by now
            stream.close()
            thread.join(SOON)
            assert not thread.is_alive()
        assert isinstance(errors[0], StreamInterrupted)
        assert "the program closed the stream" in str(errors[0])
        assert errors[0].partial["content"][0]["text"] == "Hel"
        server.begin = ALL
        with made.messages.stream(**HELLO) as stream:  # another connection is used
            assert stream.final_message().text == "Hello"
        assert server.connections == 2
        made.close()


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "TLS"])
@pytest.mark.parametrize("begin", [b"", b"HTTP/1.1 200 OK\r\n", chunked(START, end=b"")])
def test_closing_a_stream_that_is_opened(begin, tls):
    """A thread that waits for the head, or for the first content, gets an error at once."""
    begin = begin.replace(b" OK\r\n", b" OK" + KIND, 1) if b"chunked" in begin else begin
    with Silent(begin, server_tls() if tls else None) as server:
        transport = UrllibTransport(trust_env=False, ssl_context=client_tls() if tls else None)
        made = Client(transport, api_key=KEY, base_url=server.url(""))
        stream = made.stream(StreamMessage(**HELLO))
        thread, errors = outcome(stream.__enter__)
        assert server.waiting.wait(5.0)
        stream.close()
        thread.join(SOON)
        assert not thread.is_alive()
        assert isinstance(errors[0], StreamInterrupted)
        assert "the program closed the stream" in str(errors[0])
        assert len(server.received) == 1  # it was not tried again


def test_closing_in_a_signal_handler():
    """A handler of a signal may close the stream that its own thread waits for."""
    with Silent(BEGUN) as server:
        made = Client(UrllibTransport(trust_env=False), api_key=KEY, base_url=server.url(""))
        with made.messages.stream(**HELLO) as stream:
            before = signal.signal(signal.SIGUSR1, lambda *_: stream.close())
            timer = threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGUSR1))
            timer.start()
            try:
                with pytest.raises(StreamInterrupted, match="the program closed the stream"):
                    stream.final_message()
            finally:
                signal.signal(signal.SIGUSR1, before)


def test_closing_while_others_open_connections():
    """A stopped thread reads from no connection but its own: every other call has its answer."""
    with Silent(BEGUN) as silent, LoopbackServer(_talk) as server:
        transport = UrllibTransport(trust_env=False, keepalive_timeout=0)
        made = Client(transport, api_key=KEY, base_url=silent.url(""))
        other = made.with_options(base_url=server.url(""))
        wrong, over = [], threading.Event()

        def call():
            while not over.is_set():
                if other.models.retrieve(model_id="m").id != "m":
                    wrong.append(1)

        threads = [outcome(call) for _ in range(2)]
        for _ in range(60):
            with made.messages.stream(**HELLO) as stream:
                thread, errors = outcome(stream.final_message)
                stream.close()
                thread.join(SOON)
                assert isinstance(errors[0], StreamInterrupted)
        over.set()
        for thread, errors in threads:
            thread.join(SOON)
            assert errors == wrong == []


def _talk(peer):
    while peer.request():
        peer.send(reply(MODEL, "content-type: application/json"))


def test_closing_at_any_moment_of_a_stream():
    """Whenever a stream is closed, its reader has the message or the error, and no call fails."""
    with Silent(ALL) as server:
        made = Client(UrllibTransport(trust_env=False), api_key=KEY, base_url=server.url(""))
        for turn in range(150):
            stream = made.messages.stream(**HELLO)

            def read(stream=stream):
                with stream:
                    assert stream.final_message().text == "Hello"

            thread, errors = outcome(read)
            time.sleep(turn / 50_000)
            stream.close()
            thread.join(SOON)
            assert not thread.is_alive()
            kinds = [type(error).__name__ for error in errors]
            assert kinds in ([], ["StreamInterrupted"], ["UsageError"])  # the last: never opened
            with made.messages.stream(**HELLO) as again:
                assert again.final_message().text == "Hello"
        made.close()
        gc.collect()
