"""Keep secrets out of recordings: lists of headers, replacement, and a last look before saving.

Headers are kept only if they are on a list. Known secrets (given, or seen as the credential of a
request) are replaced wherever they occur. If a text still looks like a secret when a file is about
to be written, the file is not written. The error never shows the text. When in doubt it refuses: a
refused recording costs a minute, and a key in a repository costs a rotation.
"""

import itertools
import json
import math
import re
import threading
import zlib
from binascii import a2b_base64
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any, Final
from urllib.parse import parse_qsl, quote, quote_plus, unquote, unquote_to_bytes

from claude_lite.errors import UsageError
from claude_lite.wire import MaskedStr, Request, is_secret_header

REPLACEMENT: Final = "REDACTED"
"""Stands in a recording where a secret was."""
_REPLACEMENT: Final = REPLACEMENT.encode()

REQUEST_HEADERS: Final = ("content-type", "accept", "anthropic-version", "anthropic-beta")
RESPONSE_HEADERS: Final = (
    "content-type",
    "content-encoding",
    "date",
    "request-id",
    "retry-after",
    "retry-after-ms",
    "x-should-retry",
    "anthropic-organization-id",
    "anthropic-workspace-id",
    "anthropic-ratelimit-*",
    "anthropic-priority-*",
    "anthropic-fast-*",
)

# Fields of a token exchange, at the top of a JSON body.
_SECRET_FIELDS: Final = frozenset(
    {"access_token", "refresh_token", "id_token", "assertion", "client_secret", "password"}
)
# Not page tokens: they are places in a list, and without them all pages would look the same.
_SECRET_QUERY: Final = re.compile(
    r"(?i)(?:key|(?<!page)(?<!page_)token|secret|signature|credential|password|^sig)$"
)
# A dummy such as "test" is not a secret, and replacing it would change ordinary text.
_SHORTEST_CREDENTIAL: Final = 8
_LONGEST_WORD: Final = 11
_LARGEST_UNZIPPED: Final = 64 * 1024 * 1024

# Each pattern begins with fixed letters, so that a long body is searched quickly.
_LIVE: Final = {
    "an API key (sk-ant-...)": re.compile(rb"sk-ant-[\w-]{8,}"),
    # With a digit, because prose and placeholders rarely have one. Blanks are not given back, and
    # the digit is near, so that the search takes linear time.
    "a bearer token": re.compile(
        rb"[Bb](?:earer|EARER)[\s+]++(?=[^\s\"]{0,128}?\d)[\w.~+/=-]{20,}"
    ),
    "an AWS key id": re.compile(rb"A(?:KI|SI)A(?<![A-Za-z0-9]....)[0-9A-Z]{16}(?![A-Za-z0-9])"),
}
_SHORTEST_LIVE: Final = len("sk-ant-") + 8
_URLSAFE: Final = bytes.maketrans(b"-_", b"+/")
_ESCAPE: Final = re.compile(rb"\\u([0-9a-fA-F]{4})")
_DELTA: Final = re.compile(
    rb'"(?:text|thinking|partial_json|completion)":\s*"((?:[^"\\]|\\.)*)"', re.DOTALL
)


