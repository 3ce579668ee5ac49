"""Each API operation, declared once, as a value.

An operation knows how to become a `Request` and how to read a `Response`. It is frozen,
comparable and picklable, and turns into JSON and back: it can be sent now, called through a
client's method, put in a queue, stored, compared in a test. No client is needed for that:

    operation = CreateMessage(model="claude-opus-4-6", max_tokens=100, messages=[...])
    request = operation.build(Target())
    message = operation.parse(Response(200, {}, body))

A declaration is a `Route` and the fields. A field whose name stands in the route's path goes
there; the others go into the JSON body, or into the query of a request that has none; None
leaves a field out. What the class does not know yet goes into `extra_body`, `extra_query` and
`extra_headers`.
"""

import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import (
    TYPE_CHECKING,
    Any,
    ClassVar,
    Final,
    Generic,
    Self,
    TypeVar,
    cast,
    dataclass_transform,
)

from attrs import NOTHING, Factory, field, fields, frozen

from claude_lite.core import registry
from claude_lite.core.credentials import header_value
from claude_lite.core.json_text import dumps, loads
from claude_lite.core.responses import head_of, json_body, unexpected
from claude_lite.core.retry import Resend
from claude_lite.core.spellings import ELSEWHERE
from claude_lite.core.structure import StructureError, hook_for
from claude_lite.core.targets import JSON_TYPE, Target, path_segment, with_query
from claude_lite.errors import RequestTooLarge, UsageError
from claude_lite.wire import DEFAULT_LIMITS, Limits, Request, Response, is_secret_header

if TYPE_CHECKING:
    from claude_lite.core.bodies import Decoder

__all__ = [
    "JSON",
    "Operation",
    "Route",
    "StreamOperation",
    "WorkspaceOperation",
    "header",
    "local",
    "operation",
]

C = TypeVar("C", bound=type)
R = TypeVar("R")
E = TypeVar("E")

JSON = Mapping[str, Any]
"""A JSON object, as a dict or as one of the models (which stand for theirs)."""


LOCAL: Final = frozenset({"extra_body", "extra_query", "extra_headers", "betas"})


MEGABYTE: Final = 1024 * 1024


def header(name: str) -> Any:
    """A field that goes into the header *name*."""
    return field(default=None, metadata={"header": name})


def local(default: Any = None) -> Any:
    """A field that is for the library, and is not sent."""
    return field(default=default, metadata={"local": True})


# `header` and `local` are not named to it, so that type checkers take them for default values.
@dataclass_transform(
    kw_only_default=True, frozen_default=True, eq_default=False, field_specifiers=(field,)
)
def operation(cls: C) -> C:
    """Make *cls* a frozen attrs class of keyword fields, for a declaration of an operation.

    Its `__dict__` holds what was given, in the order of declaration; the rest are defaults.
    """
    if not cls.__annotations__ and len(cls.__bases__) == 1:  # the fields are those of its base
        cls.__attrs_init_subclass__()  # type: ignore[attr-defined]  # of Operation, further down
        return cls
    return frozen(kw_only=True, slots=False, init=False, eq=False, repr=False)(cls)


@frozen
class Route:
    """Where an operation goes and what it means to send it twice.

    `name` is the operation's name in logs and queues, and that of the client's method.
    `max_body` is the API's limit in bytes: past it nothing is sent. `betas` are those that
    the operation needs.
    """

    name: str
    method: str
    path: str
    resend: Resend = "safe"
    max_body: int = 32 * MEGABYTE
    has_body: bool = True
    accept: str = JSON_TYPE
    betas: tuple[str, ...] = ()


class _Signature:
    """What `inspect.signature`, and with it help() and notebooks, show: the declared fields."""

    def __get__(self, _: object, cls: Any) -> inspect.Signature:
        keyword = inspect.Parameter.KEYWORD_ONLY
        shown = [
            inspect.Parameter(
                a.name,
                keyword,
                default=inspect.Parameter.empty if a.default is NOTHING else a.default,
                annotation=a.type,
            )
            for a in fields(cls)
        ]
        return inspect.Signature(shown, return_annotation=cls)


SIGNATURE: Final = _Signature()

Converters = tuple[tuple[str, Callable[[Any], Any]], ...]


@functools.lru_cache(maxsize=1024)  # as many as a program has ways to call
def form_of(cls: type, names: tuple[str, ...]) -> tuple[tuple[str, ...], Converters]:
    """What goes into the operation, in the order of declaration, and is converted.

    Besides what was given these are the defaults that are sent: all but None.
    """
    declared = {a.name: a for a in fields(cast("Any", cls))}
    for name in names:
        if name not in declared:
            hint = f": {ELSEWHERE[name]}" if name in ELSEWHERE else ""
            raise TypeError(f"{cls.__name__} has no field {name!r}{hint}")
    missing = [n for n, a in declared.items() if a.default is NOTHING and n not in names]
    if missing:
        raise TypeError(f"{cls.__name__} needs {', '.join(missing)}")
    told = {n for n, a in declared.items() if a.default not in (NOTHING, None) and not a.metadata}
    ordered = tuple(name for name in declared if name in names or name in told)
    converted = [(name, declared[name].converter) for name in ordered]
    return ordered, tuple((name, convert) for name, convert in converted if convert)


