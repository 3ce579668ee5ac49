"""Status 200, and not what the API says."""

import json

from expectations import ANSWER, LARGE, TEXT, UNEXPECTED, USAGE, Expect, case, group
from wires import HTML, JSON, JSON_TYPE, SSE, SSE_TYPE, choosing, envelope, http, message, says

group("200, but not the API's")
BODIES = {
    "empty": b"",
    "spaces": b" \n",
    "HTML": HTML,
    "cut short": JSON[:-1],
    "two": JSON + JSON,
    "{}": b"{}",
    "[]": b"[]",
    "null": b"null",
    "a text": b'"x"',
    "1": b"1",
    "true": b"true",
    "NaN": b"NaN",
    "nested 100,000 deep": b"[" * 100_000 + b"]" * 100_000,
    "nested 500 deep": JSON.replace(b'"model"', b'"new": ' + b"[" * 500 + b"]" * 500 + b',"model"'),
    "nested 100,000 deep, no end": b'{"a":' * 100_000,
    "content null": json.dumps(message(content=None)).encode(),
    "content {}": json.dumps(message(content={})).encode(),
    "content text": json.dumps(message(content="x")).encode(),
    "an error": envelope(),
    "SSE": SSE,
}
UNKNOWN_BLOCKS = {
    "content of null": None,
    "content of text": "x",
    "content of {}": {},
    "content of type 1": {"type": 1},
    "content of type []": {"type": []},
    "text null": {"type": "text", "text": None},
}
for what, body in BODIES.items():
    plain = LARGE if what.startswith("nested") else UNEXPECTED
    if what == "content text":
        plain = Expect(ANSWER, text="x")
    case(f"200 with {what}", says(http(body)), plain, UNEXPECTED)
READ_AS = {
    "UTF-16": (JSON.decode().encode("utf-16"), TEXT),
    "a BOM": (b"\xef\xbb\xbf" + JSON, TEXT),
    "an integer of 5,000 digits": (
        JSON.replace(b'"model"', b'"n": ' + b"9" * 5000 + b',"model"'),
        TEXT,
    ),
    "usage null": (json.dumps(message(usage=None)).encode(), TEXT),
    "usage []": (json.dumps(message(usage=[])).encode(), TEXT),
    "usage of text": (json.dumps(message(usage={"input_tokens": "3"})).encode(), TEXT),
    "id 1": (json.dumps(message(id=1)).encode(), TEXT),
    "bad UTF-8": (JSON.replace(b"Hello", b"H\xffllo"), TEXT.replace("Hello", "H\ufffdllo")),
    "Latin-1": (
        json.dumps(message(content=[{"type": "text", "text": "wörld"}]), ensure_ascii=False).encode(
            "latin-1"
        ),
        "w\ufffdrld",
    ),
    "a raw NUL": (JSON.replace(b"Hello", b"H\0llo"), TEXT.replace("Hello", "H\0llo")),
    **{
        what: (json.dumps(message(content=[block])).encode(), "")
        for what, block in UNKNOWN_BLOCKS.items()
    },
}
for what, (body, text) in READ_AS.items():
    case(f"200 with {what}", says(http(body)), Expect(ANSWER, text=text), UNEXPECTED)
for what, body in [*BODIES.items(), *((what, body) for what, (body, _) in READ_AS.items())]:
    outcome = ANSWER if what == "SSE" else "UnexpectedResponse|StreamTruncated|ServerError"
    case(f"200 with {what}, called a stream", says(http(body, SSE_TYPE)), None, outcome)
for kind in ("text/html", "text/plain", "", "application/octet-stream", ";;", "x" * 3000):
    case(f"HTML called {kind[:30]!r}", says(http(HTML, kind)), UNEXPECTED)
    outcome = ANSWER if kind in {"text/plain", "", ";;"} else UNEXPECTED
    case(f"a stream called {kind[:30]!r}", says(http(SSE, kind)), None, outcome)
for kind in ("; charset=latin-1", "; charset=nonsense", ";charset=utf-16", "; charset"):
    case(
        f"content-type ...{kind}",
        choosing(says(http(JSON, JSON_TYPE + kind)), says(http(SSE, SSE_TYPE + kind))),
        ANSWER,
    )
case(
    "content-type in capitals",
    choosing(says(http(JSON, JSON_TYPE.upper())), says(http(SSE, SSE_TYPE.upper()))),
    ANSWER,
)
case(
    "duplicate keys", says(http(JSON.replace(b'"model"', b'"id": "other", "model"'))), ANSWER, None
)
case(
    "an integer of 40 digits",
    says(http(JSON.replace(b'"model"', b'"n":' + b"9" * 40 + b',"model"'))),
    ANSWER,
    None,
)
case(
    "a line break and a NUL, escaped",
    says(http(json.dumps(message(content=[{"type": "text", "text": "a\0b\r\n\u2028"}])).encode())),
    Expect(ANSWER, text="a\0b\r\n\u2028"),
    None,
)
case("SSE for a plain call", says(http(SSE, SSE_TYPE)), UNEXPECTED, None)
case("JSON for a streamed call", says(http(JSON)), None, UNEXPECTED)
case(
    "an error, with status 200, for a streamed call",
    says(http(envelope("overloaded_error"), SSE_TYPE)),
    None,
    "Overloaded",
)
for what, changes in {
    "a stop reason of tomorrow": {"stop_reason": "new_reason"},
    "fields of tomorrow": {"new": {"deep": [1, None]}, "usage": {**USAGE, "new": {"a": 1}}},
    "another model": {"model": "other"},
}.items():
    case(f"200 with {what}", says(http(json.dumps(message(**changes)).encode())), ANSWER, None)