class Redactor:
    """The secrets that must not be saved, and the headers that may be."""

    def __init__(
        self,
        literals: Iterable[str] = (),
        request_headers: Iterable[str] = (),
        response_headers: Iterable[str] = (),
    ) -> None:
        """Begin with the usual headers, and no known secret.

        Args:
            literals: Texts to replace wherever they occur.
            request_headers: Names of request headers to keep as well; a "*" at the end of a name
                stands for any rest.
            response_headers: The same for responses.

        Raises:
            UsageError: A literal is empty, or a part of what replaces it, or no text.

        """
        literals = masked_literals(literals)  # before an error: a traceback may show variables
        if not all(isinstance(literal, str) for literal in literals):
            raise UsageError("a text in `redact` has to be a str")
        self._secrets = frozenset(map(str, literals))
        if any(secret in REPLACEMENT for secret in self._secrets):
            raise UsageError(f"a text in `redact` must not be empty, nor a part of {REPLACEMENT!r}")
        self._pattern = _pattern(self._secrets)
        self._lock = threading.Lock()
        self._request_headers = (*REQUEST_HEADERS, *request_headers)
        self._response_headers = (*RESPONSE_HEADERS, *response_headers)

    def learn(self, request: Request) -> None:
        """Remember the credentials that a request carries in its headers and its URL."""
        for name, value in ((name.lower(), value) for name, value in request.headers.items()):
            if is_secret_header(name) or isinstance(value, MaskedStr):
                self._learn(str(value), str(value).partition(" ")[2])  # without the word Bearer
        host, _, query = _split(request.url)
        self._learn(unquote(host.rpartition("@")[0].partition(":")[2]))
        for name, value in parse_qsl(query):
            if _SECRET_QUERY.search(name):
                self._learn(value)

    def learn_fields(self, value: Any) -> None:
        """Remember the tokens and secrets at the top of a JSON body, sent or received."""
        if isinstance(value, dict):
            for name in _SECRET_FIELDS.intersection(value):
                if isinstance(value[name], str):
                    self._learn(value[name])

    def learn_live(self, data: bytes) -> None:
        """Remember every text that looks like a key."""
        found = (match for pattern in _LIVE.values() for match in pattern.finditer(data))
        self._learn(*{match[0].decode() for match in found})

    def _learn(self, *secrets: str) -> None:
        new = {secret for secret in secrets if _is_secret(secret)} - self._secrets
        if new:
            with self._lock:
                self._secrets |= new
                self._pattern = _pattern(self._secrets)

    def data(self, data: bytes) -> bytes:
        """Replace known secrets, also where they are escaped for JSON or a URL."""
        pattern = self._pattern
        return pattern.sub(_REPLACEMENT, data) if pattern else data

    def text(self, text: str) -> str:
        """Replace known secrets in a text."""
        return self.data(_encoded(text)).decode("utf-8", "surrogatepass")

    def json(self, value: Any) -> Any:
        """Replace known secrets in every string of a JSON value, and in names."""
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, dict):
            return {self.text(name): self.json(item) for name, item in value.items()}
        if isinstance(value, list):
            return [self.json(item) for item in value]
        return value

    def url(self, url: str) -> str:
        """Reduce a URL to path and query; the values of secret parameters are replaced."""
        _, path, query = _split(url)
        masked = "&".join(
            f"{name}={REPLACEMENT}" if value and _SECRET_QUERY.search(unquote(name)) else pair
            for pair in query.split("&")
            for name, _, value in [pair.partition("=")]
        )
        return self.text(path + (f"?{masked}" if masked else ""))

    def request_headers(self, headers: Mapping[str, str]) -> dict[str, str]:
        """Keep the headers of a request that are on its list, sorted by name."""
        return self._kept(headers, self._request_headers)

    def response_headers(self, headers: Mapping[str, str]) -> dict[str, str]:
        """Keep the headers of a response that are on its list, sorted by name."""
        return self._kept(headers, self._response_headers)

    def _kept(self, headers: Mapping[str, str], allowed: Collection[str]) -> dict[str, str]:
        return {
            name: REPLACEMENT if is_secret_header(name) else self.text(str(value))
            for name, value in sorted((name.lower(), value) for name, value in headers.items())
            if any(fnmatchcase(name, pattern) for pattern in allowed)
        }

    def chunks(
        self, chunks: Sequence[bytes], delays: Sequence[int]
    ) -> tuple[list[bytes], list[int]]:
        """Replace known secrets in a stream, also those cut by the end of a chunk.

        The result is cut where the stream was; a cut within a secret is within its replacement. A
        chunk of which nothing is left is dropped, and its delay is added to that of the next.
        """
        whole, pattern = b"".join(chunks), self._pattern
        if pattern is None or not pattern.search(whole):
            return list(chunks), list(delays)
        spans = [match.span() for match in pattern.finditer(whole)]
        cuts = _moved(itertools.accumulate(map(len, chunks)), spans)
        clean = pattern.sub(_REPLACEMENT, whole)
        kept: tuple[list[bytes], list[int]] = ([], [])
        start = owed = 0
        for chunk, delay, cut in zip(chunks, delays, cuts, strict=True):
            owed += delay
            if cut > start or not chunk:
                kept[0].append(clean[start:cut])
                kept[1].append(owed)
                start, owed = cut, 0
        return kept

    def leak(self, content: str | bytes) -> str | None:
        """Return the kind of secret that a text or a body shows, or None.

        Secrets are looked for as they are, escaped for JSON or a URL, in base64, within gzip, and
        in the text that the deltas of a stream add up to.
        """
        data = _unzipped(content) if isinstance(content, bytes) else _encoded(content)
        shortest = min((_SHORTEST_LIVE, *map(len, self._secrets)))
        for view in _views(data, shortest):
            if self._pattern and self._pattern.search(view):
                return "a known secret"
            for kind, pattern in _LIVE.items():
                if pattern.search(view):
                    return kind
        return None


