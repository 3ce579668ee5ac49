"""Results of workers as lines of a file, one write per line: processes share the file."""

import json
import os

from claude_lite import ClaudeError


def append(path, result, error):
    """Write what came of a task."""
    told = error.to_dict() if isinstance(error, ClaudeError) else error and {"type": repr(error)}
    line = json.dumps({"result": result, "error": told}).encode() + b"\n"
    handle = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    try:
        os.write(handle, line)
    finally:
        os.close(handle)


def read(path):
    """Read all whole lines."""
    try:
        with open(path, "rb") as file:  # noqa: PTH123  # a path as text
            return [json.loads(line) for line in file if line.endswith(b"\n")]
    except FileNotFoundError:
        return []
