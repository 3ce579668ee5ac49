"""The conformance suite: our transports pass it, and every mistake fails its case."""

import gzip
import http.client
import re
import socket
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from threading import Lock
from time import sleep
from urllib.parse import urljoin, urlsplit

import pytest
from attrs import evolve

from claude_lite.errors import (
    ClaudeError,
    ConnectionFailed,
    ConnectionLost,
    ResponseTooLarge,
    StreamInterrupted,
    TimedOut,
    UnexpectedResponse,
)
from claude_lite.testing import ASYNC_CASES, CASES, check_async_transport, check_transport
from claude_lite.testing.conformance.checking import InThreads
from claude_lite.wire import HeadAndChunks, Request, Response
from claude_lite_transports.aiohttp import AiohttpTransport
from claude_lite_transports.shared.http1 import ReplyParser, opening
from claude_lite_transports.urllib import UrllibTransport
from claude_lite_transports.urllib.idle import Idle

direct = partial(UrllibTransport, trust_env=False)  # whatever the environment says
by_name = {case.name: case for case in ASYNC_CASES}


@pytest.mark.parametrize("case", CASES, ids=str)
def test_urllib(case):
    """The transport on the standard library conforms."""
    check_transport(direct, case)


@pytest.mark.parametrize("case", ASYNC_CASES, ids=str)
def test_aiohttp(case):
    """The transport on aiohttp conforms."""
    check_async_transport(AiohttpTransport, case)


def test_every_case_says_what_it_proves():
    """Names are unique, and every case states its fact."""
    assert len(by_name) == len(ASYNC_CASES)
    assert all(case.fact.endswith(".") for case in ASYNC_CASES)


# A transport as somebody may write it in an hour, and what the suite finds wrong with it.


class Naive:
    """A transport on `http.client`, with a connection for each request."""

    @contextmanager
    def stream(self, request: Request, /) -> Iterator[HeadAndChunks]:
        """Map what http.client raises to the errors that it resembles."""
        url, limits = urlsplit(request.url), request.limits
        secure = url.scheme == "https"
        kind = http.client.HTTPSConnection if secure else http.client.HTTPConnection
        connection = kind(url.netloc, timeout=limits.connect)
        try:
            try:
                connection.connect()
            except OSError as error:
                raise ConnectionFailed(str(error)) from error
            connection.sock.settimeout(limits.read)
            target = f"{url.path}?{url.query}" if url.query else url.path
            connection.request(request.method, target, request.body, dict(request.headers))
            answer = connection.getresponse()
            headers = defaultdict(list)
            for name, value in answer.getheaders():
                headers[name.lower()].append(value)
            joined = {name: ", ".join(values) for name, values in headers.items()}
            yield Response(answer.status, joined), iter(lambda: answer.read1(65536), b"")
        except TimeoutError as error:
            raise TimedOut("read") from error
        except http.client.IncompleteRead as error:
            raise StreamInterrupted(str(error)) from error
        except (http.client.RemoteDisconnected, OSError) as error:
            raise ConnectionLost(str(error)) from error
        except http.client.HTTPException as error:
            raise UnexpectedResponse(str(error)) from error
        finally:
            connection.close()

    def send(self, request: Request, /) -> Response:
        """Stream, and join."""
        with self.stream(request) as (head, chunks):
            body = b"".join(chunks)
        if request.limits.max_response is not None and len(body) > request.limits.max_response:
            raise ResponseTooLarge
        return Response(head.status, head.headers, body)

    def sleep(self, seconds: float, /) -> None:
        """Block."""
        sleep(seconds)

    def close(self) -> None:
        """Nothing is kept."""


FOUND = {
    "no_header_is_made_up",  # accept-encoding
    "a_body_source_goes_out_with_its_length",  # chunked
    "status_headers_and_body_come_back",  # values not stripped
    "interim_responses_are_passed_over",  # 103
    "a_connection_is_used_again",
    "a_silent_handshake_is_connect_timed_out",
    "a_cut_head_is_no_reply",  # a head without an end is taken for whole
    "a_short_body_is_interrupted",  # taken for whole
    "what_came_before_an_interruption_is_delivered",
    "no_line_gets_into_the_head",  # a ValueError
    "no_error_shows_a_secret",  # the frames of http.client do
    "heads_are_counted",
    "interim_heads_and_trailers_are_bounded",
}
FOUND_SLOWLY = {
    "broken_chunks_are_interrupted",
    "a_trickle_is_a_total_timeout",
    "too_large_is_too_large",
    "a_malformed_head_is_unexpected",
}


