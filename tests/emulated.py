"""Calls of the emulator by the name of the operation; each response is held to its schema."""

from functools import cache

import orjson
from jsonschema import Draft202012Validator, ValidationError, validators
from places import API

from claude_lite.api.uploads import FormBody, Part
from claude_lite.core.targets import query_string
from claude_lite.emulator import Emulator
from claude_lite.emulator.answers.events import LEFT_OUT
from claude_lite.wire import Request

DEFS = orjson.loads((API / "schemas.json").read_bytes())["$defs"]
OPERATIONS = {
    one["id"]: one for one in orjson.loads((API / "operations.json").read_bytes())["operations"]
}
HEADERS = {"x-api-key": "canary", "anthropic-version": "2023-06-01"}


class Clock:
    """A clock that stands still until it is told otherwise."""

    now = 0.0

    def __call__(self):
        """Tell the time."""
        return self.now


@cache
def validator(name):
    """Make a validator of one of the API's schemas.

    The schemas are of the version 2026-10-21. Before it, the API leaves out some keys that the
    schemas require and allow to be null (`LEFT_OUT`).
    """
    return LeanValidator({"$defs": DEFS, "$ref": f"#/$defs/{name}"})


def _required(_, names, instance, schema):
    absent = (n for n in names if isinstance(instance, dict) and n not in instance)
    left_out = LEFT_OUT | {"speed"}
    for name in absent:
        if name not in left_out or b"null" not in orjson.dumps(schema["properties"][name]):
            yield ValidationError(f"{name!r} is a required property")


LeanValidator = validators.extend(Draft202012Validator, {"required": _required})


def message(prompt="Hello", **more):
    """Make the body of a message."""
    return {
        "model": "claude-sonnet-5-5",
        "max_tokens": 1024,
        "messages": [{"role": "user", "content": prompt}],
        **more,
    }


def form(*files, **fields):
    """Make a form; a file is (field, filename, content) or has its type as a fourth."""
    return FormBody(list(fields.items()), [Part(*file) for file in files])


class Api:
    """An emulator, asked by the names of operations."""

    def __init__(self, **options):
        self.clock = Clock()
        self.emulator = Emulator(**{"clock": self.clock, **options})

    def respond(self, name, body=None, *, query=None, betas=(), headers=None, **params):
        """Send a request and return the response as it is."""
        operation = OPERATIONS[name]
        url = "https://api.test" + operation["path"].format(**params)
        if query:
            url += "?" + query_string(query)
        fields = {**HEADERS, **(headers or {})}
        if betas:
            fields["anthropic-beta"] = ",".join(betas)
        content = b"" if body is None else body
        if isinstance(body, FormBody):
            fields["content-type"] = body.content_type
        elif isinstance(body, dict):
            content = orjson.dumps(body)
        return self.emulator.handle(Request(operation["method"], url, fields, content))

    def call(self, name, body=None, *, legacy=False, **how):
        """Send a request that succeeds and return what its response holds."""
        response = self.respond(name, body, **how)
        assert response.status == 200, response.body
        operation = OPERATIONS[name]
        schema = operation["response"]["schema"]
        if legacy:
            schema = operation["legacy_shape"]["response_schema"]
        kind = operation["response"]["kind"]
        if kind == "binary":
            return response.body
        lines = response.body.splitlines() if kind == "jsonl" else [response.body]
        values = [orjson.loads(line) for line in lines]
        for value in values:
            validator(schema["$ref"].removeprefix("#/$defs/")).validate(value)
        return values if kind == "jsonl" else values[0]

    def refuse(self, name, status, body=None, **how):
        """Send a request that is refused and return the message and the details of the error."""
        response = self.respond(name, body, **how)
        assert response.status == status, response.body
        envelope = response.json()
        if status != 413:  # the schema leaves out what an edge may send
            validator("ErrorResponse").validate(envelope)
        assert envelope["request_id"] == response.request_id
        return envelope["error"]["message"], envelope["error"].get("details")
