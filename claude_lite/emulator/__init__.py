"""An emulator of the Claude API for tests, demos and benchmarks, without I/O.

    emulator = Emulator(seed=1, faults=[{"on": {"every": 10}, "do": {"fault": "reset"}}])
    response = emulator.handle(request)  # takes and returns the types of `claude_lite.wire`

The emulator validates requests, answers from the prompt, streams in the API's shapes, counts
tokens by a rule, keeps rate limits, and acts out fault scripts (`claude_lite.faults`). It is
not a language model. Importing it loads no event loop and no HTTP library:
`claude_lite.emulator.serving` serves it on a port, `claude_lite_transports.emulator` calls it
in the same process.

The text of an answer depends on the messages of the request alone, not on the order of
requests. The text begins `Echo <hash>: <prompt>` (the `message_hash` of the messages, and the
first 200 characters of the last user text). The results of tools follow, and then filler. The
same seed and the same requests in the same order also give the same ids.

A control in the last user text changes the answer:

    [[tokens:500]]      a text of 500 tokens (`claude_lite.emulator.answers.tokens` has the rule)
    [[refuse]]          stop_reason refusal; [[refuse:cyber]] with the category cyber
    [[tool]]            call the first tool; [[tool:name]] the named one; repeated: several calls
    [[pause]]           a server tool call without a result: stop_reason pause_turn
    [[stop:reason]]     this stop_reason, which may be one that the API does not have
    [[file:name]]       write a file that can be downloaded, if the request has the code
                        execution tool; [[file:name,bytes]] sets the size of the file
    [[expire]]          in a batch: expired; [[expire:2]] the first two times it is sent
    [[error:type]]      in a batch: errored; [[error:type,1]] the first time

Without a control, the emulator calls a tool if `tool_choice` demands a call. It follows
`thinking`, `max_tokens`, `stop_sequences`, `output_config.format`, `cache_control` and
`container`.

The emulator keeps batches, files and skills per workspace. A message can use an uploaded file.
A file that a tool wrote, or that `Emulator.add_file` added, can be downloaded. A batch ends
after some time (`batches={"seconds": 2}`; `claude_lite.emulator.state.batch_runs` has the other
times). Large bodies and files are on disk, and never in memory as a whole.
"""

from claude_lite.emulator.reading.known_models import MODELS
from claude_lite.emulator.reading.prompts import message_hash
from claude_lite.emulator.reply import Reply
from claude_lite.emulator.service import Emulator

__all__ = ["MODELS", "Emulator", "Reply", "message_hash"]
