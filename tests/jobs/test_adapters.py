"""The adapters without a broker: in memory, and what they refuse when a task is defined."""

import asyncio

import pytest
from celery import Celery
from celery.exceptions import Reject
from taskiq import AsyncBroker, InMemoryBroker
from taskiq_aio_pika import AioPikaBroker
from test_jobs import CALL, through_json

import claude_lite.jobs.celery
import claude_lite.jobs.taskiq
from claude_lite import AsyncClient, Client, never
from claude_lite.errors import InvalidRequest, UsageError
from claude_lite.jobs import Job
from claude_lite.testing import AsyncStubTransport, StubTransport, error_response, message

SOON = {"retry-after-ms": "1"}


def asking(*answers, **options):
    """Make an async client that gets these answers."""
    return AsyncClient(AsyncStubTransport(*answers), api_key="none", deadline=900, **options)


def payload(**options):
    """Make the payload of a job."""
    return through_json(Job.of(CALL, **options).to_dict())


def celery(client, **options):
    """Make a task of Celery that runs where it is called."""
    app = Celery("calls", broker="memory://", set_as_current=False)
    app.conf.task_always_eager = True
    return claude_lite.jobs.celery.call_task(app, client, **options)


def in_memory(client, *jobs):
    """Run jobs as tasks of taskiq in memory; return their results."""

    async def main():
        broker = InMemoryBroker()
        ask = claude_lite.jobs.taskiq.call_task(broker, client)
        await broker.startup()
        tasks = [await ask.kiq(job) for job in jobs]
        results = [await task.wait_result(timeout=30) for task in tasks]
        await broker.shutdown()
        return results

    return asyncio.run(main())


def test_taskiq_in_memory():
    """A task waits in its process where there is no RabbitMQ; attempts count over its waits."""
    limited = error_response(529, headers=SOON)
    (result,) = in_memory(asking(limited, limited, message("Hi")), payload(meta={"row": 1}))
    assert not result.is_err
    assert result.return_value["result"]["content"][0]["text"] == "Hi"
    assert (result.return_value["attempts"], result.return_value["meta"]) == (3, {"row": 1})


def test_taskiq_keeps_errors():
    """The error that ends a job is the error of the task, and so is a payload that is no job."""
    refused, wrong = in_memory(asking(error_response(400)), payload(), {"a": 1})
    assert isinstance(refused.error, InvalidRequest)
    assert refused.error.details["fingerprint"] == CALL.fingerprint()
    assert isinstance(wrong.error, UsageError)


@pytest.mark.parametrize("sync", [True, False], ids=["sync", "async"])
def test_celery_in_its_process(sync):
    """An eager task waits where it is; the client may be sync or async."""
    answers = error_response(529, headers=SOON), message("Hi")
    client = Client(StubTransport(*answers), api_key="none") if sync else asking(*answers)
    client = client.with_options(deadline=900)
    done = celery(client).delay(payload()).get()
    assert (done["attempts"], done["result"]["content"][0]["text"]) == (2, "Hi")


def test_celery_keeps_errors():
    """The error that ends a job is the error of the task."""
    ask = celery(asking(error_response(400), error_response(529), retry=never()))
    with pytest.raises(InvalidRequest):
        ask.delay(payload()).get()
    with pytest.raises(UsageError, match="is no job"):
        ask.delay({"a": 1}).get()


@pytest.mark.slow
def test_a_broker_that_takes_no_next_delivery():
    """If Celery's broker takes no next delivery of a job, the delivery is not dropped."""
    limited = error_response(529, headers={"retry-after": "1"})
    app = Celery("calls", broker="amqp://127.0.0.1:1//", set_as_current=False)
    app.conf.task_publish_retry = False
    ask = claude_lite.jobs.celery.call_task(app, asking(limited))
    ask.push_request(called_directly=False, id="t", delivery_info={}, retries=0)
    with pytest.raises(Reject) as rejected:
        ask.run(payload())
    assert rejected.value.requeue


class ListQueueBroker(InMemoryBroker):
    """Named like the broker of taskiq-redis that acknowledges nothing."""


