"""Faults around any transport, by the same scripts that the emulator follows.

    transport = FaultTransport(inner, [{"on": {"nth": [1]}, "do": {"fault": "reset"}}])

`claude_lite.faults` describes the scripts. A request that no rule matches passes untouched. If a
fault lets a request reach the server, `inner` gets the request even if its reply is then lost:
this is the hard part of such faults. Waits use the `sleep` of `inner`, so that with a virtual clock
(`claude_lite.testing.VirtualClock`) a stall of an hour takes no time. The errors are those that a
network would raise. Nothing is retried.
"""

import itertools
import time
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator, Mapping
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, contextmanager
from typing import Any, Generic, TypeVar

from attrs import evolve, frozen

from claude_lite.faults.script import End, Fault, FaultScript, Step, Tamper
from claude_lite.wire import (
    AsyncHeadAndChunks,
    AsyncTransport,
    Clock,
    HeadAndChunks,
    Request,
    Response,
    Sleep,
    Transport,
)
from claude_lite_transports.shared.patience import LONGEST, Body, Patience

__all__ = ["AsyncFaultTransport", "FaultTransport"]

T = TypeVar("T")


@frozen
class _Scene:
    """A fault at work on one request: in place of a reply, or on a reply."""

    fault: Fault
    patience: Patience
    instead: Response | None

    @property
    def asks(self) -> bool:
        """Whether the inner transport gets the request."""
        return self.instead is None and self.fault.sends

    def head(self, head: Response) -> Response:
        """Return the head as the fault changes it, with the length of the changed body."""
        changed = self.fault.head(head)
        length = changed.headers.get("content-length", "")
        if not length.isdecimal():
            return changed
        size = str(self.fault.size(int(length)))
        return evolve(changed, headers={**changed.headers, "content-length": size})


class _Faulty(Generic[T]):
    """What the sync and the async transport share: the script and the inner transport."""

    def __init__(
        self,
        inner: T,
        script: FaultScript | Iterable[Mapping[str, Any]],
        seed: int = 0,
    ) -> None:
        """Put faults between a client and a transport.

        Args:
            inner: The transport that carries the requests.
            script: A script, or its rules.
            seed: Of the random choices, where *script* is a list of rules.

        Raises:
            UsageError: A rule is wrong; the error names the rule and the field.

        """
        self.script = script if isinstance(script, FaultScript) else FaultScript([*script], seed)
        self._inner = inner
        self.governed = getattr(inner, "governed", True)
        self._numbers = itertools.count(1)

    def monotonic(self) -> float:
        """Return the time of the inner transport's clock, if it has its own."""
        own: Clock = getattr(self._inner, "monotonic", time.monotonic)
        return own()

    def _scene(self, request: Request) -> _Scene | None:
        fault = self.script.choose(request)
        if fault is None:
            return None
        patience = Patience(request.limits, self.monotonic)
        return _Scene(fault, patience, fault.response(f"req_fault{next(self._numbers):04}"))


