"""Operations of the API as values: each operation is declared once, as a class.

An operation builds a `Request` and reads a `Response`. Operations are frozen, can be compared and
pickled, and turn into JSON and back. So a program can send an operation, put it into a queue, store
it, or compare it in a test. An operation needs no client:

    operation = CreateMessage(model="claude-opus-4-6", max_tokens=100, messages=[...])
    request = operation.build(Target())
    message = operation.parse(Response(200, {}, body))

A class declares a `Route` and fields. If the path of the route has the name of a field in braces,
the field goes into the path. A field declared with `header` goes into a header; a field declared
with `local` is not sent. All other fields go into the JSON body if the method is POST, and into the
query if it is another method; a POST with `has_body=False` does not send them. A field that is None
is left out; a field of the body that is `NULL` is sent as null. For parameters without a field, use
`extra_body`, `extra_query` and `extra_headers`.
"""

import functools
import inspect
import json
from collections.abc import Callable, Mapping, Sequence
from hashlib import blake2b
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
from claude_lite.core.credentials import FRAMING_HEADERS, header_value, mask_headers, wrong_type
from claude_lite.core.json_text import dumps, loads
from claude_lite.core.responses import decompress_body, head_of, json_body, unexpected
from claude_lite.core.retry import Resend
from claude_lite.core.structure import StructureError, reader_for
from claude_lite.core.targets import JSON_TYPE, Target, path_segment, with_query
from claude_lite.errors import RequestTooLarge, UsageError
from claude_lite.given.addresses import union_of_betas
from claude_lite.given.null import NULL
from claude_lite.given.refusals import LIVE
from claude_lite.given.spellings import OPTIONS
from claude_lite.wire import DEFAULT_LIMITS, Limits, MaskedStr, Request, Response, is_secret_header

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
T = TypeVar("T")

JSON = Mapping[str, Any]
"""A JSON object, as a dict or as a model."""

ROUTING_HEADERS: Final = FRAMING_HEADERS | {"connection", "host", "http2-settings", "via"}
EXTRA_FIELDS: Final = frozenset({"extra_body", "extra_query", "extra_headers", "betas"})
MEGABYTE: Final = 1024 * 1024


def header(name: str) -> Any:
    """Declare a field of an operation that is sent as a header.

    Args:
        name: The name of the header.

    """
    return field(default=None, metadata={"header": name})


def local(default: Any = None) -> Any:
    """Declare a field of an operation that the library uses and does not send.

    Args:
        default: The default value of the field.

    """
    return field(default=default, metadata={"local": True})


# `field_specifiers` lacks `header` and `local`. So type checkers read `= header(...)` as a default
# value, and the field is optional.
@dataclass_transform(
    kw_only_default=True, frozen_default=True, eq_default=False, field_specifiers=(field,)
)
def operation(cls: C) -> C:
    """Make *cls* an operation: a frozen attrs class of keyword fields. A class decorator.

    The `__dict__` of an operation holds the fields that were given. It also holds each field that
    was not given but has a default other than None, unless it is a header field or a local field.
    The order is that of declaration. All defaults are also attributes of the class.
    """
    # Without new fields, and with one base, the class can use all that attrs made for its base.
    if not cls.__annotations__ and len(cls.__bases__) == 1:
        cls.__attrs_init_subclass__()  # type: ignore[attr-defined]  # defined in `Operation`
        return cls
    return frozen(kw_only=True, slots=False, init=False, eq=False, repr=False)(cls)


