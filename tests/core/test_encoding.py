"""Content encodings: undone in any cut, within a limit, and typed errors for what is broken."""

import gzip
import itertools
import random
import tracemalloc
import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from claude_lite.core.encoding import ContentDecoder
from claude_lite.core.limits import ZLIB_INPUT, ZLIB_OUTPUT
from claude_lite.errors import ResponseTooLarge, UnexpectedResponse

MEGABYTE = 1 << 20
TEXT = b'{"type":"message","content":[{"type":"text","text":"Hello"}]}' * 50


def bare(data, level=9):
    """Compress without a header, as some servers understand `deflate`."""
    compressor = zlib.compressobj(level, zlib.DEFLATED, -15)
    return compressor.compress(data) + compressor.flush()


def whole(data):
    """Compress as `gzip`."""
    return gzip.compress(data, mtime=0)


KINDS = {
    "gzip": ("gzip", whole),
    "x-gzip": ("x-gzip", whole),
    "deflate": ("deflate", zlib.compress),
    "bare deflate": ("deflate", bare),
    "bare deflate, stored": ("deflate", lambda data: bare(data, 0)),
    "identity": ("identity", bytes),
    "nothing": ("", bytes),
}


def undone(encoding, chunks, limit=None):
    """Undo the encoding of a body that comes in chunks."""
    decoder = ContentDecoder(encoding, limit)
    data = b"".join([decoder.receive(chunk) for chunk in chunks])
    decoder.close()
    return data


def sized(data, size):
    """Cut *data* into pieces of one size."""
    return [data[i : i + size] for i in range(0, len(data), size)]


def outcome(encoding, chunks, limit=None):
    """Give what came of it: the bytes, or the class of the error."""
    try:
        return undone(encoding, chunks, limit)
    except UnexpectedResponse as error:
        return type(error)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("data", [b"", b"x", TEXT, bytes(3 * MEGABYTE + 5)], ids=len)
def test_what_was_compressed_comes_back(kind, data):
    """Each encoding is undone, whole and in pieces of any size."""
    encoding, compress = KINDS[kind]
    body = compress(data)
    assert undone(encoding, [body]) == data
    for size in (1, 7, ZLIB_INPUT - 1, ZLIB_INPUT, ZLIB_INPUT + 1):
        if len(body) // size < 5000:
            assert undone(encoding, [b"", *sized(body, size), b""]) == data


@given(
    st.sampled_from(sorted(KINDS)),
    st.binary(max_size=200) | st.binary(max_size=8).map(lambda b: b * 500),
    st.lists(st.integers(0, 400), max_size=6),
)
@settings(deadline=None, max_examples=200)
def test_any_cut(kind, data, places):
    """Where a body is cut makes no difference."""
    encoding, compress = KINDS[kind]
    body = compress(data)
    ends = [0, *sorted(min(p, len(body)) for p in places), len(body)]
    assert undone(encoding, [body[a:b] for a, b in itertools.pairwise(ends)]) == data


@pytest.mark.parametrize("name", ["GZIP", " gzip ", "Deflate", "IDENTITY", "x-GZip"])
def test_names_in_any_case(name):
    """The name of an encoding is read in any case, and with space around it."""
    compress = {"g": whole, "x": whole, "d": zlib.compress, "i": bytes}[name.strip().lower()[0]]
    assert undone(name, [compress(TEXT)]) == TEXT


@pytest.mark.parametrize("name", ["br", "zstd", "compress", "gzip, br", "gzip,gzip", "x", "\xe9"])
def test_encodings_that_were_not_asked_for(name):
    """They are a typed error with their name in it, before any byte is looked at."""
    with pytest.raises(UnexpectedResponse, match=r"content-encoding .+ only gzip and deflate"):
        ContentDecoder(name)


@pytest.mark.parametrize(
    "k", [*range(-2, 30), 100, 257, 258, 259, 300, 700, ZLIB_OUTPUT - 1, ZLIB_OUTPUT]
)
def test_nothing_is_held_back_at_the_end_of_a_piece(k):
    """Where zlib has read all, and not written all, the rest still comes, with no byte to read."""
    data = bytes(ZLIB_OUTPUT + k)
    for compress in (bare, zlib.compress):
        body = compress(data)
        assert len(undone("deflate", [body])) == len(data)
        assert len(undone("deflate", sized(body, 5))) == len(data)


def test_events_are_not_held_back():
    """What a server flushes is there with the chunk that brought it."""
    compressor = zlib.compressobj(wbits=31)
    decoder = ContentDecoder("gzip")
    for event in (b"event: a\n\n", b"event: b\n\n"):
        chunk = compressor.compress(event) + compressor.flush(zlib.Z_SYNC_FLUSH)
        assert decoder.receive(chunk) == event
    assert decoder.receive(compressor.flush()) == b""
    decoder.close()


@pytest.mark.parametrize("size", [1, 3, 10_000])
def test_gzip_in_several_members(size):
    """Members that follow one another are one body, empty ones and cuts anywhere included."""
    body = whole(b"one ") + whole(b"") + whole(TEXT) + whole(b" three")
    assert undone("gzip", sized(body, size)) == b"one " + TEXT + b" three"


