"""Message threads (beta): conversations that are kept here, so that a turn brings what is new.

A thread has the name of its last answer, and goes on from there once. What it was created with
(`system`, `tools`) stays as it is. A refused turn is not kept.
"""

import threading
from collections.abc import Mapping
from typing import Any, Final

from attrs import frozen

from claude_lite.emulator.reading.problems import Problem

REMEMBERED_THREADS: Final = 1000  # threads; the one that was unused for longest is forgotten first
FIXED_FIELDS: Final = ("system", "tools")


@frozen
class StoredThread:
    """A conversation up to an answer; without messages it has gone on already."""

    messages: tuple[Any, ...]
    fixed: Mapping[str, Any]  # as it was created with


class StoredThreads:
    """The threads of all workspaces. Safe to share between threads of the other kind."""

    def __init__(self) -> None:
        self._threads: dict[tuple[str, str], StoredThread] = {}
        self._lock = threading.Lock()

    def resume(self, body: dict[str, Any], workspace_id: str) -> dict[str, Any]:
        """Put what is kept before what *body* brings; a `Problem` if it is not there."""
        previous = _previous(body)
        if previous is None or not isinstance(body.get("messages"), list):
            return body
        with self._lock:
            kept = self._threads.get((workspace_id, previous))
        if kept is None:
            raise _problem(404, "thread_not_found", f"No thread was found for {previous}.")
        if not kept.messages:
            raise _problem(400, "thread_already_continued", f"{previous} has been continued.")
        for name in FIXED_FIELDS:
            if name in body and body[name] != kept.fixed.get(name):
                message = f"{name} differs from what the thread was created with."
                raise _problem(400, "thread_fingerprint_mismatch", message)
        return {**body, **kept.fixed, "messages": [*kept.messages, *body["messages"]]}

    def keep(self, body: Mapping[str, Any], message: Mapping[str, Any], workspace_id: str) -> None:
        """Keep the conversation that *message* answers, if *body* asks for it."""
        if not body.get("thread") or message["stop_reason"] == "refusal":
            return
        said = {"role": "assistant", "content": message["content"]}
        fixed = {name: body[name] for name in FIXED_FIELDS if name in body}
        previous = _previous(body)
        with self._lock:
            if previous is not None:
                self._threads[workspace_id, previous] = StoredThread((), {})
            self._threads[workspace_id, message["id"]] = StoredThread(
                (*body["messages"], said), fixed
            )
            while len(self._threads) > REMEMBERED_THREADS:
                del self._threads[next(iter(self._threads))]


def _previous(body: Mapping[str, Any]) -> str | None:
    """Return the id that a turn goes on from; what is out of shape is for others to refuse."""
    thread = body.get("thread")
    if not isinstance(thread, dict) or thread.get("type") != "continue":
        return None
    previous = thread.get("previous_message_id")
    return previous if isinstance(previous, str) else None


def _problem(status: int, code: str, message: str) -> Problem:
    return Problem(status, message, details={"error_code": code})