@functools.cache
def path_names(path: str) -> tuple[str, ...]:
    """The fields that stand in a route's path."""
    return tuple(part.split("}")[0] for part in path.split("{")[1:])


def _no_credentials(headers: Mapping[str, str] | None) -> Mapping[str, str] | None:
    if headers is not None and any(map(is_secret_header, headers)):
        raise UsageError(
            "an operation holds no credential, for it may be stored and shown:"
            " give it to the client, by with_options(api_key=...) or with_options(headers=...)"
        )
    return None if headers is None else dict(headers)  # nobody puts one in later


def _listed(betas: str | Sequence[str] | None) -> Sequence[str] | None:
    return (betas,) if isinstance(betas, str) else betas


@functools.cache
def _takes_limits(parse: Any) -> bool:
    return len(inspect.signature(parse).parameters) > 2  # noqa: PLR2004  # itself and the response


@operation
class Operation(Generic[R]):
    """Base of all operations; `R` is what a successful call returns.

    `extra_body`, `extra_query`, `extra_headers` are merged into the request as they are;
    `betas` go into the header anthropic-beta, after those of the client. Two operations are
    equal when they are of one class and stand for the same JSON.
    """

    route: ClassVar[Route]
    result_type: ClassVar[Any] = None

    _in_body: ClassVar[frozenset[str]]
    _in_headers: ClassVar[dict[str, str]]
    _heading: ClassVar[frozenset[str]]
    __signature__: ClassVar[Any] = SIGNATURE

    extra_body: JSON | None = None
    extra_query: JSON | None = None
    extra_headers: Mapping[str, str] | None = field(default=None, converter=_no_credentials)
    betas: Sequence[str] | None = field(default=None, converter=_listed)

    def __init__(self, /, *unnamed: object, **given: Any) -> None:
        """Raises `TypeError` for a field that is missing or not known."""
        if unnamed:
            raise TypeError(f"{type(self).__name__} takes its fields by name")
        names = tuple(given)
        ordered, converters = form_of(type(self), names)  # type: ignore[arg-type]  # a class hashes
        if ordered != names:
            given = {n: given[n] if n in given else getattr(self, n) for n in ordered}
        for name, convert in converters:
            given[name] = convert(given[name])
        set_fields(self, given)

    @classmethod
    def __attrs_init_subclass__(cls) -> None:
        """Look up once where each field goes, and make its default what it reads as."""
        declared = fields(cast("Any", cls))
        for attribute in declared:
            if attribute.validator is not None or isinstance(attribute.default, Factory):  # type: ignore[arg-type]  # attrs types it as a function
                raise TypeError(f"{cls.__name__}.{attribute.name}: a field has a converter at most")
            if attribute.default is not NOTHING:
                setattr(cls, attribute.name, attribute.default)
        in_path = path_names(cls.route.path) if hasattr(cls, "route") else ()
        apart = LOCAL | {a.name for a in declared if a.metadata} | set(in_path)
        cls._in_body = frozenset(a.name for a in declared if a.name not in apart)
        cls._in_headers = {a.name: a.metadata["header"] for a in declared if "header" in a.metadata}
        cls._heading = frozenset({"betas", "extra_headers", *cls._in_headers})
        if "route" in cls.__dict__:
            registry.register(cls.route.name, cls)

    @property
    def resends(self) -> Resend:
        """What sending it twice would mean."""
        return self.route.resend

    def build(self, target: Target) -> Request:
        """Build the request for this operation, without I/O.

        Args:
            target: Where it goes, and what all requests of a client have. `Config.target`
                gives a client's; `Target()` is the API's address without a credential.

        Raises:
            UsageError: A value cannot be sent.
            RequestTooLarge: The body is past the API's limit.

        """
        route = self.route
        body = b""
        headers = target.headers
        if route.method == "POST" and route.has_body:
            headers, body = target.json_headers, dumps(self.body())
            if len(body) > route.max_body:
                raise too_large(len(body), route.max_body)
        own = self.headers(target)
        if own:
            headers = {**headers, **own}
        url = target.base_url + self.path_with_query()
        return Request(route.method, url, headers, body, target.limits)

    def parse(self, response: Response, limits: Limits = DEFAULT_LIMITS) -> R:
        """Read a successful response; raises `UnexpectedResponse` if the API would not send it.

        Past *limits* that is `ResponseTooLarge`.
        """
        data = json_body(response, limits)
        try:
            made: Any = hook_for(self.result_type)(data)
        except StructureError as error:
            raise unexpected(response, str(error)) from None
        made.__dict__["_response"] = response if not response.body else head_of(response)
        return made  # type: ignore[no-any-return]  # the type that the class declares

    def read(self, response: Response, limits: Limits) -> R:
        """`parse` within *limits*, which an operation of one's own need not know of."""
        if _takes_limits(type(self).parse):
            return self.parse(response, limits)
        return self.parse(response)

    def body(self) -> dict[str, Any]:
        """The JSON object that is sent."""
        known = self._in_body
        body = {k: v for k, v in self.__dict__.items() if v is not None and k in known}
        return body if self.extra_body is None else {**body, **self.extra_body}

    def headers(self, target: Target) -> dict[str, str]:
        """Give the headers that this operation has beyond those of *target*."""
        route = self.route
        is_plain = route.accept == JSON_TYPE and not route.betas
        if is_plain and self._heading.isdisjoint(self.__dict__):
            return {}
        own: dict[str, Any] = {}
        if route.accept != JSON_TYPE:
            own["accept"] = route.accept
        for attribute, name in self._in_headers.items():
            if attribute in self.__dict__:
                own[name] = self.__dict__[attribute]
        if self.betas or route.betas:
            betas = (*target.betas, *(self.betas or ()), *route.betas)
            own["anthropic-beta"] = ",".join(dict.fromkeys(betas))
        if self.extra_headers:
            own |= {name.lower(): value for name, value in self.extra_headers.items()}
        return own and {k: header_value(k, v) for k, v in own.items() if v is not None}

    def path_with_query(self) -> str:
        """Encode path and query."""
        path, query = self.route.path, self.extra_query or {}
        if "{" in path:
            path = path.format_map(
                {name: path_segment(name, getattr(self, name)) for name in path_names(path)}
            )
        if self.route.method != "POST":
            query = {**self.body(), **query}
        return with_query(path, query) if query else path

    def replace(self, **changes: Any) -> Self:
        """The same operation with some fields changed."""
        return type(self)(**{**self.__dict__, **changes})

    def to_dict(self) -> dict[str, Any]:
        """The operation as a JSON object, for a queue; `from_dict` reads it."""
        return {"operation": self.route.name, **loads(dumps(self._telling()))}

    @staticmethod
    def from_dict(data: JSON) -> "Operation[Any]":
        """Rebuild an operation from `to_dict`; raises `UsageError` for one that is not known."""
        values = dict(data)
        name = values.pop("operation", None)
        cls = cast("type[Operation[Any]] | None", registry.find(str(name)))
        if cls is None:
            raise UsageError(f"no operation is named {name!r}")
        try:
            return cls(**values)
        except TypeError as error:
            raise UsageError(f"{name}: {error}") from None

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Operation) or type(other) is not type(self):
            return NotImplemented
        return self.__dict__ == other.__dict__ or self.to_dict() == other.to_dict()

    def _telling(self) -> dict[str, Any]:
        """What was given and says more than to leave it out."""
        cls = type(self)
        return {k: v for k, v in self.__dict__.items() if v is not getattr(cls, k, None)}

    def __hash__(self) -> int:
        return hash(_hashable(self.to_dict()))

    def __repr__(self) -> str:
        given = (f"{k}={v!r}" for k, v in self._telling().items())
        return f"{type(self).__name__}({', '.join(given)})"


