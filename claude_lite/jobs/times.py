"""The time limits of a queue must fit together."""

from claude_lite.errors import UsageError

__all__ = ["check_times"]


def check_times(
    *, attempt: float, job: float | None = None, redelivery: float | None = None
) -> None:
    """Check, when a worker starts, that its time limits fit together.

    An attempt has to end before the worker gives up its job. Both have to end before the broker
    takes the worker for dead and delivers the job to another worker: the call would be paid twice.

    Args:
        attempt: The seconds that one attempt may take: the client's `deadline`, or its `timeout`.
        job: The seconds after which the worker ends a job, such as Celery's `time_limit`.
        redelivery: The seconds after which the broker delivers a job again, such as RabbitMQ's
            `consumer_timeout` or the `visibility_timeout` of Redis and SQS.

    Raises:
        UsageError: Two limits do not fit; the message has both.

    """
    for name, value in (("attempt", attempt), ("job", job), ("redelivery", redelivery)):
        if value is not None and not value > 0:
            raise UsageError(f"{name} is {value!r}: it has to be a positive number of seconds")
    if job is not None and attempt >= job:
        raise UsageError(
            f"an attempt may take {attempt:g} s, and the worker ends a job after {job:g} s: give"
            " the client a shorter `deadline`, or the worker a longer limit"
        )
    longest = max(attempt, job or 0.0)
    if redelivery is not None and longest >= redelivery:
        raise UsageError(
            f"a job may take {longest:g} s, and the broker delivers it again after"
            f" {redelivery:g} s: give the client a shorter `deadline`, or the broker a longer limit"
        )
