"""What a synchronous and an asynchronous recording transport have in common.

The settings and what the environment makes of them, the transport inside, and the pace of a
replay. It waits for nothing and reads no body: that has a colour.
"""

import os
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Final, Generic, Literal, Self, TypeVar, cast, get_args

from claude_lite.errors import UsageError
from claude_lite_transports.recording.cassette import CassetteMiss, Interaction
from claude_lite_transports.recording.redaction import Redactor
from claude_lite_transports.recording.tape import Tape

Mode = Literal["none", "once", "new_episodes", "all", "rewrite", "off"]

T = TypeVar("T")

_VARIABLE: Final = "CLAUDE_LITE_RECORD"


def effective_mode(
    mode: str, path: Path, *, force: bool, environ: Mapping[str, str] = os.environ
) -> Mode:
    """Decide what a mode comes to here, "once" being either "none" or "rewrite".

    `force` keeps the mode; else the variable CLAUDE_LITE_RECORD replaces it; else it is "none"
    where CI is set, because a test that reaches for the network there is a mistake. Raises
    `UsageError` for an unknown mode.
    """
    if not force:
        in_ci = environ.get("CI", "").lower() not in ("", "0", "false")
        mode = environ.get(_VARIABLE) or ("none" if in_ci else mode)
    if mode == "once":
        mode = "none" if path.exists() else "rewrite"
    if mode not in get_args(Mode):
        raise UsageError(f"no such recording mode: {mode!r}", advice=f"Use one of {get_args(Mode)}")
    return cast("Mode", mode)


class Recorder(Generic[T]):
    """What both transports share: the settings, the transport inside, and the pace."""

    def __init__(
        self,
        path: str | os.PathLike[str],
        inner: T | Callable[[], T] | None = None,
        mode: Mode = "none",
        *,
        force: bool = False,
        allow_repeats: bool = False,
        speed: float | None = None,
        redact: Iterable[str] = (),
        request_headers: Iterable[str] = (),
        response_headers: Iterable[str] = (),
        strict: bool = True,
        save_on_error: bool = False,
    ) -> None:
        """Replay from `path`, or record to it what `inner` does.

        `inner` is a transport, or a function that makes one when it is first needed; it is closed
        with this one, and may be None where nothing is recorded.

        `mode` is "none" (replay only), "once" (record if there is no file, else replay only),
        "new_episodes" (replay what is known, record the rest), "all" (record; what is asked for
        again replaces what was recorded), "rewrite" (record, and begin with an empty file) or "off"
        (pass everything through). The environment has a say: CLAUDE_LITE_RECORD names another mode,
        and where CI is set it is "none". `force=True` overrules both.

        An answer is given as often as it was recorded; with `allow_repeats` the last one is
        repeated. A replay is immediate, waits between retries included; `speed=1.0` keeps the pace
        of the recording, 2.0 is twice as fast.

        `redact` are texts to replace wherever they occur; credentials need not be among them.
        `request_headers` and `response_headers` are names to save beyond the usual (with a "*" at
        the end, all that begin so).

        What was recorded is saved by `save`, by `close`, or at the end of a `with` block, unless
        an error ends it and `save_on_error` is false. A block that ends well raises
        `InteractionsUnused` if something recorded was not asked for, unless `strict` is false.

        Raises `UsageError` for an unknown mode, a broken file, or no `inner` to record from.
        """
        self.mode: Mode = effective_mode(mode, Path(path), force=force)
        if speed is not None and speed <= 0:
            raise UsageError("`speed` is a factor greater than 0, or None for no waiting")
        self._redactor = Redactor(redact, request_headers, response_headers)
        self._tape = Tape(Path(path), self.mode, self._redactor, allow_repeats=allow_repeats)
        self._speed = speed
        self._strict = strict
        self._save_on_error = save_on_error
        self._contain(inner)

    @classmethod
    def sharing(cls, other: "Recorder[Any]", inner: T | Callable[[], T] | None = None) -> Self:
        """Share the file and the settings of another one, which may be of the other colour."""
        new = object.__new__(cls)
        new.__dict__.update(other.__dict__)
        new._contain(inner)
        return new

    def _contain(self, inner: T | Callable[[], T] | None) -> None:
        if inner is None and self.mode != "none":
            raise UsageError(f"mode {self.mode!r} needs a transport to record from, as `inner`")
        self._make = cast("Callable[[], T]", inner)
        self._made: T | None = None if callable(inner) else inner
        self._making = threading.Lock()

    def unused(self) -> list[Interaction]:
        """Give what is recorded and was not asked for."""
        return self._tape.unused()

    @property
    def misses(self) -> list[CassetteMiss]:
        """What was asked for and had no answer, as the errors that were raised for it."""
        return self._tape.misses

    def save(self) -> None:
        """Write what was recorded, if anything was; raises `SecretInCassette` if it must not be."""
        self._tape.save()

    def monotonic(self) -> float:
        """Tell the time by the clock of the transport inside, if it has one of its own."""
        own: Callable[[], float] = getattr(self._made, "monotonic", time.monotonic)
        return own()

    def _inner(self) -> T:
        with self._making:
            if self._made is None:
                self._made = self._make()
            return self._made

    def _patience(self, seconds: float) -> float:
        """Say how long to wait when asked to: a mere replay has its own pace."""
        return self._pace(seconds) if self.mode == "none" else seconds

    def _pace(self, seconds: float) -> float:
        return seconds / self._speed if self._speed else 0.0

    def _leave(self, error: BaseException | None) -> None:
        self._tape.holds -= 1
        if error is not None and not self._save_on_error:
            self._tape.forget()
