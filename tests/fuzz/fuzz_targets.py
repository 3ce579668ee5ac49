"""All targets by name. Each takes the `Given` of an input, and raises where something is wrong."""

import fuzz_aiohttp
import fuzz_answers
import fuzz_events
import fuzz_recordings
import fuzz_replies
import fuzz_streams
from fuzz_input import Given

TARGETS = {
    "sse": fuzz_streams.sse,
    "message": fuzz_streams.message,
    "events": fuzz_events.events,
    "completion": fuzz_streams.completion,
    "chat": fuzz_streams.chat,
    "lines": fuzz_streams.lines,
    "frames": fuzz_streams.frames,
    "body": fuzz_answers.body,
    "answer": fuzz_answers.mutant,
    "refusal": fuzz_answers.refusal,
    "headers": fuzz_answers.headers,
    "call": fuzz_answers.call,
    "http1": fuzz_replies.own,
    "llhttp": fuzz_replies.llhttp,
    "aiohttp": fuzz_aiohttp.aiohttp_reply,
    "encoded": fuzz_replies.encoded,
    "recording": fuzz_recordings.recording,
    "tampered": fuzz_recordings.mutant,
}


def run(name, data):
    """Run one input; whatever it raises is a bug."""
    TARGETS[name](Given(data))
