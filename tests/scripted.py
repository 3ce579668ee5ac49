"""A transport that follows a script, and the same steps for sync and async transports."""

import asyncio
import json
from contextlib import asynccontextmanager, contextmanager

from claude_lite.wire import Request, Response
from claude_lite_transports.recording import AsyncRecordingTransport, RecordingTransport

URL = "https://api.anthropic.com/v1/messages"


class Script:
    """A transport that gives scripted answers in order: a Response, chunks, or an error.

    Chunks are a list of bytes, of seconds to let pass, and of an error at the end. Its clock
    is its own, so that waiting takes no time.
    """

    def __init__(self, *answers):
        """Hold the answers; `Script.requests` are those that were made."""
        self.answers, self.requests, self.now, self.closed = list(answers), [], 0.0, 0

    def send(self, request):
        """Give the next answer as a whole."""
        answer = self._next(request)
        if isinstance(answer, Response):
            return answer
        return Response(200, {}, b"".join(self._chunks(answer)))

    @contextmanager
    def stream(self, request):
        """Give the next answer as a stream."""
        answer = self._next(request)
        yield Response(200, {"content-type": "text/event-stream"}), self._chunks(answer)

    def sleep(self, seconds):
        """Let virtual time pass."""
        self.now += seconds

    def monotonic(self):
        """Tell the virtual time."""
        return self.now

    def close(self):
        """Count the calls."""
        self.closed += 1

    def _next(self, request):
        self.requests.append(request)
        answer = self.answers.pop(0)
        if isinstance(answer, BaseException):
            raise answer
        return answer

    def _chunks(self, answer):
        for item in answer:
            if isinstance(item, bytes):
                yield item
            elif isinstance(item, BaseException):
                raise item
            else:
                self.now += item


class AsyncScript(Script):
    """The same for asyncio; each step lets other tasks run."""

    async def send(self, request):
        """Give the next answer as a whole."""
        response = super().send(request)
        await asyncio.sleep(0)
        return response

    @asynccontextmanager
    async def stream(self, request):
        """Give the next answer as a stream."""
        with super().stream(request) as (head, chunks):
            await asyncio.sleep(0)
            yield head, self._slowly(chunks)

    async def _slowly(self, chunks):
        for chunk in chunks:
            await asyncio.sleep(0)
            yield chunk

    async def sleep(self, seconds):
        """Let virtual time pass."""
        super().sleep(seconds)

    async def close(self):
        """Count the calls."""
        super().close()


class Sync:
    """Drives the synchronous transport."""

    script, transport = Script, RecordingTransport

    @staticmethod
    def run(transport, request, how, most=None):
        """Send or stream one request; give the head or response, the chunks, and the error."""
        head, chunks = None, []
        try:
            if how == "send":
                return transport.send(request), [], None
            with transport.stream(request) as (head, parts):
                for chunk in parts:
                    chunks.append(chunk)
                    if len(chunks) == most:
                        break
        except Exception as error:  # noqa: BLE001  # it is the result
            return head, chunks, error
        return head, chunks, None

    @staticmethod
    def block(transport, *steps):
        """Run `(request, how, most)` steps inside a `with` block; give their results."""
        with transport:
            return [Sync.run(transport, *step) for step in steps]

    @staticmethod
    def sleep(transport, seconds):
        """Call the transport's sleep."""
        transport.sleep(seconds)


class Async:
    """Drives the asynchronous transport."""

    script, transport = AsyncScript, AsyncRecordingTransport

    @staticmethod
    async def run(transport, request, how, most=None):
        """Do as `Sync.run` does."""
        head, chunks = None, []
        try:
            if how == "send":
                return await transport.send(request), [], None
            async with transport.stream(request) as (head, parts):
                async for chunk in parts:
                    chunks.append(chunk)
                    if len(chunks) == most:
                        break
        except Exception as error:  # noqa: BLE001  # it is the result
            return head, chunks, error
        return head, chunks, None

    @staticmethod
    def block(transport, *steps):
        """Do as `Sync.block` does."""

        async def main():
            async with transport:
                return [await Async.run(transport, *step) for step in steps]

        return asyncio.run(main())

    @staticmethod
    def sleep(transport, seconds):
        """Call the transport's sleep."""
        asyncio.run(transport.sleep(seconds))


def ask(what, url=URL):
    """Build a request that asks for something."""
    return Request("POST", url, {}, json.dumps({"ask": what}).encode())


def answer(what):
    """Build a response that tells something."""
    return Response(200, {"request-id": f"req_{what}"}, json.dumps({"told": what}).encode())


def record(driver, path, *steps, mode="rewrite", **options):
    """Record `(answer, request, how, most)` steps; give what the caller saw."""
    script = driver.script(*[step[0] for step in steps])
    transport = driver.transport(path, script, mode, **options)
    return driver.block(transport, *[step[1:] for step in steps])


def told(result):
    """Give what a response tells."""
    return result[0].json()["told"] if result[2] is None else type(result[2])
