"""The API's own table of its operations, and arguments for each of them."""

import json
from functools import cache

from driving import KEY
from places import API

from claude_lite import Client

TABLE = json.loads((API / "operations.json").read_text())["operations"]
CORE = {one["id"]: one for one in TABLE if one["tier"] == "core"}
DEFS = json.loads((API / "schemas.json").read_text())["$defs"]


def method(made, name):
    """Find a method of a client by its dotted name."""
    for part in name.split("."):
        made = getattr(made, part)
    return made


@cache
def class_of(name):
    """Find the operation that stands behind a method."""
    return method(Client(api_key=KEY), name).__wrapped__


def body_schema(one):
    """Give the schema of the body of a request; one without has an empty one."""
    ref = (one["request"].get("schema") or {}).get("$ref")
    return DEFS[ref.removeprefix("#/$defs/")] if ref else {}


def properties(one):
    """Name the properties of the body of a request, but for `stream`."""
    return set(body_schema(one).get("properties", ())) - {"stream"}


def is_form(one):
    """Whether the body is a form."""
    return one["request"]["content_type"] == "multipart/form-data"


def arguments(one, skill):
    """Give a value to everything that an operation takes, as the API's table has it."""
    path = {part["name"]: f"{part['name']}_1" for part in one["path_params"]}
    query = {part["name"]: query_value(part["schema"]) for part in one["query_params"]}
    headers = {part["arg"]: f"the-{part['arg']}" for part in one["header_params"]}
    if "betas" in headers:
        headers["betas"] = ["b-2026-01-01", "a-2026-01-01"]
    if is_form(one):
        body = {"file": b"abc", "expires_in_seconds": 1, "files": skill, "display_name": "Mine"}
        body = {key: value for key, value in body.items() if key in properties(one)}
    else:
        body = {key: {"value of": key, "ü": [1, None]} for key in properties(one)}
    if "requests" in body:
        body["requests"] = [{"custom_id": "a", "params": {"any": "thing"}}]
    return path, query, headers, body


def query_value(schema):
    """Make a value of a query parameter: past its bounds, which are the server's to hold."""
    kinds = schema.get("type", "string")
    if "array" in kinds:
        return ["a b", "c/d"]
    if "boolean" in kinds:
        return True
    return 10_000_000 if "integer" in kinds else "x&y"
