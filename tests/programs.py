"""Programs in interpreters of their own, and the server that they call: it says what it is told.

What happens to a client in another process, after a fork or at the end of the interpreter
cannot be seen from within one test process; and there warnings can be errors from the start.
"""

import json
import subprocess
import sys
import textwrap
import time
from queue import Queue

from driving import BLOCK, HEL, KEY, START, WHOLE, sample
from places import ROOT

from claude_lite.testing.conformance.loopback import LoopbackServer, chunked, reply

MESSAGE = json.loads(sample("responses/messages.create.json"))
MISSING = {"type": "error", "error": {"type": "not_found_error", "message": "no such thing"}}

PRELUDE = """
import asyncio, faulthandler, gc, logging, os, sys, threading, time
from claude_lite import AsyncClient, Client, ClaudeError, never
URL, KEY = {url!r}, {key!r}
logging.getLogger("asyncio").setLevel("ERROR")  # in its debug mode slow steps are warnings

def ask(text):
    return dict(model="m", max_tokens=9, messages=[dict(role="user", content=text)])

def say(client, text):
    assert client.messages.create(**ask(text)).text == text

async def say_async(client, text):
    assert (await client.messages.create(**ask(text))).text == text

def fork(child):
    pid = os.fork()
    if pid == 0:
        faulthandler.dump_traceback_later(10, exit=True)
        try:
            child()
        except BaseException:
            import traceback
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    return pid

def wait_for(pids):
    assert [os.waitpid(pid, 0)[1] for pid in pids] == [0] * len(pids)

def fork_many(number, child):
    pids = []
    for n in range(number):
        pids.append(fork(lambda: child(n)))
        if len(pids) == 8:
            wait_for([pids.pop(0)])
    wait_for(pids)
"""


def ask(text):
    """Make the fields of a request that says this."""
    return {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": text}]}


class EchoServer(LoopbackServer):
    """Answers each request with its own text, after so many seconds.

    A stream says "Hel" and never ends, unless it is to be "whole"; "missing" is a 404. `heard`
    has the number of the connection and the text for each request, `left` the numbers of those
    that are over.
    """

    def __init__(self, tls=None, *, after=0.0, once=False):
        """Begin; *once*: a connection serves one request, and says nothing about that."""
        super().__init__(self._echo, tls)
        self.heard = []
        self.left = Queue()
        self._after = after
        self._once = once

    def _echo(self, peer):
        peer._sock.settimeout(30.0)  # connections are to stay open while many processes run
        try:
            while got := peer.request():
                body = json.loads(got.body)
                text = body["messages"][0]["content"]
                self.heard.append((peer.number, text))
                time.sleep(self._after)
                if body.get("stream"):
                    kind = b"\r\ncontent-type: text/event-stream\r\n"
                    events = WHOLE if text == "whole" else [START, BLOCK, HEL]
                    end = b"0\r\n\r\n" if text == "whole" else b""
                    peer.send(chunked(*events, end=end).replace(b"\r\n", kind, 1))
                    if end:
                        continue
                    peer.gone(within=5.0)
                    return
                peer.send(_answer(text))
                if self._once:
                    return
        finally:
            self.left.put(peer.number)


def _answer(text):
    if text == "missing":
        body = json.dumps(MISSING).encode()
        return reply(body, "content-type: application/json", status="404 Not Found")
    body = json.dumps({**MESSAGE, "content": [{"type": "text", "text": text}]}).encode()
    return reply(body, "content-type: application/json")


def python(code, server, *, within=60.0, said="", dev=False, first=""):
    """Run a program where warnings are errors, and give the seconds that it took.

    It has to end well and in silence, but for what is *said* on stderr. *dev* adds Python's
    own checks; *first* is run before anything is imported.
    """
    prelude = PRELUDE.format(url=server.url(""), key=KEY)
    command = [sys.executable, *(("-X", "dev") if dev else ()), "-W", "error"]
    command += ["-W", "ignore:This process:DeprecationWarning"]  # is multi-threaded, and forks
    began = time.monotonic()
    done = subprocess.run(  # noqa: S603  # this interpreter
        [*command, "-c", first + prelude + textwrap.dedent(code)],
        capture_output=True,
        text=True,
        check=False,
        timeout=within,
        cwd=ROOT,
    )
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    assert said in done.stderr if said else done.stderr == ""
    return time.monotonic() - began
