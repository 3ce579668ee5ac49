"""What an exchange asks of a governor: a turn for each attempt, under the rate limit of the API.

A governor lets no more attempts through than the rate limit allows. Before an attempt, the exchange
gives the client an `Admit`; the client asks the governor, and waits. The exchange tells the turn
what became of the attempt. `claude_lite.governor` has the governor.
"""

from collections.abc import Awaitable, Callable
from typing import Any, Final, NamedTuple, Protocol, runtime_checkable

from claude_lite.wire import Clock, Request, Response

PATIENCE: Final = 2.0  # seconds that a call with `retry=defer()` waits itself, before a queue does


class Admit(NamedTuple):  # made faster than a class of attrs
    """Wait for a turn, and report the turn with `receive_turn`.

    Attributes:
        operation: The operation of the call.
        request: The request that waits.
        account: The origin of the API, and the name of the function that gives the credential.
        priority: "interactive" or "background".
        defers: Whether a queue waits, so that the call does not wait for long.
        time_left: The seconds until the deadline of the call; None if there is no deadline.
        clock: The clock of the call.

    """

    operation: Any
    request: Request
    account: tuple[str, str]
    priority: str
    defers: bool
    time_left: float | None
    clock: Clock


class Turn(Protocol):
    """The permission to make one attempt.

    Attributes:
        held: The seconds for which the attempt has waited.

    """

    held: float

    def settle(
        self, head: Response | None = None, usage: object = None, *, sent: bool = True
    ) -> None:
        """Tell what became of the attempt. Never waits.

        Args:
            head: The head of the response, or None if none came (or if it was told before).
            usage: The usage of the answer, or None if it is unknown. A stream has its usage at its
                end, so the turn of a stream is settled twice: first with the head.
            sent: Whether the API may have received the request.

        """
        ...


@runtime_checkable
class Gate(Protocol):
    """What gives turns, such as a governor. It belongs to no client: all clients may share one."""

    def enter(self, admit: Admit, sleep: Callable[[float], None], /) -> Turn | float:
        """Wait for a turn.

        Args:
            admit: The attempt that waits.
            sleep: The function that waits for so many seconds.

        Returns:
            The turn; or the seconds until there is a turn, if that would be too late for the call.

        """
        ...

    def enter_async(
        self, admit: Admit, sleep: Callable[[float], Awaitable[None]], /
    ) -> Awaitable[Turn | float]:
        """Wait for a turn; see `enter`."""
        ...