class FaultTransport(_Faulty[Transport]):
    """Faults around a `claude_lite.wire.Transport`."""

    def send(self, request: Request, /) -> Response:
        """Send a request; raises what a network would raise if a fault says so."""
        scene = self._scene(request)
        if scene is None:
            return self._inner.send(request)
        with self._acted(scene, request) as (head, chunks):
            with Body(request.limits, head) as body:
                for chunk in chunks:
                    body.add(chunk)
            return evolve(head, body=body.joined())

    @contextmanager
    def stream(self, request: Request, /) -> Iterator[HeadAndChunks]:
        """Send a request, and yield the reply as the fault leaves it."""
        scene = self._scene(request)
        with self._acted(scene, request) if scene else self._inner.stream(request) as reply:
            yield reply

    @contextmanager
    def _acted(self, scene: _Scene, request: Request) -> Iterator[HeadAndChunks]:
        with ExitStack() as stack:
            instead = scene.instead or Response(0, {})
            reply: HeadAndChunks = instead, (instead.body,)
            if scene.asks:
                reply = stack.enter_context(self._inner.stream(request))
            for step in scene.fault.before():
                self._act(step, scene.patience, begun=False)
            head = scene.head(reply[0])
            scene.patience.see(head)
            yield evolve(head, body=b""), self._tampered(scene, scene.fault.tamper(head), reply[1])

    def _tampered(self, scene: _Scene, tamper: Tamper, chunks: Iterable[bytes]) -> Iterator[bytes]:
        for chunk in chunks:
            for step in tamper.receive(chunk):
                if isinstance(step, bytes):
                    scene.patience.hear()
                    yield step
                elif step == End("truncate"):
                    return
                else:
                    self._act(step, scene.patience, begun=True)

    def _act(self, step: Step, patience: Patience, *, begun: bool) -> None:
        if isinstance(step, Sleep) or step == End("stall"):
            self.sleep(patience.grant(step.seconds if isinstance(step, Sleep) else LONGEST))
            patience.check()
        if isinstance(step, End):
            raise step.error(begun=begun)

    def sleep(self, seconds: float, /) -> None:
        """Wait as the inner transport does."""
        self._inner.sleep(seconds)

    def close(self) -> None:
        """Close the inner transport."""
        self._inner.close()


class AsyncFaultTransport(_Faulty[AsyncTransport]):
    """Faults around a `claude_lite.wire.AsyncTransport`."""

    async def send(self, request: Request, /) -> Response:
        """Send a request; raises what a network would raise if a fault says so."""
        scene = self._scene(request)
        if scene is None:
            return await self._inner.send(request)
        async with self._acted(scene, request) as (head, chunks):
            with Body(request.limits, head) as body:
                async for chunk in chunks:
                    body.add(chunk)
            return evolve(head, body=body.joined())

    @asynccontextmanager
    async def stream(self, request: Request, /) -> AsyncIterator[AsyncHeadAndChunks]:
        """Send a request, and yield the reply as the fault leaves it."""
        scene = self._scene(request)
        async with self._acted(scene, request) if scene else self._inner.stream(request) as reply:
            yield reply

    @asynccontextmanager
    async def _acted(self, scene: _Scene, request: Request) -> AsyncIterator[AsyncHeadAndChunks]:
        async with AsyncExitStack() as stack:
            instead = scene.instead or Response(0, {})
            reply: AsyncHeadAndChunks = instead, _once(instead.body)
            if scene.asks:
                reply = await stack.enter_async_context(self._inner.stream(request))
            else:
                await self.sleep(0)  # lets other tasks run, as a network would
            for step in scene.fault.before():
                await self._act(step, scene.patience, begun=False)
            head = scene.head(reply[0])
            scene.patience.see(head)
            yield evolve(head, body=b""), self._tampered(scene, scene.fault.tamper(head), reply[1])

    async def _tampered(
        self, scene: _Scene, tamper: Tamper, chunks: AsyncIterable[bytes]
    ) -> AsyncIterator[bytes]:
        async for chunk in chunks:
            for step in tamper.receive(chunk):
                if isinstance(step, bytes):
                    scene.patience.hear()
                    yield step
                elif step == End("truncate"):
                    return
                else:
                    await self._act(step, scene.patience, begun=True)

    async def _act(self, step: Step, patience: Patience, *, begun: bool) -> None:
        if isinstance(step, Sleep) or step == End("stall"):
            await self.sleep(patience.grant(step.seconds if isinstance(step, Sleep) else LONGEST))
            patience.check()
        if isinstance(step, End):
            raise step.error(begun=begun)

    async def sleep(self, seconds: float, /) -> None:
        """Wait as the inner transport does."""
        await self._inner.sleep(seconds)

    async def close(self) -> None:
        """Close the inner transport."""
        await self._inner.close()


async def _once(chunk: bytes) -> AsyncIterator[bytes]:
    yield chunk
