"""Messages whose events are each in order and shape, or nearly: a program of mutations.

Mutated bytes are hardly ever JSON. Here decisions choose events, and what is wrong with them,
so that the folding of events is reached, and not only the parser.
"""

import json

from fuzz_streams import check_message

INDEXES = (0, 1, 2, 3, -1, 10**9, 2**64, 0.0, True, None, "0", [], {})
VALUES = (
    *(
        None,
        True,
        False,
        0,
        -1,
        1.5,
        2**63,
        10**30,
        "",
        "x",
        "\U0001f600",
        '{"a": 1}',
        '{"a":',
        "[",
    ),
    *([], [None], [{}], [[]], {}, {"type": None}, {"type": "text"}, {"type": "text", "text": "x"}),
    *({"type": "tool_use", "id": "t", "name": "n", "input": {"a": 1}}, {"error_code": "x"}),
    *({"input_tokens": 1, "output_tokens": None}, {"type": "char_location", "cited_text": "c"}),
)
USAGE = {"input_tokens": 1, "output_tokens": 1}
BLOCKS = (
    {"type": "text", "text": ""},
    {"type": "text", "text": "a", "citations": None},
    {"type": "tool_use", "id": "t", "name": "n", "input": {}},
    {"type": "server_tool_use", "id": "t", "name": "n", "input": {}},
    {"type": "mcp_tool_use", "id": "t", "name": "n", "input": {}, "server_name": "s"},
    {"type": "thinking", "thinking": "", "signature": ""},
    {"type": "redacted_thinking", "data": "x"},
    {"type": "compaction", "content": None},
    {"type": "web_search_tool_result", "tool_use_id": "t", "content": []},
    {"type": "new", "text": 5, "partial_json": []},
)
CITATION = {"type": "page_location", "cited_text": "c", "document_index": 0}
DELTAS = (
    {"type": "text_delta", "text": "x"},
    {"type": "input_json_delta", "partial_json": '{"a":'},
    {"type": "input_json_delta", "partial_json": "1}"},
    {"type": "thinking_delta", "thinking": "x"},
    {"type": "signature_delta", "signature": "x"},
    {
        "type": "citations_delta",
        "citation": {**CITATION, "start_page_number": 1, "end_page_number": 2},
    },
    {"type": "citations_delta", "citation": {"type": "new"}},
    {"type": "compaction_delta", "content": "x"},
    {"type": "new_delta", "text": "x"},
)
EVENTS = (
    {
        "type": "message_start",
        "message": {"id": "msg_1", "content": [], "model": "m", "usage": USAGE},
    },
    {"type": "content_block_start", "index": 0, "content_block": None},
    {"type": "content_block_delta", "index": 0, "delta": None},
    {"type": "content_block_stop", "index": 0},
    {
        "type": "message_delta",
        "delta": {"stop_reason": "end_turn"},
        "usage": {"output_tokens": 9},
    },
    {"type": "message_stop"},
    {"type": "ping"},
    {"type": "new", "index": 0},
    {"type": "error", "error": {"type": "overloaded_error", "message": "no"}},
)
KEYS = ("type", "text", "input", "usage", "content", "_response", "_partial_json", "id", "received")


def events(given):
    """Send the events that the decisions choose, some of them changed."""
    seed = given.number()
    written = []
    if given.number(8):
        written.append(_written(EVENTS[0]))
    while given.left and len(written) < 64:  # enough for any state
        event = json.loads(json.dumps(given.pick(EVENTS)))
        if "index" in event:
            event["index"] = given.number(4)
        if "content_block" in event:
            event["content_block"] = dict(given.pick(BLOCKS))
        if "delta" in event and event["delta"] is None:
            event["delta"] = dict(given.pick(DELTAS))
        for _ in range(given.pick((0, 0, 0, 0, 0, 1, 2, 3))):
            event = _changed(event, given)
        name = given.pick((None, None, None, "", "ping", "content_block_delta", "x"))
        written.append(_written(event, name) * given.pick((1, 1, 1, 2)))
    check_message(b"".join(written), seed)


def _changed(event, given):
    """Change one value somewhere in an event."""
    if not isinstance(event, dict):
        return event
    event = json.loads(json.dumps(event))
    place = event
    for _ in range(given.number(4)):
        inner = [value for value in place.values() if isinstance(value, dict)]
        place = given.pick(inner) if inner else place
    key = given.pick([*place, *KEYS])
    how = given.number(4)
    if how == 0:
        place.pop(key, None)
    elif how == 1:
        place[key] = given.pick(INDEXES)
    elif how == 2 and place is event:  # one of four
        return given.pick(VALUES)
    else:
        place[key] = given.pick(VALUES)
    return event


def _written(event, name=None):
    if name is None:
        name = str(event.get("type")) if isinstance(event, dict) else ""
    lines = [f"event: {name}"] if name else []
    return "\n".join([*lines, f"data: {json.dumps(event)}", "", ""]).encode()
