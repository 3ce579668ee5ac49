"""The governor: it holds calls until the rate limit of the API has room for them.

    client = AsyncClient(governor="local")      # one limit for all clients of this process
    client.governor.snapshot()                  # what is known, and who waits

The API refuses what is over the limit, with a 429. A program that sends its calls as they come, and
repeats the refused ones, loses calls as soon as it has more of them than the limit allows. The
governor learns the limits from the headers of answers, and lets each call start when there is room.

- `booking` has the rules, as pure functions: `book` gives a start, `learn` takes an answer.
- `pools` says which calls share a limit, and reads costs and limits.
- `lines` has the calls that wait; `local` and `redis` have the states.
"""

from claude_lite.governor.governor import Governor, forget, governor_for

__all__ = ["Governor", "forget", "governor_for"]
