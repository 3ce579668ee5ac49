"""The rules in Lua are the rules in Python."""

import random
from importlib.resources import files

import orjson
import pytest

from claude_lite.governor.packing import pack_step, unpack_reply
from claude_lite.governor.shared import Answer, Known, Shared, Step, Want
from claude_lite.governor.state import State

SCRIPT = files("claude_lite.governor").joinpath("governor.lua").read_text(encoding="utf-8")
START = 1_700_000_000.0
CLOSE = {"abs": 2e-3, "rel": 1e-6}  # replies have six digits after the point

FIELDS = ("limit", "rate", "size", "clock", "share", "drift", "full_at", "rich_at", "plenty_at")


class Both:
    """The same steps in Redis and in Python."""

    def __init__(self, client, name):
        self.client, self.name = client, name
        self.script = client.register_script(SCRIPT)
        self.shared = Shared()
        self.tickets = []  # pairs: of Redis, of Python

    def step(self, now, *, wants=(), answers=(), **options):
        """Make a step in both, and compare the replies and the states."""
        theirs = Step("me", wants=wants, answers=[one for one, _ in answers], **options)
        ours = Step("me", wants=wants, answers=[two for _, two in answers], **options)
        data = orjson.loads(pack_step(theirs)) | {"now": now}
        raw = self.script(keys=[f"{self.name}:s", f"{self.name}:p"], args=[orjson.dumps(data)])
        got, wanted = unpack_reply(raw, wants), self.shared.step(now, ours)
        assert got.known == wanted.known or got.known.limits == wanted.known.limits
        assert got.shares == pytest.approx(wanted.shares, **CLOSE)
        assert len(got.bookings) == len(wanted.bookings)
        for one, two in zip(got.bookings, wanted.bookings, strict=True):
            assert one.wait == pytest.approx(two.wait, **CLOSE)
            assert (one.ticket is None) == (two.ticket is None)
            if one.ticket is not None:
                assert one.ticket.cost == pytest.approx(two.ticket.cost, **CLOSE)
                assert one.ticket.epoch == two.ticket.epoch
                self.tickets.append((one.ticket, two.ticket))
        self.compare()

    def compare(self):
        """Compare the states, number by number."""
        unpack = "return cjson.encode(cmsgpack.unpack(redis.call('GET', KEYS[1])))"
        theirs = orjson.loads(self.client.eval(unpack, 1, f"{self.name}:s"))
        state = self.shared.state
        for field in FIELDS:
            ours = [getattr(bucket, field) for bucket in state.buckets]
            assert theirs.pop(field) == pytest.approx(ours, **CLOSE), field
        assert theirs.pop("back_at") == pytest.approx(self.shared.back_at, **CLOSE)
        names = {name for name in State.__slots__ if not name.startswith("__")} - {"buckets"}
        assert theirs.keys() == names
        for name, value in theirs.items():
            assert value == pytest.approx(getattr(state, name), **CLOSE), name


@pytest.fixture
def client(redis_server):
    """Give a client of an empty Redis."""
    import redis

    with redis.Redis.from_url(redis_server.url) as client:
        client.flushall()
        yield client


def told(rnd, limits):
    """Make up what an answer tells."""
    status = rnd.choice([200, 200, 200, 200, 201, 429, 529, 0, 400, -1, None])
    answer = {"status": status}
    if rnd.random() < 0.9 and status in {200, 201, 429}:
        answer["limit"] = [*limits] if rnd.random() < 0.9 else [None, *limits[1:]]
        answer["remaining"] = [
            rnd.choice([0, int(n / 60 * rnd.random()), n // 60, n, None]) if n else -1
            for n in limits
        ]
    if status == 429:
        answer["retry_after"] = rnd.choice([None, 0.0, 1, 3, 20])
    if status in {200, 201, None}:
        answer["used"] = (1, rnd.randrange(1, 4000), rnd.randrange(1, 800))
    return answer


@pytest.mark.slow
@pytest.mark.parametrize("part", range(8))
def test_redis_and_python_do_the_same(client, part):
    """900 random steps in 15 stories: the same replies, and the same state after each step."""
    for seed in range(part * 15, part * 15 + 15):
        rnd = random.Random(seed)  # noqa: S311  # no secret
        both, now = Both(client, str(seed)), START + rnd.random()
        limits = [
            rnd.choice([0, 150, 2400]),
            rnd.choice([0, 2_000_000]),
            rnd.choice([0, 400_000, 60_000]),
        ]
        for _ in range(60):
            pause = rnd.choice([0.0, 0.003, 0.1, 1.0, rnd.choice([0.05, 30.0, -0.5, -20.0])])
            now = round(now + pause, 6)
            if rnd.random() < 0.03:
                limits = [limit // 10 or limit for limit in limits]
            answers = []
            while both.tickets and rnd.random() < 0.5:
                pair = both.tickets.pop(rnd.randrange(len(both.tickets)))
                what = told(rnd, limits)
                answers.append(tuple(Answer(ticket, **what) for ticket in pair))
                if what["status"] == 200 and rnd.random() < 0.3:  # a stream has an end, too
                    both.tickets.append(pair)
            wants = [
                Want(rnd.randrange(1, 3000), rnd.choice([100, 1024]), rnd.choice([0.5, 1.0]))
                for _ in range(rnd.choice([0, 0, 1, 3, 20]))
            ]
            known = Known((2400.0, 0.0, 60_000.0), (1.0, 0.0, 2.5), 90.0)
            both.step(
                now,
                wants=wants,
                answers=answers,
                sleeping=rnd.choice([0, 0, 3]),
                ahead=rnd.choice([0.5, 0.001, 30.0]),
                known=known if rnd.random() < 0.05 else None,
                is_back=rnd.random() < 0.5,
            )
