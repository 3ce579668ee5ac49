"""The emulator's message threads: conversations that it keeps."""

import pytest
from emulated import Api, message

from claude_lite.emulator.state.stored_threads import REMEMBERED_THREADS, StoredThreads

BETAS = ["message-threads-2026-08-12"]
CREATE = "beta.messages.create"
TOOL = {"name": "now", "input_schema": {"type": "object"}}


def turn(api, prompt, previous=None, **more):
    """Send a turn of a thread: the first, or one that goes on from an answer."""
    thread = {"type": "create"}
    if previous is not None:
        thread = {"type": "continue", "previous_message_id": previous["id"]}
    return api.call(CREATE, message(prompt, thread=thread, **more), betas=BETAS)


def refuse(api, status, body):
    """Send a turn that is refused and return its error_code."""
    _, details = api.refuse(CREATE, status, body, betas=BETAS)
    return details["error_code"]


@pytest.mark.parametrize("stream", [False, True])
def test_a_turn_is_answered_as_the_whole_conversation_would_be(stream):
    """System prompt and tools are kept with it; an answer that was streamed is kept, too."""
    api = Api()
    fixed = {"system": "Be brief.", "tools": [TOOL]}
    first = message("Hello", thread={"type": "create"}, **fixed)
    if stream:
        response = api.respond(CREATE, {**first, "stream": True}, betas=BETAS)
        start = response.body.index(b'"id":"msg_') + 6
        said = {"id": response.body[start:].split(b'"')[0].decode()}
        whole = api.call("messages.create", message("Hello", **fixed))
        said["content"] = whole["content"]
    else:
        said = turn(api, "Hello", **fixed)
    second = turn(api, "[[tool]]", said)
    assert second["stop_reason"] == "tool_use"
    turns = [
        {"role": "user", "content": "Hello"},
        {"role": "assistant", "content": said["content"]},
        {"role": "user", "content": "[[tool]]"},
    ]
    plain = api.call("messages.create", {**message(**fixed), "messages": turns})
    assert second["content"][0] == plain["content"][0]
    assert second["usage"]["input_tokens"] == plain["usage"]["input_tokens"]
    result = {"type": "tool_result", "tool_use_id": second["content"][1]["id"], "content": "noon"}
    third = turn(api, [result], second)
    assert "noon" in third["content"][0]["text"]


def test_a_thread_goes_on_once_from_each_answer():
    """The second time, and from an answer that nobody kept, it is refused by error_code."""
    api = Api()
    first = turn(api, "a")
    turn(api, "b", first)
    again = {"type": "continue", "previous_message_id": first["id"]}
    assert refuse(api, 400, message("c", thread=again)) == "thread_already_continued"
    for unkept in (api.call(CREATE, message("a"), betas=BETAS), turn(api, "[[refuse]]")):
        unknown = {"type": "continue", "previous_message_id": unkept["id"]}
        assert refuse(api, 404, message("b", thread=unknown)) == "thread_not_found"


def test_what_a_thread_was_created_with_stays():
    """Another system prompt is refused; the same one may be sent again."""
    api = Api()
    first = turn(api, "a", system="One")
    thread = {"type": "continue", "previous_message_id": first["id"]}
    other = message("b", thread=thread, system="Two")
    assert refuse(api, 400, other) == "thread_fingerprint_mismatch"
    turn(api, "b", first, system="One")


@pytest.mark.parametrize("thread", ["x", {"type": "continue"}, {"type": "fork"}])
def test_a_thread_out_of_shape_is_refused(thread):
    """By the path of what is wrong; and without a beta there are no threads."""
    api = Api()
    found, _ = api.refuse(CREATE, 400, message(thread=thread), betas=BETAS)
    assert found.startswith("thread")
    found, _ = api.refuse(CREATE, 400, message(thread={"type": "create"}))
    assert found == "thread: Extra inputs are not permitted"


def test_old_threads_are_forgotten():
    """Those that were kept longest ago go first, so that memory has a bound."""
    threads = StoredThreads()
    body = {"thread": {"type": "create"}, "messages": []}
    for i in range(REMEMBERED_THREADS + 1):
        threads.keep(body, {"id": f"msg_{i}", "content": [], "stop_reason": "end_turn"}, "w")
    assert len(threads._threads) == REMEMBERED_THREADS
    assert ("w", "msg_0") not in threads._threads
