"""Make one call of the soak, with the sync or the async client, and judge its outcome.

A caller makes the call that its case describes. It returns the name of the outcome, and what was
wrong with the outcome, or None. An error of another library is wrong.
"""

import asyncio
from typing import Any, Final

from attrs import frozen

from benchmarks.peers import KEY
from benchmarks.soak_cases import ANSWER, CANCELLED, Case, operation, wrong_answer, wrong_error
from claude_lite import AsyncClient, Client, StreamMessage, standard
from claude_lite.api.files import DeleteFile

HASTE: Final = 1.0  # seconds; enough for a connection, and eight events, on a busy machine
PATIENCE: Final = 60.0
ENOUGH: Final = 30  # characters of a stream that is left early


@frozen
class Outcome:
    """The name of the outcome of a call, and what is wrong with it."""

    name: str
    wrong: str | None = None


def _options(url: str) -> dict[str, Any]:
    return {
        "api_key": KEY,
        "base_url": url,
        "timeout": PATIENCE,
        "deadline": 2 * PATIENCE,
        "retry": standard(wait=0.005),
        "governor": None,  # a fifth of the answers are faults, refusals too
    }


def _patiences(client: Any) -> dict[str, Any]:
    return {
        "patient": client,
        "hasty": client.with_options(timeout=HASTE),
        "brief": client.with_options(deadline=HASTE),
    }


class AsyncCaller:
    """Makes calls with an `AsyncClient`, which it opens and closes."""

    def __init__(self, transport: str, url: str) -> None:
        self._client = AsyncClient(transport, **_options(url))
        self._clients: dict[str, AsyncClient] = _patiences(self._client)

    async def call(self, case: Case, serial: int) -> Outcome:
        """Make a call, and cancel it if that is its case."""
        if case.after is None:
            return await self._judged(case, serial)
        task = asyncio.create_task(self._judged(case, serial))
        try:
            await asyncio.wait([task], timeout=case.after)
        finally:
            task.cancel()
            await asyncio.wait([task])
        if not task.cancelled():
            return task.result()
        return Outcome(CANCELLED)

    async def _judged(self, case: Case, serial: int) -> Outcome:
        try:
            result = await self._made(case, serial)
        except Exception as error:  # noqa: BLE001  # errors of other libraries count, too
            return Outcome(type(error).__name__, wrong_error(case, serial, error))
        return Outcome(ANSWER, wrong_answer(case, serial, result))

    async def _made(self, case: Case, serial: int) -> Any:
        client, ask = self._clients[case.client], operation(case, serial)
        if case.form == "collected" or not isinstance(ask, StreamMessage):
            result = await client.send(ask)
            if case.form == "file":
                await client.send(DeleteFile(file_id=result.id))
            return getattr(result, "text", result)
        async with client.stream(ask) as stream:
            if case.form == "stream":
                async for _ in stream:
                    pass
                return (await stream.final_message()).text
            text = ""
            async for piece in stream.text_stream:
                text += piece
                if case.form == "stream left early" and len(text) > ENOUGH:
                    break
            return text

    async def close(self) -> None:
        """Close the connections."""
        await self._client.close()


class SyncCaller:
    """Makes calls with a `Client`, from any thread. These calls cannot be cancelled."""

    def __init__(self, transport: str, url: str) -> None:
        self._client = Client(transport, **_options(url))
        self._clients: dict[str, Client] = _patiences(self._client)

    def call(self, case: Case, serial: int) -> Outcome:
        """Make a call."""
        try:
            result = self._made(case, serial)
        except Exception as error:  # noqa: BLE001  # errors of other libraries count, too
            return Outcome(type(error).__name__, wrong_error(case, serial, error))
        return Outcome(ANSWER, wrong_answer(case, serial, result))

    def _made(self, case: Case, serial: int) -> Any:
        client, ask = self._clients[case.client], operation(case, serial)
        if case.form == "collected" or not isinstance(ask, StreamMessage):
            result = client.send(ask)
            if case.form == "file":
                client.send(DeleteFile(file_id=result.id))
            return getattr(result, "text", result)
        with client.stream(ask) as stream:
            if case.form == "stream":
                for _ in stream:
                    pass
                return stream.final_message().text
            text = ""
            for piece in stream.text_stream:
                text += piece
                if case.form == "stream left early" and len(text) > ENOUGH:
                    break
            return text

    def close(self) -> None:
        """Close the connections."""
        self._client.close()