class PubSubBroker(InMemoryBroker):
    """Named like the broker of taskiq-redis that keeps nothing."""


class RedisStreamBroker(InMemoryBroker):
    """Named like the broker of taskiq-redis that strands jobs."""


@pytest.mark.parametrize("broker", [ListQueueBroker, PubSubBroker])
def test_brokers_that_lose_jobs(broker):
    """A broker that loses the jobs of a killed worker is refused."""
    with pytest.raises(UsageError, match=f"{broker.__name__} loses"):
        claude_lite.jobs.taskiq.call_task(broker(), asking())


def test_brokers_that_strand_jobs():
    """A broker that may strand the jobs of a killed worker is warned of."""
    with pytest.warns(UserWarning, match="may strand"):
        claude_lite.jobs.taskiq.call_task(RedisStreamBroker(), asking())


def test_tasks_of_taskiq_are_async():
    """A sync client would block the worker's event loop."""
    with pytest.raises(UsageError, match="need an AsyncClient, not Client"):
        claude_lite.jobs.taskiq.call_task(InMemoryBroker(), Client("emulator", api_key="none"))


def rabbitmq():
    """Make a broker that is never started."""
    return AioPikaBroker("amqp://127.0.0.1:1/")


@pytest.mark.parametrize(
    ("options", "numbers"),
    [
        ({}, ("3600 s", "1800 s")),
        ({"consumer_timeout": 900}, ("3600 s", "900 s")),
        ({"timeout": 60, "consumer_timeout": 7200}, ("3600 s", "60 s")),
    ],
)
def test_times_that_do_not_fit_in_taskiq(options, numbers):
    """The client's deadline, taskiq's timeout and RabbitMQ's are compared, with their numbers."""
    client = asking().with_options(deadline=3600)
    with pytest.raises(UsageError) as error:
        claude_lite.jobs.taskiq.call_task(rabbitmq(), client, **options)
    assert all(number in str(error.value) for number in numbers)
    claude_lite.jobs.taskiq.call_task(rabbitmq(), client, consumer_timeout=7200)


@pytest.mark.parametrize(
    ("broker", "options", "numbers"),
    [
        ("amqp://127.0.0.1:1", {}, ("3600 s", "1800 s")),
        ("redis://127.0.0.1:1", {"visibility_timeout": 600}, ("3600 s", "600 s")),
        ("redis://127.0.0.1:1", {}, ("3600 s", "3600 s")),
        ("sqs://", {}, ("3600 s", "1800 s")),
    ],
)
def test_times_that_do_not_fit_in_celery(broker, options, numbers):
    """The client's deadline and the broker's time of redelivery are compared."""
    app = Celery("calls", broker=broker, set_as_current=False)
    app.conf.broker_transport_options = options
    client = asking().with_options(deadline=3600)
    with pytest.raises(UsageError) as error:
        claude_lite.jobs.celery.call_task(app, client)
    assert all(number in str(error.value) for number in numbers)
    claude_lite.jobs.celery.call_task(app, client.with_options(deadline=300))


def test_the_settings_of_a_celery_app():
    """A worker holds few jobs, and RabbitMQ confirms; other options of the broker stay."""
    app = Celery("calls", broker="amqp://127.0.0.1:1", set_as_current=False)
    app.conf.broker_transport_options = {"max_retries": 1}
    ask = claude_lite.jobs.celery.call_task(app, asking(), time_limit=1000)
    assert app.conf.worker_prefetch_multiplier == 1
    assert app.conf.broker_transport_options == {"max_retries": 1, "confirm_publish": True}
    assert (ask.acks_late, ask.reject_on_worker_lost, ask.time_limit) == (True, True, 1000)


def test_a_task_has_a_name():
    """The name is given, so that workers and producers of several modules share the task."""
    ask = claude_lite.jobs.taskiq.call_task(InMemoryBroker(), asking(), name="mine")
    assert ask.task_name == "mine"
    assert isinstance(ask.broker, AsyncBroker)
    assert celery(asking()).name == "claude.call"
