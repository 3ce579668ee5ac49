"""Make a JSON value that a JSON schema accepts: inputs of tools, structured answers.

Strings without a format or a pattern contain the text of the caller, so that an answer shows
its question. The module supports the part of JSON Schema that structured outputs allow (local
`$ref`, `allOf` as a merge). It raises `Problem` for other schemas, and if it finds no value.
"""

import math
import random
from collections.abc import Mapping
from typing import Any, Final

from claude_lite.emulator.answers.pattern_strings import matching
from claude_lite.emulator.reading.problems import Problem

UNSUPPORTED: Final = frozenset(
    {"not", "if", "contains", "dependentRequired", "dependentSchemas", "minProperties"}
)
OPTIONAL_DEPTH: Final = 4  # levels; deeper values have required properties only
DEEPEST: Final = 40  # levels

FORMAT_EXAMPLES: Final[Mapping[str, str]] = {
    "date": "2026-11-02",
    "date-time": "2026-11-02T09:15:00Z",
    "time": "09:15:00Z",
    "duration": "PT15M",
    "email": "echo@example.com",
    "hostname": "example.com",
    "ipv4": "192.0.2.1",
    "ipv6": "2001:db8::1",
    "uri": "https://example.com/echo",
    "uuid": "6f0d5a1e-3c52-4d0e-9f3a-1f2e3d4c5b6a",
}


def value_for(schema: Mapping[str, Any], text: str, seed: int) -> Any:
    """Return a value that *schema* accepts; equal arguments give equal values."""
    try:
        return _Maker(schema, text, seed).make(schema, 0)
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        raise Problem(400, f"output schema: not a valid JSON schema ({error})") from None