def _is_secret(text: str) -> bool:
    is_word = text.isalpha() and len(text) <= _LONGEST_WORD
    return len(text) >= _SHORTEST_CREDENTIAL and not is_word


def masked_literals(literals: Iterable[str]) -> tuple[Any, ...]:
    """Mask the texts in `redact`; keep what is no text, without its value."""
    given = (literals,) if isinstance(literals, str | bytes) else literals
    return tuple(MaskedStr(text) if isinstance(text, str) else type(text) for text in given)


def _encoded(text: str) -> bytes:
    # JSON and wrongly decoded headers may contain half a surrogate pair.
    return text.encode("utf-8", "surrogatepass")


def _split(url: str) -> tuple[str, str, str]:
    """Split a text that may not be a URL: the transport says what is wrong with it."""
    rest, _, query = url.partition("#")[0].partition("?")
    host, _, path = (rest.partition("://")[2] or rest).partition("/")
    return host, f"/{path}", query


def _pattern(secrets: Collection[str]) -> re.Pattern[bytes] | None:
    """A pattern of all secrets in all spellings, the longest first."""
    spellings = {
        spelling
        for secret in secrets
        for spelling in (
            secret,
            json.dumps(secret)[1:-1],
            json.dumps(secret, ensure_ascii=False)[1:-1],
            quote(secret, safe="", errors="surrogatepass"),
            quote_plus(secret, errors="surrogatepass"),
        )
    }
    ordered = sorted(spellings, key=lambda spelling: (-len(spelling), spelling))
    encoded = (re.escape(_encoded(spelling)) for spelling in ordered)
    return re.compile(b"|".join(encoded)) if spellings else None


def _moved(cuts: Iterable[int], spans: Sequence[tuple[int, int]]) -> Iterator[int]:
    """Yield the places of ascending cuts after each span was replaced."""
    shift, index = 0, 0
    for cut in cuts:
        while index < len(spans) and spans[index][1] <= cut:
            shift += len(_REPLACEMENT) - (spans[index][1] - spans[index][0])
            index += 1
        inside = index < len(spans) and spans[index][0] < cut
        at = min(cut, spans[index][0] + len(_REPLACEMENT)) if inside else cut
        yield at + shift


def _views(data: bytes, shortest: int) -> Iterator[bytes]:
    for view in dict.fromkeys((data, _unescaped(data))):
        yield view
        if b"%" in view:
            yield unquote_to_bytes(view)
        yield _unescaped(b"".join(_DELTA.findall(view)))
        yield b"\n".join(_from_base64(view, shortest))


def _unescaped(data: bytes) -> bytes:
    for escape in (b"\\/", b'\\"', b"\\\\"):
        data = data.replace(escape, escape[1:])
    return _ESCAPE.sub(lambda match: _encoded(chr(int(match[1], 16))), data)


def _from_base64(data: bytes, shortest: int) -> Iterator[bytes]:
    """Decode each run of base64 that can hold *shortest* bytes, from each of four offsets."""
    for run in re.findall(rb"[A-Za-z0-9+/_-]{%d,}" % math.ceil(shortest * 4 / 3), data):
        for offset in range(4):
            piece = run[offset:].translate(_URLSAFE)
            whole = piece[:-1] if len(piece) % 4 == 1 else piece
            yield a2b_base64(whole + b"=" * (-len(whole) % 4))


def _unzipped(body: bytes) -> bytes:
    if not body.startswith(b"\x1f\x8b"):
        return body
    try:
        return zlib.decompressobj(31).decompress(body, _LARGEST_UNZIPPED)
    except zlib.error:
        return body
