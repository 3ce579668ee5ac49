"""What the sync and the async recording transport share.

The settings, and how the environment changes them; the inner transport; the pace of a replay. It
never waits and never reads a body, because the sync and the async transport do that differently.
"""

import os
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, ClassVar, Final, Generic, Literal, Self, TypeVar, cast, get_args

from claude_lite.errors import UsageError
from claude_lite_transports.recording.cassette import CassetteMiss, Interaction
from claude_lite_transports.recording.redaction import Redactor, masked_literals
from claude_lite_transports.recording.tape import Tape

Mode = Literal["none", "once", "new_episodes", "all", "rewrite", "off"]

T = TypeVar("T")

_VARIABLE: Final = "CLAUDE_LITE_RECORD"


def effective_mode(
    mode: str, path: Path, *, force: bool, environ: Mapping[str, str] = os.environ
) -> Mode:
    """Return the mode that applies here; "once" becomes "none" or "rewrite".

    Args:
        mode: The mode that was asked for.
        path: The file; whether it exists decides what "once" means.
        force: Whether *mode* applies whatever the environment says. Otherwise CLAUDE_LITE_RECORD
            names the mode, or it is "none" if CI is set: a test that needs the network in CI is a
            mistake.
        environ: The variables of the environment.

    Raises:
        UsageError: There is no such mode.

    """
    if not force:
        in_ci = environ.get("CI", "").lower() not in ("", "0", "false")
        mode = environ.get(_VARIABLE) or ("none" if in_ci else mode)
    if mode == "once":
        mode = "none" if path.exists() else "rewrite"
    if mode not in get_args(Mode):
        raise UsageError(f"{mode!r} is not a recording mode", advice=f"Use one of {get_args(Mode)}")
    return cast("Mode", mode)


class Recorder(Generic[T]):
    """What both recording transports share: the settings, the inner transport, and the pace."""

    governed: ClassVar[bool] = False

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
        """Replay a file, or record to it what another transport does.

        Recordings are saved by `save`, by `close`, or at the end of a `with` block.

        Args:
            path: The file.
            inner: The transport to record from, or a function that makes it when it is first
                needed. It is closed with this one. It may be None if nothing is recorded.
            mode: "none": only replay. "once": record if there is no file, otherwise only replay.
                "new_episodes": replay what is recorded, and record the rest. "all": record, and
                replace the recorded answers to requests that are made again. "rewrite": record
                to an empty file. "off": pass everything through. The variable CLAUDE_LITE_RECORD
                names another mode; without it, the mode is "none" if CI is set.
            force: Use *mode* whatever the environment says.
            allow_repeats: Give the last recorded answer again and again. By default an answer is
                given as often as it was recorded.
            speed: 1.0 replays at the pace of the recording, 2.0 twice as fast. By default a
                replay never waits, not even between retries.
            redact: Texts to replace wherever they occur. Credentials need not be among them.
            request_headers: Names of request headers to save beyond the usual ones; a "*" at the
                end of a name stands for any rest.
            response_headers: The same for responses.
            strict: Raise `InteractionsUnused` if a `with` block ends without an error and a
                recorded interaction was not used.
            save_on_error: Save even if an error ends a `with` block.

        Raises:
            UsageError: The mode is unknown, the file is broken, or there is no *inner* to record
                from.

        """
        redact = masked_literals(redact)  # before an error: a traceback may show variables
        self.mode: Mode = effective_mode(mode, Path(path), force=force)
        if speed is not None and speed <= 0:
            raise UsageError(
                f"`speed` has to be greater than 0, or None for a replay without waits: {speed}"
            )
        self._redactor = Redactor(redact, request_headers, response_headers)
        self._tape = Tape(Path(path), self.mode, self._redactor, allow_repeats=allow_repeats)
        self._speed = speed
        self._strict = strict
        self._save_on_error = save_on_error
        self._contain(inner)

    @classmethod
    def sharing(cls, other: "Recorder[Any]", inner: T | Callable[[], T] | None = None) -> Self:
        """Share the file and the settings of another recorder, which may be sync or async."""
        new = object.__new__(cls)
        new.__dict__.update(other.__dict__)
        new._contain(inner)
        return new

    def _contain(self, inner: T | Callable[[], T] | None) -> None:
        if inner is None and self.mode != "none":
            raise UsageError(
                f"the mode {self.mode!r} needs a transport to record from: pass `inner`"
            )
        self._make = cast("Callable[[], T]", inner)
        self._made: T | None = None if callable(inner) else inner
        self._making = threading.Lock()

    def unused(self) -> list[Interaction]:
        """List the recorded interactions that were not used."""
        return self._tape.unused()

    @property
    def misses(self) -> list[CassetteMiss]:
        """The errors that were raised for requests without a recorded answer."""
        return self._tape.misses

    def save(self) -> None:
        """Write new recordings, if any; raises `SecretInCassette` if one shows a secret."""
        self._tape.save()

    def monotonic(self) -> float:
        """Return the time of the inner transport's clock, if it has its own."""
        own: Callable[[], float] = getattr(self._made, "monotonic", time.monotonic)
        return own()

    def _inner(self) -> T:
        with self._making:
            if self._made is None:
                self._made = self._make()
            return self._made

    def _patience(self, seconds: float) -> float:
        """Return how long `sleep` has to wait: a replay without an inner transport has its pace."""
        return self._pace(seconds) if self.mode == "none" else seconds

    def _pace(self, seconds: float) -> float:
        return seconds / self._speed if self._speed else 0.0

    def _leave(self, error: BaseException | None) -> None:
        self._tape.holds -= 1
        if error is not None and not self._save_on_error:
            self._tape.forget()