@frozen
class Route:
    """The endpoint of an operation, and the rules for its requests.

    Attributes:
        name: The name of the operation in logs and queues, such as "messages.create".
        method: The HTTP method.
        path: The path, with the names of fields in braces.
        resend: How often the request may be sent again if the API may have received it already.
            "safe": as often as needed, because a second request has no effect. "once": one time,
            because each request costs money. "never": each request makes another object.
        max_body: The API's limit for the body, in bytes. A larger body is not sent.
        has_body: Whether a POST has a JSON body.
        accept: The value of the header `accept`.
        betas: The beta flags that the operation needs.
        governed: Whether the API's rate limit for models applies, so that a governor admits it.

    """

    name: str
    method: str
    path: str
    resend: Resend = "safe"
    max_body: int = 32 * MEGABYTE
    has_body: bool = True
    accept: str = JSON_TYPE
    betas: tuple[str, ...] = ()
    governed: bool = False


class _Signature:
    """The signature that help(), notebooks and `inspect.signature` show: the declared fields."""

    def __get__(self, _: object, cls: Any) -> inspect.Signature:
        keyword = inspect.Parameter.KEYWORD_ONLY
        parameters = [
            inspect.Parameter(
                a.name,
                keyword,
                default=inspect.Parameter.empty if a.default is NOTHING else a.default,
                annotation=a.type,
            )
            for a in fields(cls)
        ]
        return inspect.Signature(parameters, return_annotation=cls)


SIGNATURE: Final = _Signature()

Converters = tuple[tuple[str, Callable[[Any], Any]], ...]


@functools.lru_cache(maxsize=1024)  # a program uses fewer combinations of field names
def kept_fields(cls: type, names: tuple[str, ...]) -> tuple[tuple[str, ...], Converters]:
    """Return the names of the fields to store in `__dict__`, and the converters of these fields.

    These are all fields that the caller gave (*names*). Fields whose default is not None are added,
    if they are neither header fields nor local fields. The names are in the order of declaration.

    Raises:
        TypeError: A field is not known, or a field that has no default is missing.

    """
    declared = {a.name: a for a in fields(cast("Any", cls))}
    for name in names:
        if name not in declared:
            hint = f": {OPTIONS[name]}" if name in OPTIONS else ""
            raise TypeError(f"{cls.__name__} has no field {name!r}{hint}")
    missing = [n for n, a in declared.items() if a.default is NOTHING and n not in names]
    if missing:
        raise TypeError(f"{cls.__name__} is missing the fields {', '.join(missing)}")
    with_default = {
        n for n, a in declared.items() if a.default not in (NOTHING, None) and not a.metadata
    }
    ordered = tuple(name for name in declared if name in names or name in with_default)
    converted = [(name, declared[name].converter) for name in ordered]
    return ordered, tuple((name, convert) for name, convert in converted if convert)


@functools.cache
def path_names(path: str) -> tuple[str, ...]:
    """Return the field names that are in braces in *path*."""
    return tuple(part.split("}")[0] for part in path.split("{")[1:])


def _checked_headers(given: Mapping[str, str] | None) -> Mapping[str, str] | None:
    if given is None:
        return None
    given = mask_headers(given)  # a copy, so that no credential can be added later
    for name, value in given.items():
        if is_secret_header(name) or isinstance(value, MaskedStr):
            raise UsageError(
                f"the header {name!r} in extra_headers is a credential, and operations are stored"
                " and logged: give the credential to the client, by with_options(api_key=...) or"
                " with_options(headers=...)"
            )
        if (plain := name.replace("_", "-")) in ROUTING_HEADERS or plain.startswith("proxy-"):
            raise UsageError(
                f"the header {name!r} in extra_headers would change where the request goes, or"
                " where it ends: leave it out; a client takes `host` and `connection` in headers="
            )
        if value is not None:
            header_value(name, value)
    return given


def checked_query(query: Any) -> Any:
    """Return *query*. Raises `UsageError` if it has a credential: gateways log the query."""
    if LIVE.search(str(query)):
        raise (query := UsageError("the query has a credential: give it to the client"))
    return query


def _checked_betas(betas: str | Sequence[str] | None) -> Sequence[str] | None:
    flags = (betas,) if isinstance(betas, str) else betas
    if wrong := [flag for flag in flags or () if not isinstance(flag, str)]:
        raise wrong_type("each flag in betas", "a str", wrong[0])
    return flags