@pytest.mark.parametrize("case", [case for case in CASES if case.name not in FOUND_SLOWLY], ids=str)
@pytest.mark.slow
def test_a_naive_transport(case):
    """In a transport on http.client that looks right, these mistakes are found, and no others."""
    if case.name in FOUND:
        with pytest.raises((AssertionError, ValueError)):
            check_transport(Naive, case)
    else:
        check_transport(Naive, case)


# Good transports with one mistake each, and the case that has to fail.


class Wrong:
    """A good transport in which one method is another: that which the mistake's name says."""

    def __init__(self, mistake):
        good = direct()
        self.send, self.stream = good.send, good.stream
        self.sleep, self.close = good.sleep, good.close
        setattr(self, mistake.__name__.partition("_")[0], partial(mistake, good))


mistakes = []
left_open = []


def mistake(method):
    """Collect a mistake; its docstring begins with the case that finds it."""
    mistakes.append(method)
    return method


@mistake
def send_follows_redirects(good, request):
    """redirects_are_responses: asks where it is sent to."""
    response = good.send(request)
    if where := response.headers.get("location"):
        return good.send(evolve(request, url=urljoin(request.url, where)))
    return response


@mistake
def send_raises_for_status(good, request):
    """error_statuses_are_responses: takes an answer for a failure."""
    response = good.send(request)
    if response.status >= 400:
        raise AssertionError(response.status)
    return response


@mistake
def send_tries_again(good, request):
    """closed_before_the_head_is_connection_lost: sends what may have been done once more."""
    try:
        return good.send(request)
    except ConnectionLost:
        return good.send(request)


@mistake
def send_decompresses(good, request):
    """compressed_bodies_stay_compressed: does the core's work."""
    response = good.send(request)
    if "content-encoding" in response.headers:
        return evolve(response, body=gzip.decompress(response.body))
    return response


@mistake
def send_normalises_escapes(good, request):
    """method_and_target_go_out_as_they_are: knows better what the URL should be."""
    url = re.sub("%[0-9a-f]{2}", lambda found: found[0].upper(), request.url)
    return good.send(evolve(request, url=url))


@mistake
def send_names_itself(good, request):
    """no_header_is_made_up: adds a user agent."""
    return good.send(evolve(request, headers={"user-agent": "me", **request.headers}))


@mistake
def send_keeps_names(good, request):
    """status_headers_and_body_come_back: leaves the names of headers in mixed case."""
    response = good.send(request)
    return evolve(response, headers={name.title(): v for name, v in response.headers.items()})


@mistake
def send_returns_cookies(good, request, jar={}):  # noqa: B006  # to keep them is the mistake
    """no_cookie_is_kept: sends them back."""
    response = good.send(evolve(request, headers={**request.headers, **jar}))
    if "set-cookie" in response.headers:
        jar["cookie"] = response.headers["set-cookie"]
    return response


@mistake
def send_takes_half(good, request):
    """a_short_body_is_interrupted: takes what there is for the whole."""
    try:
        return good.send(request)
    except StreamInterrupted:
        return Response(200, {})


@mistake
def send_has_no_limit(good, request):
    """too_large_is_too_large: reads on and on."""
    return good.send(evolve(request, limits=evolve(request.limits, max_response=None)))


@mistake
def send_confuses_failures(good, request):
    """refused_is_connection_failed: does not say that nothing was sent."""
    try:
        return good.send(request)
    except ConnectionFailed:
        raise ConnectionLost from None


@mistake
def send_waits_its_turn(good, request, lock=Lock()):  # noqa: B008  # one for all calls
    """calls_side_by_side_get_their_own_answers: makes one call at a time."""
    with lock:
        return good.send(request)


@mistake
def send_never_reuses(good, request):
    """a_connection_is_used_again: opens a connection for each request."""
    good.close()
    return good.send(request)


@mistake
def send_tells_the_key(good, request):
    """no_error_shows_a_secret: puts the head into the message."""
    try:
        return good.send(request)
    except ClaudeError as error:
        raise error.update(message="".join(request.headers.values())) from None


@mistake
def send_holds_the_head(good, request):
    """no_error_shows_a_secret: has the head in a variable while it waits."""
    head = "".join(f"{name}: {value}\r\n" for name, value in request.headers.items())
    return good.send(request) if head else None


