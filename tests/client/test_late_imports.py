"""No call imports a module: all that a call may need is loaded when its client is made."""

import gzip
import json
import subprocess
import sys

import pytest
from driving import BLOCK, HEL, KEY, START, WHOLE, error_event
from places import ROOT
from programs import MESSAGE

from claude_lite.emulator import Emulator
from claude_lite.emulator.serving import emulator_server
from claude_lite.testing.conformance.loopback import LoopbackServer, chunked, reply

DATE = "retry-after: Wed, 21 Oct 2015 07:28:00 GMT"
JSON = "content-type: application/json"
ERROR = json.dumps({"type": "error", "error": {"type": "api_error", "message": "no"}}).encode()
ANSWER = json.dumps(MESSAGE).encode()
STREAM = b"\r\ncontent-type: text/event-stream\r\n"


def refusal(status, *headers):
    """Make an error of the API."""
    return reply(ERROR, JSON, *headers, status=f"{status} No")


def stream(*events, end=b"0\r\n\r\n"):
    """Make a streamed reply."""
    return chunked(*events, end=end).replace(b"\r\n", STREAM, 1)


# What the server says, by the text that it was sent; it closes the connection after each reply.
REPLIES = {
    "answer": reply(ANSWER, JSON),
    "gzip": reply(gzip.compress(ANSWER), JSON, "content-encoding: gzip"),
    "deflate": reply(b"no", JSON, "content-encoding: deflate"),
    "brotli": reply(b"no", JSON, "content-encoding: br"),
    "latin": reply(b"\xe9", "content-type: text/html; charset=latin-1", status="502 No"),
    "html": reply(b"<html>", "content-type: text/html"),
    "hollow": reply(b"{}", JSON),
    "surrogate": reply(ANSWER.replace(b"Hello", b"\\ud800"), JSON),
    "large": reply(ANSWER.replace(b"Hello", b"Hello" * 20_000), JSON),
    "400": refusal(400),
    "401": refusal(401),
    "404": refusal(404),
    "429": refusal(429, DATE),
    "429 seconds": refusal(429, "retry-after: 0"),
    "500": refusal(500),
    "529": refusal(529),
    "307": reply(b"", "location: /v1/messages?again=1", status="307 No"),
    "302": reply(b"", "location: https://xn--tst-qla.example/%C3%BC", status="302 No"),
    "lost": b"",
    "cut head": b"HTTP/1.1 200 OK\r\n",
    "cut body": reply(ANSWER, JSON)[:-9],
    "no HTTP": b"220 smtp.example.com\r\n",
    "101": reply(b"", status="101 Switching Protocols"),
    "bad chunks": b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nx\r\n",
    "whole": stream(*WHOLE),
    "cut stream": stream(START, BLOCK, HEL, end=b""),
    "early": stream(START, end=b""),
    "event": stream(START, BLOCK, HEL, error_event()),
    "broken event": stream(START, b"event: ping\ndata: {\n\n"),
    "silence": None,
}


def answer(peer):
    """Answer one request."""
    got = peer.request()
    if got is None:
        return
    text = json.loads(got.body)["messages"][0]["content"] if got.method == "POST" else "answer"
    if REPLIES[text] is None:
        peer.gone(within=2.0)
    else:
        peer.send(REPLIES[text])


