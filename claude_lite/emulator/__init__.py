"""The Claude API turned round: an emulator for tests, demos and benchmarks, without I/O.

    emulator = Emulator(seed=1, faults=[{"on": {"every": 10}, "do": {"fault": "reset"}}])
    response = emulator.handle(request)  # wire types in, wire types out

It validates what it is sent, answers from the prompt, streams in the API's shapes, counts
tokens by a rule, keeps rate limits, and acts out fault scripts (`claude_lite.faults`). It is
no model and does not try to be one. Importing it loads no event loop and no HTTP library;
`claude_lite.emulator.serving` puts it on a port, `claude_lite_transports.emulator` in-process.

An answer depends on the request's messages alone, never on order: its text begins
`Echo <hash>: <prompt>` (`message_hash` of the messages, the first 200 characters of the last
user text), goes on with what tools returned, and ends in filler. The same seed and the same
requests in the same order give the same ids as well. Controls in the last user text:

    [[tokens:500]]      a text of 500 tokens (`claude_lite.emulator.answers.tokens` has the rule)
    [[refuse]]          stop_reason refusal; [[refuse:cyber]] with that category
    [[tool]]            call the first tool; [[tool:name]] that one; repeated: several calls
    [[pause]]           a server tool call that is cut short: stop_reason pause_turn
    [[stop:reason]]     this stop_reason, even one that nobody knows
    [[file:name]]       write a file that can be downloaded, if the code execution tool is
                        there; [[file:name,bytes]] of that size
    [[expire]]          in a batch: expired; [[expire:2]] the first two times it is sent
    [[error:type]]      in a batch: errored; [[error:type,1]] the first time

Without a control, a tool is called where `tool_choice` demands it. `thinking`, `max_tokens`,
`stop_sequences`, `output_config.format`, `cache_control` and `container` are honoured.

Batches, files and skills are kept, by workspace: what was uploaded can be used in a message,
what a tool wrote (or `Emulator.add_file`) can be downloaded, a batch ends after a while
(`batches={"seconds": 2}`; `claude_lite.emulator.state.batch_runs` has the other times). What is
large is on disk and never in memory as a whole.
"""

from claude_lite.emulator.reading.known_models import MODELS
from claude_lite.emulator.reading.prompts import message_hash
from claude_lite.emulator.reply import Reply
from claude_lite.emulator.service import Emulator

__all__ = ["MODELS", "Emulator", "Reply", "message_hash"]
