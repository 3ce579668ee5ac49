"""Credentials of platforms that block: an async client gets them on a thread."""

import asyncio
import threading

import pytest
from driving import HELLO, answer, client

from claude_lite import CredentialMissing, TimedOut, never
from claude_lite.dialects import AWSKeys, Bedrock, BedrockMantle, Vertex, sigv4

pytest.importorskip("google.auth")
pytest.importorskip("botocore")


class Slow:
    """Credentials of Google whose refresh waits until it may go on."""

    def __init__(self):
        """Begin without a token."""
        self.token, self.threads, self.on = None, [], threading.Event()

    @property
    def valid(self):
        """Whether there is a token."""
        return self.token is not None

    def refresh(self, _request):
        """Make a token, later."""
        self.threads.append(threading.current_thread())
        self.on.wait(10.0)
        self.token = "google-token"


class Broken(Slow):
    """Credentials that cannot be used."""

    def refresh(self, _request):
        """Fail."""
        from google.auth.exceptions import RefreshError

        raise RefreshError("no")


def vertex(credentials, **options):
    """Make an async client for Vertex AI on a script."""
    dialect = Vertex(project="p", region="r", credentials=credentials)
    return client(
        "async", answer(), base_url=None, api_key=None, dialect=dialect, retry=never(), **options
    )


async def read(made):
    """Read a stream, and leave at its beginning."""
    async with made.messages.stream(**HELLO):
        pass


def test_a_refresh_does_not_block_the_loop():
    """One refresh, on a thread, serves all calls and streams at once; none follows it."""
    google = Slow()
    made = vertex(google)

    async def main():
        calls = [asyncio.create_task(made.messages.create(**HELLO)) for _ in range(5)]
        while not google.threads:  # noqa: ASYNC110  # it begins on a thread
            await asyncio.sleep(0.001)
        google.on.set()  # this would come too late if the loop were blocked
        await asyncio.gather(*calls)
        await made.messages.create(**HELLO)

    asyncio.run(main())
    assert len(google.threads) == 1
    assert google.threads[0] is not threading.main_thread()
    sent = {request.headers["authorization"] for request in made.transport.requests}
    assert (sent, len(made.transport.requests)) == ({"Bearer google-token"}, 6)


@pytest.mark.parametrize("use", [lambda made: made.messages.create(**HELLO), read])
def test_a_refresh_ends_with_the_deadline(use):
    """A refresh that hangs ends the call, or the stream, at its deadline."""
    google = Slow()
    made = vertex(google, deadline=0.05)
    with pytest.raises(TimedOut, match="of the dialect did not return") as caught:
        asyncio.run(use(made))
    google.on.set()
    assert (caught.value.phase, made.transport.requests) == ("total", [])


def test_a_refresh_that_fails():
    """Its error has the class that it has in a sync client."""
    with pytest.raises(CredentialMissing, match="no Google token"):
        asyncio.run(vertex(Broken()).messages.create(**HELLO))


def test_a_credential_of_the_client_goes_first():
    """With a credential of its own a client does not ask for one of the platform."""
    google = Slow()
    made = vertex(google, auth_token="token-0001")
    asyncio.run(made.messages.create(**HELLO))
    made = vertex(google, headers={"authorization": "Bearer token-0002"})
    asyncio.run(made.messages.create(**HELLO))
    assert google.threads == []


def test_keys_of_aws(monkeypatch):
    """Given keys and a bearer token are ready; what botocore finds is ready once it is found."""
    for name in ("AWS_BEARER_TOKEN_BEDROCK", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    assert Bedrock(region="r", keys=AWSKeys("a" * 9, "b" * 9)).is_ready()
    found = BedrockMantle(region="r")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "a" * 9)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "b" * 9)
    sigv4._session.cache_clear()
    sigv4._found.clear()
    assert not found.is_ready()
    made = client("async", answer(), base_url=None, api_key=None, dialect=found)
    asyncio.run(made.messages.create(**HELLO))
    assert found.is_ready()
    assert made.transport.requests[0].headers["authorization"].startswith("AWS4-HMAC-SHA256")
    sigv4._session.cache_clear()
    sigv4._found.clear()
    monkeypatch.setenv("AWS_BEARER_TOKEN_BEDROCK", "token-0001")
    assert found.is_ready()