# AWAIT and ASYNC are left out for a sync client. Everything but the client is made before.
PROGRAM = """
import logging, os, sys, zipfile
from pathlib import Path
from claude_lite import (
    AsyncClient, BatchRun, Client, ClaudeError, CreateBatch, CreateMessage, DownloadFile,
    Operation, never, standard,
)
KIND, URL, KEY, FOLDER = sys.argv[1:5]
PATH, TEXTS = Path(FOLDER) / "skill.zip", sys.argv[5:]
MODEL = "claude-sonnet-5-5"

class Spy:
    seen = []
    def find_spec(self, name, path=None, target=None):
        self.seen.append(name)

def ask(text, model="m"):
    return dict(model=model, max_tokens=99, messages=[dict(role="user", content=text)])

def show(error):
    str(error), repr(error), error.to_dict(), error.partial, error.rate_limits

with zipfile.ZipFile(PATH, "w") as archive:
    archive.writestr("mine/SKILL.md", "---\\nname: mine\\ndescription: d\\n---\\n")
del sys.modules["zipfile"]
from claude_lite.governor import forget
options = dict(api_key=lambda: KEY, base_url=URL, retry=standard(wait=0.0), timeout=0.5)
if "RUN":
    import asyncio
client = CLASS(KIND, **options)
sys.meta_path.insert(0, Spy())

ASYNC def main():
    BODY

RUN(main())
print(*Spy.seen)
"""
FAULTS = """
for text in TEXTS:
    forget()  # after some refusals the governor would wait
    try:
        AWAIT client.messages.create(**ask(text))
    except ClaudeError as error:
        show(error)
    try:
        ASYNC with client.messages.stream(**ask(text)) as stream:
            ASYNC for event in stream:
                pass
    except ClaudeError as error:
        show(error)
for changes in (
    dict(deadline=0.2, retry=standard()),
    dict(base_url="http://nowhere.invalid", retry=never()),
    dict(base_url="http://127.0.0.1:9", retry=never()),
    dict(base_url=URL.replace("http", "https"), retry=never()),
):
    for text in ("529", "silence"):
        try:
            AWAIT client.with_options(**changes).messages.create(**ask(text))
        except ClaudeError as error:
            show(error)
AWAIT client.close()
"""
GROUPS = """
tools = [dict(type="code_execution_20250825", name="code_execution")]
message = AWAIT client.messages.create(**ask("[[file:a.csv,9]]", MODEL), tools=tools)
str(message), repr(message), message.to_dict(), message.text
ASYNC with client.messages.stream(**ask("hello", MODEL)) as stream:
    ASYNC for text in stream.text_stream:
        pass
    str(AWAIT stream.final_message())
AWAIT client.send(Operation.from_dict(CreateMessage(**ask("hello", MODEL)).to_dict()))
ASYNC for model in client.models.items():
    repr(model), repr(model.created_at)
file = AWAIT client.files.upload(file=PATH)
ASYNC for file in client.files.items():
    if file.downloadable:
        AWAIT client.download(DownloadFile(file_id=file.id), Path(FOLDER) / "a.csv")
assert (Path(FOLDER) / "a.csv").is_file()
repr(AWAIT client.skills.create(files=PATH, display_name="Mine"))
repr(AWAIT client.messages.batches.create(requests=[dict(custom_id="a", params=ask("a", MODEL))]))
run = BatchRun(CreateBatch(requests=[dict(custom_id="a", params=ask("a", MODEL))]))
ASYNC for pair in client.messages.batches.run(run, deadline=9.0):
    repr(pair)
try:
    ASYNC for user in client.organization.users.items():
        pass
except ClaudeError as error:
    show(error)
try:
    AWAIT client.request("GET", "/v1/models", query={"limit": "ü"})
except ClaudeError as error:
    show(error)
AWAIT client.close()
"""
TRANSPORTS = ["urllib", "aiohttp", "asyncio"]


def imported(name, body, url, folder, *texts):
    """Run a program, and give what was imported after its client was made."""
    if name == "urllib":
        words = {"AWAIT ": "", "ASYNC ": "", "CLASS": "Client", "RUN(": "(", '"RUN"': '""'}
    else:
        words = {"AWAIT ": "await ", "ASYNC ": "async ", "CLASS": "AsyncClient"}
        words |= {"RUN(": "asyncio.run("}
    code = PROGRAM.replace("BODY", body.strip().replace("\n", "\n    "))
    for word, python in words.items():
        code = code.replace(word, python)
    done = subprocess.run(  # noqa: S603  # this interpreter
        [sys.executable, "-W", "error", "-c", code, name, url, KEY, str(folder), *texts],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        cwd=ROOT,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout.split()


@pytest.mark.parametrize("name", TRANSPORTS)
@pytest.mark.slow
def test_a_call_that_fails_imports_nothing(name, tmp_path):
    """However a call fails, plain or streamed, tried again or not, no module is imported."""
    with LoopbackServer(answer) as server:
        assert imported(name, FAULTS, server.url(""), tmp_path, *REPLIES) == []


@pytest.mark.parametrize("name", TRANSPORTS)
@pytest.mark.slow
def test_the_first_call_of_each_kind_imports_nothing(name, tmp_path):
    """The first message, stream, page, upload, download, skill and batch import no module."""
    with emulator_server(Emulator()) as url:
        assert imported(name, GROUPS, url, tmp_path) == []
