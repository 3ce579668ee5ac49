"""Recordings of every kind for the tests of what reads and writes them, and a canary."""

import gzip
import json

from places import SAMPLES
from scripted import Script, ask

from claude_lite.errors import ConnectionFailed, StreamInterrupted
from claude_lite.wire import MaskedStr, Request, Response
from claude_lite_transports.recording import RecordingTransport
from claude_lite_transports.recording.cassette import load_cassette

STREAMS = sorted((SAMPLES / "streams").iterdir())
URL = "https://api.anthropic.com/v1/messages"
CANARY = "canary-0123456789-zyxwvutsrqp"
EVENTS = {"content-type": "text/event-stream; charset=utf-8"}

FORM = (
    b'--b\r\ncontent-disposition: form-data; name="file"; filename="a.txt"\r\n'
    b"content-type: text/plain\r\n\r\nsome text\r\n--b--\r\n"
)


class Answers(Script):
    """A script whose streams have a content type; one of a Response gives its head."""

    def stream(self, request):
        """Give the next answer as a stream."""
        return _Typed(super().stream(request))


class _Typed:
    def __init__(self, context):
        self.context = context

    def __enter__(self):
        head, chunks = self.context.__enter__()
        return Response(head.status, {**head.headers, **EVENTS}), chunks

    def __exit__(self, *exc):
        return self.context.__exit__(*exc)


def steps():
    """Give (answer, request, how, most) of every kind that there is."""
    odd = Response(529, {"content-type": "text/html", "retry-after": "1"}, b"<html>\xff")
    told = Response(
        200, {"content-type": "application/json"}, '{"a":"é ✓","b":[1.5,null]}'.encode()
    )
    form = {"content-type": "multipart/form-data; boundary=b"}
    yield told, ask(1), "send", None
    yield odd, Request("GET", f"{URL}?limit=2&x=a%20b", {"accept": "*/*"}), "send", None
    yield Response(204, {}), Request("DELETE", URL, {}), "send", None
    yield ConnectionFailed("refused"), ask(2), "send", None
    yield (
        [1.5, b"event: ping\ndata: {}\n\n", 0.5, b"dat", b"a: \xc3", b"\xa9\n\n"],
        ask(3),
        "stream",
        None,
    )
    yield [b"data: 1\n\n", StreamInterrupted("cut")], ask(4), "stream", None
    yield [b"data: 1\n\n", b"data: 2\n\n"], ask(5), "stream", 1
    yield told, Request("POST", f"{URL}/files", form, FORM), "send", None
    yield told, Request("POST", URL, {"content-type": "text/plain"}, b"no json"), "send", None
    for path in STREAMS:
        data = path.read_bytes()
        cut = [data[at : at + 100] for at in range(0, len(data), 100)]
        yield cut, ask(path.stem), "stream", None


def record(path, given=None):
    """Record all that, or what is given; give the interactions."""
    given = list(steps() if given is None else given)
    transport = RecordingTransport(path, Answers(*[g[0] for g in given]), "rewrite", force=True)
    with transport:
        run(transport, given)
    return load_cassette(path)


def run(transport, given):
    """Make all the requests; give what came: the whole body, and the class of the error."""
    results = []
    for _, request, how, most in given:
        body, error = b"", None
        try:
            if how == "send":
                body = transport.send(request).body
            else:
                with transport.stream(request) as (_, chunks):
                    for count, chunk in enumerate(chunks, 1):
                        body += chunk
                        if count == most:
                            break
        except Exception as raised:  # noqa: BLE001  # it is the result
            error = type(raised)
        results.append((body, error))
    return results


def zipped():
    """Give a compressed answer, and its plain body."""
    body = json.dumps({"told": "x" * 100}).encode()
    headers = {"content-type": "application/json", "content-encoding": "gzip"}
    return Response(200, headers, gzip.compress(body)), body


def leaking():
    """Give steps that carry the canary wherever it may be: none of it is to be found later."""
    headers = {
        "x-api-key": MaskedStr(CANARY),
        "x-gateway-token": CANARY,
        "anthropic-beta": CANARY,
        "content-type": "application/json",
    }
    body = json.dumps({"system": f"it is {CANARY}", "n": 1}).encode()
    url = f"https://user:{CANARY}@host/v1/{CANARY}?api_key={CANARY}&q={CANARY}"
    answer = Response(200, {"request-id": CANARY, "content-type": "application/json"}, body)
    halves = [f"data: {CANARY[:9]}".encode(), f"{CANARY[9:]}\n\n".encode()]
    failure = ConnectionFailed(f"no route for {CANARY}")
    for number, given in enumerate((answer, halves, failure)):
        request = Request("POST", url, headers, body[:-2] + b"%d}" % number)
        yield given, request, "stream" if isinstance(given, list) else "send", None
