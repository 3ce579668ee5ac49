"""What the code execution tool does where a prompt says `[[file:name]]`: it writes that file.

`[[file:name,bytes]]` makes one of that size. The call, its result with the file's id and, in
`messages`, a container come with it. No code is run.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from claude_lite.emulator.answers.blocks import Block, NewId, Save, json_text
from claude_lite.emulator.reading.prompts import Prompt

SIZE: Final = 1024  # bytes of a file
FIRST_TOOL: Final = "code_execution_20250522"  # ran Python; those after it run bash


def code_tool(body: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Find the tool that runs code and writes files, if the message has it."""
    tools: Sequence[Mapping[str, Any]] = body.get("tools") or ()
    return next((t for t in tools if str(t.get("type")).startswith("code_execution_")), None)


def code_runs(
    body: Mapping[str, Any], prompt: Prompt, new_id: NewId, save: Save
) -> Iterator[Block]:
    """Make the blocks of each run: the call, and its result."""
    tool = code_tool(body)
    if tool is None:
        return
    name, key = "bash_code_execution", "command"
    if tool["type"] == FIRST_TOOL:
        name, key = "code_execution", "code"
    for wanted in prompt.values("file"):
        filename, _, size = wanted.partition(",")
        filename = filename.strip() or "output.txt"
        length = int(size) if size.strip().isdecimal() else SIZE
        call_id = new_id("srvtoolu_01")
        command = {key: f"# write {length} bytes to {filename}"}
        yield Block(
            "server_tool_use",
            json_text(command),
            {"id": call_id, "name": name},
            command,
        )
        result = {
            "type": f"{name}_result",
            "stdout": f"wrote {filename}\n",
            "stderr": "",
            "return_code": 0,
            "content": [{"type": f"{name}_output", "file_id": save(filename, length)}],
        }
        fields = {"tool_use_id": call_id, "content": result}
        yield Block(f"{name}_tool_result", "", fields)
