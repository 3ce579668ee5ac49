"""The requests of a batch: which of them fail, and the answer to each.

As in the API, an invalid request does not refuse the batch: the error is the result of that
request. A control in a prompt decides the outcome for tests: `[[expire]]`, `[[error]]`,
`[[error:overloaded_error]]`. With a number (`[[expire:1]]`, `[[error:api_error,1]]`) the control
applies only the first times that these messages come in a batch. Answers are not kept: each
reading of the results makes the same answers again.
"""

import re
import threading
from collections import Counter
from collections.abc import Iterator, Mapping
from math import inf
from typing import Any, Final

import orjson

from claude_lite.emulator.answers.events import as_of
from claude_lite.emulator.reading.checks import mapping, pattern, record
from claude_lite.emulator.reading.problems import Problem, fail
from claude_lite.emulator.reading.prompts import Prompt, read_prompt
from claude_lite.emulator.reading.routing import Call
from claude_lite.emulator.routes.messages import MessageRoutes
from claude_lite.emulator.state.batch_runs import ERRORED, EXPIRED, OUTCOMES, SUCCEEDED, StoredBatch
from claude_lite.emulator.state.world import World
from claude_lite.faults.error_bodies import ERRORS

RESULTS_CHUNK: Final = 16 * 1024  # bytes of results that are sent at once
NOT_IN_BATCHES: Final = ("stream", "speed", "thread")
SHAPED: Final = ("output_config", "output_format")
STATUSES: Final[Mapping[str, int]] = {type_: status for status, (type_, _) in ERRORS.items()}

_REQUEST: Final = record(
    {"custom_id": pattern(r"^[a-zA-Z0-9_-]{1,64}\Z"), "params": mapping}, closed=True
)
_CONTROL: Final = re.compile(rb"\[\[(?:expire|error)")


class BatchRequests:
    """Reads and answers the requests of batches. Safe to share between threads."""

    def __init__(self, world: World, messages: MessageRoutes) -> None:
        self._world = world
        self._messages = messages
        self._struck: Counter[str] = Counter()
        self._lock = threading.Lock()

    def read(self, batch: StoredBatch) -> None:
        """Refuse a malformed batch; note which requests of a good batch will fail."""
        seen: set[str] = set()
        for item in range(batch.size):
            text = batch.request(item)
            request = parse_piece(text)
            _REQUEST(request, f"requests.{item}")
            custom_id = request["custom_id"]
            if custom_id in seen:
                fail(f"requests.{item}.custom_id", f"must be unique, found {custom_id!r} twice")
            seen.add(custom_id)
            if self._problem(request["params"], batch.call, item) is not None:
                batch.outcomes[item] = ERRORED
            elif _CONTROL.search(text):
                batch.outcomes[item] = self._controlled(request["params"])

    def _controlled(self, params: Mapping[str, Any]) -> int:
        prompt = read_prompt(params["messages"])
        with self._lock:
            self._struck[prompt.hash] += 1
            times = self._struck[prompt.hash]
        if prompt.has("expire") and times <= _times(prompt.values("expire")[0]):
            return EXPIRED
        if prompt.has("error") and times <= _times(_error(prompt)[1]):
            return ERRORED
        return SUCCEEDED

    def _problem(self, params: dict[str, Any], call: Call, item: int) -> Problem | None:
        """Return the error of a request, or None."""
        try:
            for name in NOT_IN_BATCHES:
                if params.get(name):
                    fail(name, "not available in a batch")
            self._messages.check(params, call)
            if not params["max_tokens"]:
                fail("max_tokens", "0 is not available in a batch")
            if any(
                name in params for name in SHAPED
            ):  # there may be no value that the schema accepts
                self._messages.in_batch(params, call, item)
        except Problem as problem:
            return problem
        return None

    def results(self, batch: StoredBatch) -> Iterator[bytes]:
        """Write the results of a batch as JSON lines, several lines per chunk."""
        charge, batch.is_charged = not batch.is_charged, True
        lines: list[bytes] = []
        size = 0
        for item, outcome in batch.results():
            request = orjson.loads(batch.request(item))
            result = self._result(request["params"], batch.call, item, outcome)
            if charge and "message" in result:
                self._messages.charge(result["message"], batch.call)
            if "message" in result:
                result["message"] = as_of(result["message"], batch.call.version)
            line = orjson.dumps({"custom_id": request["custom_id"], "result": result})
            lines += line, b"\n"
            size += len(line)
            if size >= RESULTS_CHUNK:
                yield b"".join(lines)
                lines.clear()
                size = 0
        yield b"".join(lines)

    def _result(
        self, params: dict[str, Any], call: Call, item: int, outcome: int
    ) -> dict[str, Any]:
        if outcome == SUCCEEDED:
            try:
                message = self._messages.in_batch(params, call, item)
            except Problem as problem:  # such as a skill that was deleted meanwhile
                return self._errored(problem, call, item)
            return {"type": "succeeded", "message": message}
        if outcome == ERRORED:
            found = self._problem(params, call, item)
            if found is None:
                return self._controlled_error(params, call, item)
            return self._errored(found, call, item)
        return {"type": OUTCOMES[outcome]}

    def _controlled_error(self, params: dict[str, Any], call: Call, item: int) -> dict[str, Any]:
        type_, _ = _error(read_prompt(params["messages"]))
        status = STATUSES.get(type_, 400)
        result = self._errored(Problem(status, ERRORS[status][1]), call, item)
        result["error"]["error"]["type"] = type_
        return result

    def _errored(self, problem: Problem, call: Call, item: int) -> dict[str, Any]:
        request_id = self._world.new_id("req_01", call.number, item + 1)
        envelope = orjson.loads(problem.response(request_id).body)
        return {"type": "errored", "error": envelope}


def parse_piece(text: bytes) -> Any:
    """Parse a piece of a body; raises `Problem` if it is not JSON."""
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise Problem(400, f"The request body is not valid JSON: {error}") from None


def _error(prompt: Prompt) -> tuple[str, str]:
    """Read the type of the error, and how often it comes, from the control."""
    type_, _, times = prompt.values("error")[0].partition(",")
    return type_.strip() or "api_error", times


def _times(text: str) -> float:
    return int(text) if text.strip().isdecimal() else inf