@functools.cache
def _takes_limits(parse: Any) -> bool:
    # A user's `parse(self, response)` has two parameters.
    return len(inspect.signature(parse).parameters) > 2  # noqa: PLR2004


@operation
class Operation(Generic[R]):
    """Base of all operations. `R` is the type that a successful call returns.

    Two operations are equal if they have the same class and the same JSON.

    Attributes:
        route: The endpoint, set by each subclass.
        result_type: The model of the response, set by each subclass that does not override `parse`.
        extra_body: Keys to add to the JSON body, unchanged.
        extra_query: Parameters to add to the query.
        extra_headers: Headers to add to the request. A value of None removes a header that this
            operation sets, not a header of the client.
        betas: Beta flags. The header `anthropic-beta` gets the flags of the client, of `betas`, of
            `extra_headers` and of the route, each once.

    """

    route: ClassVar[Route]
    result_type: ClassVar[Any] = None

    _body_fields: ClassVar[frozenset[str]]
    _header_names: ClassVar[dict[str, str]]
    _affects_headers: ClassVar[frozenset[str]]
    __signature__: ClassVar[Any] = SIGNATURE

    extra_body: JSON | None = None
    extra_query: JSON | None = field(default=None, converter=checked_query)
    extra_headers: Mapping[str, str] | None = field(default=None, converter=_checked_headers)
    betas: Sequence[str] | None = field(default=None, converter=_checked_betas)

    def __init__(self, /, *positional: object, **given: Any) -> None:
        """Raise `TypeError` for a field that is missing or not known."""
        if positional:
            # `positional` is emptied, because a traceback may show variables.
            declared, positional = fields(cast("Any", type(self))), ()
            needed = ", ".join(f"{a.name}=..." for a in declared if a.default is NOTHING)
            raise TypeError(
                f"{type(self).__name__} takes its fields by name: write {needed or 'name=value'}"
            )
        names = tuple(given)
        try:
            ordered, converters = kept_fields(type(self), names)  # type: ignore[arg-type]  # a class is hashable
            if ordered != names:
                given = {n: given[n] if n in given else getattr(self, n) for n in ordered}
            for name, convert in converters:
                given[name] = convert(given[name])
        except BaseException:
            given.clear()  # a traceback may show variables, and these may hold a credential
            raise
        set_fields(self, given)

    @classmethod
    def __attrs_init_subclass__(cls) -> None:
        """Compute once which fields go where, and make each field's default a class attribute."""
        declared = fields(cast("Any", cls))
        for attribute in declared:
            if attribute.validator is not None or isinstance(attribute.default, Factory):  # type: ignore[arg-type]  # attrs types it as a function
                name = f"{cls.__name__}.{attribute.name}"
                raise TypeError(f"{name} has a validator or a factory: use a converter")
            if attribute.default is not NOTHING:
                setattr(cls, attribute.name, attribute.default)
        in_path = path_names(cls.route.path) if hasattr(cls, "route") else ()
        not_in_body = EXTRA_FIELDS | {a.name for a in declared if a.metadata} | set(in_path)
        cls._body_fields = frozenset(a.name for a in declared if a.name not in not_in_body)
        headers = {a.name: a.metadata.get("header") for a in declared}
        cls._header_names = {name: header for name, header in headers.items() if header}
        cls._affects_headers = frozenset({"betas", "extra_headers", *cls._header_names})
        if "route" in cls.__dict__:
            registry.register(cls.route.name, cls)

    @property
    def resend_rule(self) -> Resend:
        """How often the request may be sent again: `route.resend`. `RawRequest` overrides this."""
        return self.route.resend

    def build(self, target: Target) -> Request:
        """Build the request for this operation, without I/O.

        Args:
            target: The base URL, headers, beta flags and limits that all requests of a client
                share. The target of a client is `client.config.target`. `Target()` has the API's
                base URL and no credential.

        Raises:
            UsageError: A value is not JSON, not a valid id, or not a valid value of a header.
            RequestTooLarge: The body is larger than the API allows.

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
        """Read a successful response, without I/O.

        Args:
            response: The whole response. A compressed body is decompressed.
            limits: The client's limits.

        Returns:
            The result of the call.

        Raises:
            UnexpectedResponse: The body is not JSON, or does not fit `result_type`.
            ResponseTooLarge: The body is larger than *limits* allow.

        """
        data = json_body(response, limits)
        try:
            result: Any = reader_for(self.result_type)(data)
        except StructureError as error:
            body = decompress_body(response, limits.max_response)
            raise unexpected(response, str(error), body) from None
        # A model is frozen, so the response is put into its `__dict__`. The body is left out,
        # because the model has its JSON.
        result.__dict__["_response"] = response if not response.body else head_of(response)
        return result  # type: ignore[no-any-return]  # `result_type` is R

    def call_parse(self, response: Response, limits: Limits) -> R:
        """Call `parse`. A user's subclass may declare `parse(self, response)`, without limits."""
        if _takes_limits(type(self).parse):
            return self.parse(response, limits)
        return self.parse(response)

    def body(self) -> dict[str, Any]:
        """Return the fields to send: in the JSON body of a POST, in the query of other methods."""
        known = self._body_fields
        body = {k: v for k, v in self.__dict__.items() if v is not None and k in known}
        return body if self.extra_body is None else {**body, **self.extra_body}

    def headers(self, target: Target) -> dict[str, str]:
        """Return the headers that this operation adds to the headers of *target*.

        Args:
            target: The base URL, headers, beta flags and limits that all requests share.

        """
        route = self.route
        is_plain = route.accept == JSON_TYPE and not route.betas
        if is_plain and self._affects_headers.isdisjoint(self.__dict__):
            return {}  # fast: most operations add no header
        own: dict[str, Any] = {}
        if route.accept != JSON_TYPE:
            own["accept"] = route.accept
        for attribute, name in self._header_names.items():
            if attribute in self.__dict__:
                own[name] = self.__dict__[attribute]
        own |= self.extra_headers or {}
        asked = own.get("anthropic-beta", "")
        if asked is not None:  # None keeps the flags of the client, and no others
            betas = union_of_betas(*target.betas, *(self.betas or ()), str(asked), *route.betas)
            own["anthropic-beta"] = ",".join(betas) or None
        if NULL in own.values():
            raise UsageError(f"a header of {route.name} is NULL: only a JSON body can have null")
        return {k: header_value(k, v) for k, v in own.items() if v is not None}

    def path_with_query(self) -> str:
        """Return the path and the query, encoded."""
        path, query = self.route.path, self.extra_query or {}
        if "{" in path:
            path = path.format_map(
                {name: path_segment(name, getattr(self, name)) for name in path_names(path)}
            )
        if self.route.method != "POST":
            query = {**self.body(), **query}
        return with_query(path, query) if query else path

    def replace(self, **changes: Any) -> Self:
        """Return a copy of the operation with some fields changed.

        Args:
            **changes: The fields to change, by name.

        """
        changes = {**self.__dict__, **changes}
        return make(type(self), changes)

    def to_dict(self) -> dict[str, Any]:
        """Return the operation as a JSON object, for a queue; `from_dict` reads the object."""
        return {"operation": self.route.name, **loads(dumps(self._non_default_fields()))}

    def fingerprint(self) -> str:
        """Return a digest of the call, 32 hexadecimal digits.

        Equal calls have the same fingerprint in every process, on every machine. A local file
        counts by its path, not by its content.
        """
        return fingerprint_of(self.to_dict())

    @staticmethod
    def from_dict(data: JSON) -> "Operation[Any]":
        """Rebuild an operation from the JSON object that `to_dict` returned.

        Args:
            data: The JSON object.

        Raises:
            UsageError: The operation or one of its fields is not known, or a field is missing.

        """
        # A traceback may show variables, and these may hold a credential.
        if not isinstance(data, Mapping):
            raise (data := wrong_type("data", "a dict", data))
        values: dict[str, Any] = dict(data)
        del data
        name = values.pop("operation", None)
        cls = cast("type[Operation[Any]] | None", registry.find(str(name)))
        if cls is None:
            values.clear()
            raise UsageError(
                f"no operation is named {name!r}: import the module that declares the operation, or"
                ' correct the key "operation"'
            )
        if cls.route.method == "POST":
            body = cls._body_fields
            values = {k: NULL if v is None and k in body else v for k, v in values.items()}
        try:
            return make(cls, values)
        except TypeError as error:
            raise UsageError(f"{name}: {error}") from None

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Operation) or type(other) is not type(self):
            return NotImplemented
        return self.__dict__ == other.__dict__ or self.to_dict() == other.to_dict()

    def _non_default_fields(self) -> dict[str, Any]:
        """Return the fields whose value is not the default."""
        cls = type(self)
        return {k: v for k, v in self.__dict__.items() if v is not getattr(cls, k, None)}

    def __hash__(self) -> int:
        return hash(_hashable(self.to_dict()))

    def __repr__(self) -> str:
        given = (f"{k}={v!r}" for k, v in self._non_default_fields().items())
        return f"{type(self).__name__}({', '.join(given)})"


