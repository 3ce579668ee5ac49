"""The class `Case` of the conformance suite, and the helpers with which cases are written.

Cases do not use `assert`: pytest does not rewrite assertions in this package, so a failing
`assert` would not show its values.
"""

from collections.abc import Awaitable, Callable, Mapping
from time import monotonic
from typing import Final, TypeVar

from attrs import frozen

from claude_lite.testing.conformance.loopback import LoopbackServer
from claude_lite.wire import AsyncTransport, BodySource, Limits, Request, Response

E = TypeVar("E", bound=Exception)
CaseFunction = Callable[[AsyncTransport], Awaitable[None]]

GRACE: Final = 0.5  # seconds that an error may come after its limit
LIMITS: Final = Limits(connect=2.0, read=2.0, total=4.0)


@frozen
class Case:
    """One fact that holds for every transport.

    `str(case)` is the name of the case, for the ids of pytest.

    Attributes:
        name: The name of the case.
        fact: The fact, in a sentence.
        check: An async function that takes an `AsyncTransport` and raises if the fact fails.
        strict: Whether the case asks for more than a short transport around another library may
            be able to give: bounds on heads and trailers, safety over a fork. Leave such a case
            out only if your programs do without: `[case for case in CASES if not case.strict]`.

    """

    name: str
    fact: str
    check: CaseFunction
    strict: bool = False

    def __str__(self) -> str:
        return self.name


def case(register: list[Case], *, strict: bool = False) -> Callable[[CaseFunction], CaseFunction]:
    """Register a function as a case, with the name and the docstring of the function."""

    def add(check: CaseFunction) -> CaseFunction:
        register.append(Case(check.__name__, check.__doc__ or "", check, strict))
        return check

    return add


def get(server: LoopbackServer, target: str = "/v1/models", limits: Limits = LIMITS) -> Request:
    """Make a request without a body."""
    return Request("GET", server.url(target), {"accept": "application/json"}, limits=limits)


def post(
    server: LoopbackServer,
    body: bytes | BodySource = b'{"model":"m"}',
    headers: Mapping[str, str] | None = None,
    limits: Limits = LIMITS,
) -> Request:
    """Make a request with a body."""
    fields = {"content-type": "application/json", **(headers or {})}
    return Request("POST", server.url(), fields, body, limits)


async def read_whole(transport: AsyncTransport, request: Request) -> Response:
    """Stream the reply to a request to its end; return the whole reply."""
    async with transport.stream(request) as (head, chunks):
        body = b"".join([chunk async for chunk in chunks])
    return Response(head.status, head.headers, body)


def both_ways(
    transport: AsyncTransport,
) -> tuple[Callable[[Request], Awaitable[Response]], ...]:
    """Return the two ways to get a whole reply: `send`, and a stream that is read to its end."""
    return transport.send, lambda request: read_whole(transport, request)


def same(actual: object, expected: object, what: str) -> None:
    """Fail unless both values are equal."""
    if actual != expected:
        raise AssertionError(f"{what}: expected {expected!r}, got {actual!r}")


def holds(condition: object, otherwise: str) -> None:
    """Fail with the message *otherwise* unless the condition holds."""
    if not condition:
        raise AssertionError(otherwise)


async def fails(kind: type[E], call: Awaitable[object], within: float = 4.0) -> E:
    """Return the error of this kind that a call raises; fail for another, a late, or no error."""
    began = monotonic()
    try:
        result = await call
    except kind as error:
        took = monotonic() - began
        if took > within + GRACE:
            late = f"{kind.__name__} took {took:.2f} s, and the limit was {within} s"
            raise AssertionError(late) from error
        return error
    except Exception as error:
        raise AssertionError(f"expected {kind.__name__}, but it raised {error!r}") from error
    raise AssertionError(f"expected {kind.__name__}, but it returned {result!r}")