class _Maker:
    def __init__(self, root: Any, text: str, seed: int) -> None:
        self._root = root
        self._text = text
        self._random = random.Random(seed)  # noqa: S311  # repeatable on purpose

    def make(self, schema: Any, depth: int) -> Any:
        if depth > DEEPEST or schema is False:
            raise Problem(400, "output schema: no value can satisfy it")
        schema = {} if schema is True else self._flat(schema)
        if unknown := UNSUPPORTED & schema.keys():
            raise Problem(400, f"output schema: {', '.join(sorted(unknown))} is not supported")
        if "const" in schema:
            return schema["const"]
        if "enum" in schema:
            return self._random.choice(schema["enum"])
        if choices := schema.pop("anyOf", None) or schema.pop("oneOf", None):
            return self.make(_merged(schema, self._choice(choices, depth)), depth + 1)
        return self._typed(schema, depth)

    def _typed(  # noqa: PLR0911  # one per type
        self, schema: Mapping[str, Any], depth: int
    ) -> Any:
        kind = schema.get("type") or _implied_type(schema)
        if isinstance(kind, list):
            kind = self._choice(kind, depth)
        match kind:
            case "object":
                return self._object(schema, depth)
            case "array":
                return self._array(schema, depth)
            case "integer":
                return self._number(schema, whole=True)
            case "number":
                return self._number(schema, whole=False)
            case "boolean":
                return self._random.random() < 0.5  # noqa: PLR2004  # heads or tails
            case "null":
                return None
            case _:
                return self._string(schema)

    def _flat(self, schema: Mapping[str, Any]) -> dict[str, Any]:
        """Follow references and merge `allOf`."""
        flat = {k: v for k, v in schema.items() if k not in ("$ref", "allOf")}
        for _ in range(DEEPEST):
            parts = list(schema.get("allOf", ()))
            if "$ref" in schema:
                parts.append(self._resolve(schema["$ref"]))
            if not parts:
                return flat
            schema = {}
            for part in parts:
                schema = _merged(schema, part if isinstance(part, dict) else {})
            flat = _merged(flat, {k: v for k, v in schema.items() if k not in ("$ref", "allOf")})
        raise Problem(400, "output schema: a reference leads to itself")

    def _resolve(self, reference: str) -> Any:
        found = self._root
        try:
            for part in reference.removeprefix("#").lstrip("/").split("/"):
                if part:
                    found = found[part.replace("~1", "/").replace("~0", "~")]
        except (KeyError, TypeError):
            raise Problem(400, f"output schema: {reference} leads nowhere") from None
        return found

    def _choice(self, choices: list[Any], depth: int) -> Any:
        """Choose a branch; below `OPTIONAL_DEPTH` the simplest, so that a recursion ends."""
        if depth < OPTIONAL_DEPTH:
            solid = [c for c in choices if c not in ("null", {"type": "null"})]
            return self._random.choice(solid or choices)
        return min(choices, key=_weight)

    def _object(self, schema: Mapping[str, Any], depth: int) -> dict[str, Any]:
        required = schema.get("required", [])
        properties = schema.get("properties", {})
        names = [name for name in properties if depth < OPTIONAL_DEPTH or name in required]
        names += [name for name in required if name not in properties]
        return {name: self.make(properties.get(name, {}), depth + 1) for name in names}

    def _array(self, schema: Mapping[str, Any], depth: int) -> list[Any]:
        first = schema.get("prefixItems", [])
        least = schema.get("minItems", 0)
        wanted = max(
            least, len(first), 1 if depth < OPTIONAL_DEPTH and schema.get("items", True) else 0
        )
        length = min(wanted, schema.get("maxItems", wanted))
        made: list[Any] = []
        for _ in range(20 * length + 20):  # more tries than items: they may have to differ
            if len(made) == length:
                return made
            inner = first[len(made)] if len(made) < len(first) else schema.get("items", {})
            value = self.make(inner, depth + 1)
            if not (schema.get("uniqueItems") and value in made):
                made.append(value)
        raise Problem(400, "output schema: not enough different items")

    def _number(self, schema: Mapping[str, Any], *, whole: bool) -> float:
        step = schema.get("multipleOf") or (1 if whole else 0.25)
        low = schema.get("minimum", schema.get("exclusiveMinimum"))
        high = schema.get("maximum", schema.get("exclusiveMaximum"))
        if low is None:
            low = 0 if high is None else high - 100 * step
        if high is None:
            high = low + 100 * step
        first = math.ceil(low / step) + ("exclusiveMinimum" in schema and low % step == 0)
        last = math.floor(high / step) - ("exclusiveMaximum" in schema and high % step == 0)
        if first > last:
            if whole or "multipleOf" in schema:
                raise Problem(400, "output schema: no number fits its bounds")
            return float(low + high) / 2
        value = self._random.randint(first, last) * step
        return int(value) if whole else round(float(value), 9)

    def _string(self, schema: Mapping[str, Any]) -> str:
        least = schema.get("minLength", 0)
        most = schema.get("maxLength", math.inf)
        if "pattern" in schema or schema.get("format") in FORMAT_EXAMPLES:
            made = (
                matching(schema["pattern"])
                if "pattern" in schema
                else FORMAT_EXAMPLES[schema["format"]]
            )
            if made is None or not least <= len(made) <= most:
                raise Problem(400, "output schema: no string found that satisfies it")
            return made
        return self._text.ljust(least, ".")[: min(most, max(least, len(self._text)))]


def _merged(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    merged = {**one, **other}
    if "properties" in one and "properties" in other:
        merged["properties"] = {**one["properties"], **other["properties"]}
    if "required" in one and "required" in other:
        merged["required"] = list(dict.fromkeys([*one["required"], *other["required"]]))
    return merged


def _implied_type(schema: Mapping[str, Any]) -> str:
    if "properties" in schema or "required" in schema:
        return "object"
    if "items" in schema or "prefixItems" in schema:
        return "array"
    return "number" if "minimum" in schema or "maximum" in schema else "string"


def _weight(choice: Any) -> int:
    kind = choice.get("type", "object") if isinstance(choice, dict) else choice
    return {"null": 0, "boolean": 1, "integer": 1, "number": 1, "string": 1}.get(str(kind), 2)