set_fields = Operation.__dict__["__dict__"].__set__
"""`set_fields(operation, values)` makes *values* the `__dict__` of a frozen operation."""


class StreamOperation(Operation[R], Generic[E, R]):
    """An operation whose response comes in pieces, of type `E`; sent as a whole, it gives `R`."""

    content_type: ClassVar[str | None] = "text/event-stream"
    """What the response has to be; None for anything."""

    def decoder(self, head: Response, limits: Limits = DEFAULT_LIMITS) -> "Decoder[E, R]":
        """What the body of a successful response, *head*, is fed to."""
        raise NotImplementedError


@operation
class WorkspaceOperation(Operation[R], Generic[R]):
    """An operation within a workspace; `workspace_id` picks it where the credential has several."""

    workspace_id: str | None = header("anthropic-workspace-id")


def _hashable(value: Any) -> Any:
    """JSON in a form that hashes alike where it compares alike: 1 and 1.0, keys in any order."""
    if isinstance(value, dict):
        return frozenset((key, _hashable(item)) for key, item in value.items())
    return tuple(map(_hashable, value)) if isinstance(value, list) else value


def too_large(size: int, limit: int) -> RequestTooLarge:
    """The error that the API's 413 would be, before anything is sent."""
    return RequestTooLarge(
        f"the request has {size} bytes, and the API takes {limit}",
        type="request_too_large",
        advice="Nothing was sent.",
    )