def test_many_members_are_not_many_times_the_work():
    """A body of 20,000 members is read as fast as one can see."""
    body = whole(b"x") * 20_000
    assert undone("gzip", [body]) == b"x" * 20_000


@pytest.mark.parametrize("kind", ["gzip", "deflate", "bare deflate"])
def test_a_body_that_ends_too_early(kind):
    """Wherever a body is cut off, in its head as well as in its tail, `close` says so."""
    encoding, compress = KINDS[kind]
    body = compress(b"some text, and some more text")
    for end in range(1, len(body)):
        for size in (1, 1000):
            decoder = ContentDecoder(encoding)
            for chunk in sized(body[:end], size):
                decoder.receive(chunk)
            with pytest.raises(UnexpectedResponse, match="ends too early"):
                decoder.close()


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "identity", ""])
def test_no_body_at_all(encoding):
    """A response without a body may name any encoding."""
    assert undone(encoding, []) == undone(encoding, [b"", b""]) == b""


@pytest.mark.parametrize("tail", [b"junk", b"\0", b"\0" * 512, b"\x1f", b"\x1f?", b"?\x1f\x8b"])
@pytest.mark.parametrize("kind", ["gzip", "deflate", "bare deflate"])
@pytest.mark.parametrize("size", [1, 5, 10_000])
def test_bytes_after_the_end(kind, tail, size):
    """What follows a whole body, and is no further member of it, takes nothing from it."""
    encoding, compress = KINDS[kind]
    assert undone(encoding, sized(compress(TEXT) + tail, size)) == TEXT


@pytest.mark.parametrize("size", [1, 5, 10_000])
def test_a_second_member_that_is_broken(size):
    """What begins as a member of gzip has to be one, or a part of the body would be missing."""
    for tail in (b"\x1f\x8b", b"\x1f\x8bjunk", whole(TEXT)[:-1]):
        assert outcome("gzip", sized(whole(TEXT) + tail, size)) is UnexpectedResponse


@pytest.mark.parametrize("kind", ["gzip", "deflate"])
def test_a_wrong_byte(kind):
    """Whichever byte is wrong, the text is not given as if it were right."""
    encoding, compress = KINDS[kind]
    body = compress(b"some text, and some more text")
    for place in range(len(body)):
        wrong = bytes([*body[:place], body[place] ^ 0xFF, *body[place + 1 :]])
        got = outcome(encoding, [wrong])
        # of gzip's header some bytes say nothing about the text
        assert got is UnexpectedResponse or (kind == "gzip" and 3 < place < 10)


@given(st.sampled_from(["gzip", "deflate"]), st.binary(max_size=60), st.booleans())
@settings(deadline=None, max_examples=200)
def test_any_bytes(encoding, data, as_member):
    """Whatever comes is decompressed or a typed error, and the same in single bytes."""
    body = (whole(b"x") if as_member else b"") + data
    once = outcome(encoding, [body], 10_000)
    assert once == outcome(encoding, sized(body, 1), 10_000)


@pytest.mark.parametrize("kind", ["gzip", "deflate", "bare deflate"])
def test_the_limit(kind):
    """It bounds what comes out: that many bytes pass, and one more is `ResponseTooLarge`."""
    encoding, compress = KINDS[kind]
    for size in (1, 100, 100_000):
        assert outcome(encoding, sized(compress(bytes(5000)), size), 5000) == bytes(5000)
        assert outcome(encoding, sized(compress(bytes(5001)), size), 5000) is ResponseTooLarge
    with pytest.raises(ResponseTooLarge, match="decompressed body has over 5000 bytes"):
        undone(encoding, [compress(bytes(9999))], 5000)


def bomb(compressor, megabytes):
    """Make a small body that stands for many megabytes."""
    zeros = bytes(MEGABYTE)
    return b"".join([compressor.compress(zeros) for _ in range(megabytes)]) + compressor.flush()


@pytest.mark.parametrize("wbits", [31, 15, -15], ids=["gzip", "deflate", "bare deflate"])
def test_a_bomb_is_defused(wbits):
    """100 MB in 100 KB are refused at the limit, and no more memory is used than for that."""
    limit = 8 * MEGABYTE
    body = bomb(zlib.compressobj(9, zlib.DEFLATED, wbits), 100)
    assert len(body) < MEGABYTE // 8
    decoder = ContentDecoder("gzip" if wbits == 31 else "deflate", limit)
    tracemalloc.start()
    try:
        with pytest.raises(ResponseTooLarge):
            decoder.receive(body)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < limit + 4 * MEGABYTE


def test_a_bomb_of_members_is_defused():
    """The limit counts all members together."""
    member = whole(bytes(MEGABYTE))
    assert outcome("gzip", [member * 8], 8 * MEGABYTE) == bytes(8 * MEGABYTE)
    assert outcome("gzip", [member * 9], 8 * MEGABYTE) is ResponseTooLarge


def test_a_large_body_is_linear_work():
    """Of a body that hardly compresses, no more is copied than a few times its size."""
    noise = random.Random(7).randbytes(4 * MEGABYTE)  # noqa: S311  # noise, not secrets
    body = whole(noise)
    tracemalloc.start()
    try:
        assert undone("gzip", [body]) == noise
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 3.5 * len(noise)
    assert undone("gzip", sized(body, 100_000)) == noise