def fingerprint_of(data: JSON) -> str:
    """Return the fingerprint of the operation whose `to_dict` returned *data*."""
    canonical = json.dumps(data, sort_keys=True, separators=(",", ":"))
    return blake2b(canonical.encode(), digest_size=16).hexdigest()


def make(cls: Callable[..., T], given: dict[str, Any], /, *args: Any, **more: Any) -> T:
    """Return `cls(*args, **more, **given)`. If that fails, empty *given*.

    A caller that has *given* as a variable shows no credential in a traceback.
    """
    try:
        return cls(*args, **more, **given)
    except BaseException:
        given.clear()
        raise


# The class's descriptor for `__dict__` sets the `__dict__` of a frozen instance in one step.
set_fields = Operation.__dict__["__dict__"].__set__
"""`set_fields(operation, values)` makes *values* the `__dict__` of a frozen operation."""


class StreamOperation(Operation[R], Generic[E, R]):
    """An operation whose response is a stream of items of type `E`. The whole stream gives one `R`.

    Attributes:
        content_type: The content type that the response must have; None for any.

    """

    content_type: ClassVar[str | None] = "text/event-stream"

    def decoder(self, head: Response, limits: Limits = DEFAULT_LIMITS) -> "Decoder[E, R]":
        """Make the decoder for the body of a successful response.

        Args:
            head: The head of the response.
            limits: The client's limits.

        """
        raise NotImplementedError


@operation
class WorkspaceOperation(Operation[R], Generic[R]):
    """An operation within a workspace.

    Attributes:
        workspace_id: The workspace to use, if the credential belongs to several workspaces.

    """

    workspace_id: str | None = header("anthropic-workspace-id")


def _hashable(value: Any) -> Any:
    """Return JSON in a hashable form. Equal JSON has an equal hash: 1 == 1.0, keys in any order."""
    if isinstance(value, dict):
        return frozenset((key, _hashable(item)) for key, item in value.items())
    return tuple(map(_hashable, value)) if isinstance(value, list) else value


def too_large(size: int, limit: int) -> RequestTooLarge:
    """Return the error for a body of *size* bytes. The client raises the error before sending."""
    return RequestTooLarge(
        f"the request has {size} bytes, but the API takes at most {limit}",
        type="request_too_large",
        advice="Nothing was sent.",
    )