@mistake
def send_chains_the_head(good, request):
    """no_error_shows_a_secret: hides the error that shows the head, and keeps it."""
    try:
        return send_holds_the_head(good, request)
    except ClaudeError as error:
        raise type(error)(*error.args) from None


@mistake
@contextmanager
def stream_collects(good, request):
    """chunks_come_without_delay: reads all before it hands out the first."""
    with good.stream(request) as (head, chunks):
        yield head, iter([b"".join(chunks)])


@mistake
@contextmanager
def stream_stays_open(good, request):
    """leaving_a_stream_closes_it: goes without closing."""
    left_open.append(good.stream(request))
    yield left_open[-1].__enter__()


@mistake
def send_counts_no_headers(good, request):
    """heads_are_counted: takes any number."""
    return good.send(evolve(request, limits=evolve(request.limits, max_headers=None)))


@mistake
def send_counts_no_bytes(good, request):
    """interim_heads_and_trailers_are_bounded: reads heads and trailers without end."""
    return good.send(evolve(request, limits=evolve(request.limits, max_head=None)))


@mistake
@contextmanager
def stream_ignores_finish(good, request):
    """finish_waits_for_the_end: closes what would have ended in a moment."""
    with good.stream(request) as (head, chunks):
        yield head, Unfinished(chunks)


class Unfinished:
    """Chunks whose `finish` does nothing."""

    def __init__(self, chunks):
        self.chunks = chunks

    def __iter__(self):
        return iter(self.chunks)

    def finish(self):
        """Do nothing."""


@mistake
def send_hides_the_reason(good, request):
    """no_descriptor_is_connection_failed: says that something was sent."""
    try:
        return good.send(request)
    except ConnectionFailed as error:
        raise ConnectionLost(error.message) from None


@mistake
def send_keeps_its_parents(good, request, kept={}):  # noqa: B006  # to keep them is the mistake
    """a_child_uses_no_connection_of_its_parent: has its connections by thread, not by process."""
    if request.url not in kept:
        kept.clear()
        kept[request.url] = socket.create_connection(urlsplit(request.url).netloc.split(":"))
    sock = kept[request.url]
    sock.settimeout(2.0)
    sock.sendall(opening(request, "/", "a"))
    parser = ReplyParser("POST")
    body = b""
    while not (parser.has_head() and (body := body + parser.take()) and parser.complete):
        parser.receive(sock.recv(65536))
    return Response(parser.status, parser.headers, body)


@mistake
def sleep_returns(good, seconds):
    """sleep_sleeps: returns at once."""


@mistake
def close_does_nothing(good):
    """close_closes_and_opens_again: leaves idle connections open."""


@pytest.mark.parametrize("mistake", mistakes, ids=lambda mistake: mistake.__name__)
def test_a_mistake_fails_its_case(mistake):
    """A transport that is right but for one thing fails the case that is about it."""
    name = mistake.__doc__.partition(":")[0]
    try:
        with pytest.raises(AssertionError):
            check_transport(partial(Wrong, mistake), by_name[name])
    finally:
        for stream in left_open:
            stream.__exit__(None, None, None)


class Trusting(Idle):
    """Gives out an idle connection without a look at it."""

    def take(self, route):  # noqa: ARG002  # there is only one
        """Take the last one, dead or alive."""
        stack = next(iter(self._stacks.values()), None)
        return (stack.pop().sock, 0) if stack else None


def test_a_stale_connection_is_noticed():
    """Where a transport raises instead of answering, the case raises the same."""

    def trusting():
        transport = direct()
        object.__setattr__(transport, "_idle", Trusting(1, 9.0))
        return transport

    with pytest.raises(ConnectionLost):
        check_transport(trusting, by_name["a_stale_connection_does_no_harm"])


def test_a_stray_reply_is_noticed():
    """Where a connection is used without a look, the case finds the wrong answer."""

    def trusting():
        transport = direct()
        object.__setattr__(transport, "_idle", Trusting(1, 9.0))
        return transport

    with pytest.raises(AssertionError, match="somebody else"):
        check_transport(trusting, by_name["a_stray_reply_reaches_nobody"])


def test_a_call_that_goes_on_is_noticed():
    """An asynchronous transport that leaves the work to threads cannot stop it."""
    with pytest.raises(AssertionError, match="not closed"):
        check_async_transport(lambda: InThreads(direct()), by_name["cancelling_a_call_closes_it"])
