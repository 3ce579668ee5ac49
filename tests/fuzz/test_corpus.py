"""The corpus without the fuzzer: seeds, what reached new code, and what once crashed."""

from pathlib import Path

import pytest
from fuzz_input import Given, cut
from fuzz_targets import TARGETS, run

HERE = Path(__file__).parent
CORPUS = HERE / "corpus"
INPUTS = {name: sorted((CORPUS / name).iterdir()) for name in TARGETS}


@pytest.mark.parametrize("name", TARGETS)
def test_the_corpus(name):
    """No input breaks what its target asserts, and nothing but our errors comes of it."""
    assert INPUTS[name]
    for path in INPUTS[name]:
        try:
            run(name, path.read_bytes())
        except Exception as error:
            error.add_note(f"the input is {path}")
            raise


@pytest.mark.parametrize("name", TARGETS)
def test_any_beginning_is_an_input(name):
    """An input that is cut short is a simpler case, and no error of the target's own."""
    shortest = min(INPUTS[name], key=lambda path: path.stat().st_size).read_bytes()
    for size in range(min(len(shortest), 24)):
        run(name, shortest[:size])


def test_every_target_has_a_folder():
    """The corpus has a folder for each target, and none for what is no target."""
    assert {path.name for path in CORPUS.iterdir()} == set(TARGETS)


def test_the_corpus_is_small():
    """It stays below 200 kB: it is a selection, not an archive."""
    assert sum(path.stat().st_size for path in CORPUS.rglob("*")) < 200_000


def test_decisions():
    """Decisions come from the bytes in their order, and are 0 after the last of them."""
    given = Given(b"\x05\x02\xffab\x01\x02")
    assert (given.number(4), given.text(), given.left) == (1, "\xffa", 3)
    assert (given.pick("xyz"), given.number(1000), given.number()) == ("z", 258, 0)
    assert given.rest() == b""


@pytest.mark.parametrize("seed", [0, 1, 7, 63, 64, 255])
def test_a_cut_loses_nothing(seed):
    """However it is cut, the pieces are the whole, and the same each time."""
    data = bytes(range(100))
    assert b"".join(cut(data, seed)) == data
    assert cut(data, seed) == cut(data, seed)
    assert (len(cut(data, seed)) == 1) is (seed == 0)
