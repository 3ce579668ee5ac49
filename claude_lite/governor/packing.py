"""Steps and replies as they travel between a process and `governor.lua`."""

from collections.abc import Sequence
from typing import Any

import orjson

from claude_lite.governor.booking import NOTHING, OK, REDIRECTED
from claude_lite.governor.shared import Answer, Booking, Known, Reply, Step, Want
from claude_lite.governor.state import ANSWERED, COLD_TICKET, Three, Ticket

__all__ = ["pack_step", "unpack_reply"]


def pack_step(step: Step) -> bytes:
    """Write a step as JSON. What is absent is left out: Lua has no null.

    The tickets are told that their answers are on the way.
    """
    data: dict[str, Any] = {"name": step.name, "ahead": step.ahead, "sleeping": step.sleeping}
    if step.is_back:
        data["back"] = True
    if step.known is not None:
        data["known"] = (step.known.limits, step.known.sizes, step.known.output_mean)
    if step.answers:
        data["answers"] = [*map(_pack_answer, step.answers)]
    if step.wants:
        data["wants"] = [(want.tokens_in, want.max_tokens, want.part) for want in step.wants]
    return orjson.dumps(data)


def _pack_answer(answer: Answer) -> dict[str, Any]:
    ticket = answer.ticket
    data: dict[str, Any] = {
        "start": ticket.start,
        "cost": ticket.cost,
        "epoch": ticket.epoch,
        "open": ticket.open,
    }
    if ticket.clocks is not None:
        data["clocks"], data["drifts"] = ticket.clocks, ticket.drifts
    status, used = answer.status, answer.used
    if status is not None:
        data["status"] = status
        if ticket.epoch == COLD_TICKET:
            ticket.epoch = ANSWERED
        if status and not OK <= status < REDIRECTED:
            used = NOTHING
    if used is not None:
        data["used"] = _numbers(used, 0)
        ticket.open = False
    if answer.limit is not None:
        data["limit"] = _numbers(answer.limit, 0)
    if answer.remaining is not None:
        data["remaining"] = _numbers(answer.remaining, -1)
    if answer.retry_after is not None:
        data["retry_after"] = answer.retry_after
    return data


def _numbers(values: Three, missing: float) -> list[float]:
    return [missing if value is None else value for value in values]


def unpack_reply(reply: Sequence[Any], wants: Sequence[Want]) -> Reply:
    """Read what `governor.lua` has returned.

    Args:
        reply: The reply: bytes, and one integer.
        wants: The wants of the step.

    Raises:
        ValueError: It is not a reply of this version.

    """
    now, processes, limits, sizes, output_mean, shares, *texts = reply
    known = Known(_three(limits), _three(sizes), float(output_mean))
    bookings = [_booking(text, want) for text, want in zip(texts, wants, strict=False)]
    return Reply(
        float(now),
        max(1, int(processes)),
        known if any(known.limits) else None,
        _three(shares),
        bookings,
    )


def _booking(text: bytes, want: Want) -> Booking:
    wait, *parts = text.split(b";")
    if not parts:
        return Booking(float(wait), None)
    cost = (1, want.tokens_in, float(parts[1]))
    if len(parts) == 2:  # noqa: PLR2004  # no limit is known
        return Booking(float(wait), Ticket(float(parts[0]), cost))
    start, _, clocks, drifts, epoch = parts
    ticket = Ticket(float(start), cost, _three(clocks), _three(drifts), int(epoch))
    return Booking(float(wait), ticket)


def _three(text: bytes) -> tuple[float, float, float]:
    one, two, three = text.split(b",")
    return float(one), float(two), float(three)
