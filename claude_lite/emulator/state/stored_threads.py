"""Message threads (beta): the server keeps a conversation, and a request brings the new turn.

The id of a thread is the id of its last answer; a thread can be continued once from there. The
`system` and the `tools` of the request that created a thread cannot change. A refused turn is
not kept.
"""

import threading
from collections.abc import Mapping
from typing import Any, Final

from attrs import frozen

from claude_lite.emulator.reading.problems import Problem

REMEMBERED_THREADS: Final = 1000  # the one unused for longest is forgotten first
FIXED_FIELDS: Final = ("system", "tools")


@frozen
class StoredThread:
    """A conversation up to an answer. It has no messages if it was continued already."""

    messages: tuple[Any, ...]
    fixed: Mapping[str, Any]  # `system` and `tools`, as in the first request


class StoredThreads:
    """The message threads of all workspaces. Safe to share between threads of the process."""

    def __init__(self) -> None:
        self._threads: dict[tuple[str, str], StoredThread] = {}
        self._lock = threading.Lock()

    def resume(self, body: dict[str, Any], workspace_id: str) -> dict[str, Any]:
        """Put the kept messages before those of *body*; raises `Problem` if there are none."""
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
        """Keep the conversation of *body* and its answer *message*, if *body* uses a thread."""
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
    """Return the id of the thread to continue; a malformed `thread` is refused elsewhere."""
    thread = body.get("thread")
    if not isinstance(thread, dict) or thread.get("type") != "continue":
        return None
    previous = thread.get("previous_message_id")
    return previous if isinstance(previous, str) else None


def _problem(status: int, code: str, message: str) -> Problem:
    return Problem(status, message, details={"error_code": code})
