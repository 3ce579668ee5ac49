"""Bodies of lines and of bytes, as they come."""

import json

import pytest

from claude_lite import Response
from claude_lite.api.batches import BatchEntry, BatchResults
from claude_lite.api.bodies import BytesDecoder, LinesDecoder
from claude_lite.errors import (
    ResponseTooLarge,
    StreamInterrupted,
    StreamTruncated,
    UnexpectedResponse,
)
from claude_lite.wire import Limits

HEAD = Response(200, {"request-id": "req_1"})
LINE = {"custom_id": "ü", "result": {"type": "expired"}}
TEXT = json.dumps(LINE, ensure_ascii=False).encode()


def read(body, size, kind=LinesDecoder, **options):
    """Feed a body in pieces of *size* bytes; return the decoder and the items."""
    decoder = kind(HEAD, BatchEntry, **options)
    found = []
    for start in range(0, len(body), size):
        found += decoder.receive(body[start : start + size])
    return decoder, found + decoder.close()


@pytest.mark.parametrize("end", [b"", b"\n", b"\r\n", b"\n\n"])
@pytest.mark.parametrize("size", [1, 2, 7, 1000])
def test_lines_are_found_wherever_the_bytes_are_cut(size, end):
    """Empty lines are none, and the last one may lack its end."""
    decoder, found = read(TEXT + b"\n\n" + TEXT + b"\r\n" + TEXT + end, size)
    assert (found, decoder.complete, decoder.error) == ([LINE] * 3, True, None)
    assert decoder.item(found[0]).custom_id == "ü"


@pytest.mark.parametrize(
    ("bad", "json_of_it"),
    [
        (b"<html>", "<html>"),
        (b"[]", []),
        (b"null", None),
        (b'{"custom_id": 1}', {"custom_id": 1}),
        (b'{"custom_id"', '{"custom_id"'),
        (b'{"custom_id": "a", "result": {"type": 5}}', {"custom_id": "a", "result": {"type": 5}}),
    ],
)
def test_a_line_that_does_not_fit_is_an_item(bad, json_of_it):
    """It has no id or no result, and all of its JSON or text; the lines after it are read."""
    decoder, found = read(TEXT + b"\n" + bad + b"\n" + TEXT, 1000)
    entries = [decoder.item(raw) for raw in found]
    assert (decoder.error, decoder.complete) == (None, True)
    assert [entry.to_dict() for entry in entries] == [LINE, json_of_it, LINE]
    assert entries[1].custom_id in {"", "a"}
    assert (entries[1].result.type, entries[1].result.kind) == ("unknown", "")


@pytest.mark.parametrize("bad", [b"<html>", b"[]", b"1", b'"text"'])
def test_a_body_of_other_lines_is_an_error(bad):
    """A page of a proxy has no line that is an object; the error has the line."""
    decoder, found = read(bad + b"\n" + TEXT, 1000)
    assert found == []
    assert isinstance(decoder.error, UnexpectedResponse)
    assert decoder.error.request_id == "req_1"
    assert decoder.error.details["body"] == bad.decode()
    assert not decoder.complete


def test_a_body_that_ends_within_a_line():
    """It was cut: the lines before the cut are given, and the results can be read again."""
    decoder, found = read(TEXT + b"\n" + TEXT[:-1], 1000)
    assert (found, decoder.complete) == ([LINE], False)
    assert type(decoder.error) is StreamTruncated


def test_a_line_without_end_is_too_large():
    """It is an error at the limit, and not held beyond it."""
    decoder = LinesDecoder(HEAD, BatchEntry, Limits(max_event=100))
    for _ in range(11):
        assert decoder.receive(b"x" * 10) == []
    assert isinstance(decoder.error, ResponseTooLarge)


@pytest.mark.parametrize("limit", ["max_depth", "max_values"])
@pytest.mark.parametrize("size", [7, 1000])
def test_a_line_past_a_limit_costs_this_line(limit, size):
    """The line is an errored entry with its text and its custom_id; the others are read."""
    more = [0] * 50 if limit == "max_values" else json.loads("[" * 25 + "]" * 25)
    bad = json.dumps({"custom_id": "two", "more": more}).encode()
    body = TEXT + b"\n" + bad + b"\n" + TEXT
    kind = type(BatchResults(message_batch_id="b").decoder(HEAD))
    decoder, found = read(body, size, kind=kind, limits=Limits(**{limit: 20}))
    assert (found[0], found[2], decoder.complete) == (LINE, LINE, True)
    entry = decoder.item(found[1])
    assert (entry.custom_id, entry.result.type) == ("two", "errored")
    assert limit in entry.result.exception.message
    assert entry.to_dict()["line"] == bad.decode()


def test_a_line_past_a_limit_without_a_custom_id():
    """Such a line of any body is its text, as if it were no JSON."""
    bad = b'{"a": ' + b"[" * 30 + b"]" * 30 + b"}"
    decoder, found = read(bad + b"\n" + TEXT, 1000, limits=Limits(max_depth=20))
    assert (found, decoder.error) == ([bad.decode(), LINE], None)


def test_what_breaks_off_says_so_once():
    """The first error stays, and a body that was complete has none."""
    decoder = BytesDecoder(HEAD)
    decoder.fail(StreamInterrupted("first"))
    decoder.fail(StreamInterrupted("second"))
    assert (decoder.error.message, decoder.error.request_id) == ("first", "req_1")
    whole = BytesDecoder(HEAD)
    whole.close()
    whole.fail(StreamInterrupted("late"))
    assert whole.error is None


def test_bytes_that_were_taken_are_not_kept():
    """The result is what is left of them."""
    decoder = BytesDecoder(HEAD)
    pieces = decoder.receive(b"ab") + decoder.receive(b"cd")
    assert decoder.result() == b"abcd"
    assert decoder.item(pieces[0]) == b"ab"
    assert decoder.result() == b"cd"
