"""The file of results: nothing is lost or overwritten; in the end it has one line a request."""

import re
import subprocess
import sys

import attrs
import orjson
import pytest

from claude_lite import Message, Overloaded, UsageError
from claude_lite.bulk import Item, Outcome
from claude_lite.bulk.requests_file import operation_from
from claude_lite.bulk.results_file import ResultsFile, lock
from claude_lite.core.structure import structure


def answer(name, line=1):
    """Make a success."""
    usage = {"input_tokens": 1, "output_tokens": 1}
    data = {"id": "msg_1", "content": [], "model": "m", "usage": usage, "type": "message"}
    return Outcome(line, name, structure(data, Message), 1, 2.0)


def failure(name, line=1):
    """Make a failure."""
    return Outcome(line, name, Overloaded("busy"), 3, 2.0)


def bad(line):
    """Make the outcome of a bad line."""
    return Outcome(line, None, UsageError("not JSON"))


def write(path, *outcomes, mode="new"):
    """Write outcomes, and give the names that were answered before."""
    with ResultsFile(path, mode) as file:
        before = set(file.answered)
        for outcome in outcomes:
            file.write(outcome)
    return before


def content(path):
    """Give the name and the kind of each line."""
    lines = [orjson.loads(line) for line in path.read_bytes().splitlines()]
    return [(line["custom_id"] or line["line"], line["result"]["type"]) for line in lines]


@pytest.fixture
def path(tmp_path):
    """Give the path of a file that is not there yet."""
    return tmp_path / "results.jsonl"


def test_an_outcome_is_on_disk_when_write_returns(path):
    """Another process sees each line whole, before the file is closed."""
    with ResultsFile(path) as file:
        file.write(answer("a"))
        assert path.read_bytes() == orjson.dumps(answer("a").to_dict()) + b"\n"


def test_a_file_that_is_there_is_not_touched(path):
    """Without a word from the user, an existing file is refused."""
    path.write_text("precious")
    with pytest.raises(FileExistsError):
        ResultsFile(path)
    assert path.read_text() == "precious"


@pytest.mark.parametrize("mode", ["resume", "replace"])
def test_one_run_writes_a_file(path, mode):
    """A file that is open is refused in the same and in another process, and is not changed."""
    code = "import sys; from claude_lite.bulk import ResultsFile; ResultsFile(*sys.argv[1:])"
    with ResultsFile(path) as file:
        file.write(answer("a"))
        before = path.read_bytes()
        with pytest.raises(UsageError, match="another run is writing"):
            ResultsFile(path, mode)
        done = subprocess.run(  # noqa: S603  # this interpreter
            [sys.executable, "-c", code, str(path), mode],
            capture_output=True,
            text=True,
            check=False,
        )
        assert "another run is writing" in done.stderr
        assert path.read_bytes() == before
    ResultsFile(path, mode).close()


def test_a_file_that_was_just_replaced_is_refused(path, tmp_path):
    """The lock of a file that another run has replaced meanwhile is worth nothing."""
    path.write_bytes(b"")
    with path.open("ab") as old:
        (tmp_path / "new").write_bytes(b"")
        (tmp_path / "new").replace(path)
        with pytest.raises(UsageError, match="another run"):
            lock(old, path)


@pytest.mark.parametrize("begun", [b"", b'{"cus', b'{"custom_id":"b","result":{"type":"suc'])
@pytest.mark.parametrize("nuls", [1, 5000])
def test_a_tail_of_nuls_is_cut(path, begun, nuls):
    """What a power cut leaves, with or without the beginning of a line, is no obstacle."""
    write(path, answer("a"))
    whole = path.read_bytes()
    path.write_bytes(whole + begun + b"\0" * nuls)
    assert write(path, answer("b"), mode="resume") == {"a"}
    assert content(path) == [("a", "succeeded"), ("b", "succeeded")]


def test_the_hash_of_a_request_is_in_its_line(path):
    """It is known when the file is opened again; a line of an older version has none."""
    known = attrs.evolve(answer("a"), request_hash="0123456789abcdef")
    write(path, known, answer("b"))
    with ResultsFile(path, "resume") as file:
        assert file.answered == {"a": "0123456789abcdef", "b": None}


def test_the_hash_of_a_request_is_that_of_its_content():
    """Neither the order of keys nor `stream` count; any other change does."""
    one, two, three, four = (
        Item(1, "a", operation_from(params)).request_hash
        for params in (
            {"model": "m", "max_tokens": 1, "messages": [{"role": "user", "content": "é"}]},
            {
                "stream": True,
                "messages": [{"content": "é", "role": "user"}],
                "max_tokens": 1,
                "model": "m",
            },
            {"model": "m", "max_tokens": 2, "messages": [{"role": "user", "content": "é"}]},
            {
                "model": "m",
                "max_tokens": 1,
                "messages": [{"role": "user", "content": "é"}],
                "system": None,
            },
        )
    )
    assert one == two
    assert len({one, three, four}) == 3
    assert re.fullmatch("[0-9a-f]{16}", one)


def test_it_can_be_replaced(path):
    """With "replace" the old lines go."""
    write(path, answer("a"))
    write(path, answer("b"), mode="replace")
    assert content(path) == [("b", "succeeded")]


def test_resuming_adds_to_what_is_there(path):
    """Answers stay as they are, byte for byte, and are known by name."""
    write(path, answer("a"), answer("b"))
    before = path.read_bytes()
    assert write(path, answer("c"), mode="resume") == {"a", "b"}
    assert path.read_bytes().startswith(before)
    assert content(path) == [("a", "succeeded"), ("b", "succeeded"), ("c", "succeeded")]


def test_resuming_nothing_begins_anew(path):
    """A file that is not there, or empty, is no error."""
    assert write(path, mode="resume") == set()
    assert write(path, answer("a"), mode="resume") == set()
    assert content(path) == [("a", "succeeded")]


def test_a_failure_goes_once_the_request_has_ended_anew(path):
    """After a resumed run each request has one line: its last."""
    write(path, answer("a"), failure("b"), failure("c"), answer("d"))
    assert write(path, answer("b"), failure("c"), mode="resume") == {"a", "d"}
    assert content(path) == [
        ("a", "succeeded"),
        ("d", "succeeded"),
        ("b", "succeeded"),
        ("c", "errored"),
    ]


def test_a_failure_stays_until_then(path):
    """A resumed run that does not come to a request leaves its failure in the file."""
    write(path, failure("a"), failure("b"))
    write(path, answer("b"), mode="resume")
    assert content(path) == [("a", "errored"), ("b", "succeeded")]


def test_failures_stay_while_the_run_is_on(path):
    """Until the file is closed it is only added to, so that no crash can lose a line."""
    write(path, failure("a"))
    with ResultsFile(path, "resume") as file:
        file.write(answer("a"))
        assert content(path) == [("a", "errored"), ("a", "succeeded")]
    assert content(path) == [("a", "succeeded")]


def test_a_file_whose_run_was_killed_is_put_in_order(path):
    """Double lines that an earlier resumed run could not remove go with the next."""
    lines = [failure("a"), failure("a"), answer("a"), failure("b"), failure("b")]
    path.write_bytes(b"".join(orjson.dumps(line.to_dict()) + b"\n" for line in lines))
    write(path, mode="resume")
    assert content(path) == [("a", "succeeded"), ("b", "errored")]


def test_bad_lines_are_known_by_their_number(path):
    """A report of a bad line goes when the line is reported again, or has become good."""
    write(path, bad(3), bad(4), bad(5))
    write(path, bad(3), answer("a", line=4), mode="resume")
    assert content(path) == [(5, "errored"), (3, "errored"), ("a", "succeeded")]


def test_a_line_that_was_cut_short_is_asked_again(path):
    """What a killed process had written of a line is removed, at any place of the cut."""
    write(path, answer("a"), answer("b"))
    whole = path.read_bytes()
    first = whole.index(b"\n") + 1
    for cut in range(first + 1, len(whole) - 1):
        path.write_bytes(whole[:cut])
        assert write(path, answer("c"), mode="resume") == {"a"}
        assert content(path) == [("a", "succeeded"), ("c", "succeeded")]


def test_a_line_without_its_end_counts(path):
    """A last line that lacks only the line break is a result."""
    write(path, answer("a"), failure("b"))
    path.write_bytes(path.read_bytes().rstrip())
    assert write(path, answer("b"), mode="resume") == {"a"}
    assert content(path) == [("a", "succeeded"), ("b", "succeeded")]


@pytest.mark.parametrize("text", ["7\n", "My diary", '{"custom_id": "a"}\n', "[]\n{}\n", "\n"])
def test_a_file_of_something_else_is_not_resumed(path, text):
    """What is no file of results stays as it is."""
    path.write_text(text)
    with pytest.raises(UsageError, match="line 1 is not a result of a run"):
        ResultsFile(path, "resume")
    assert path.read_text() == text


def test_links_and_modes_survive(path, tmp_path):
    """A file that is put in order keeps its permissions, and a link to it stays a link."""
    real = tmp_path / "elsewhere.jsonl"
    write(real, failure("a"))
    real.chmod(0o640)
    path.symlink_to(real)
    write(path, answer("a"), mode="resume")
    assert path.is_symlink()
    assert content(real) == [("a", "succeeded")]
    assert real.stat().st_mode & 0o777 == 0o640
    assert sorted(tmp_path.iterdir()) == [real, path]


def test_a_file_that_cannot_be_put_in_order_stays(path):
    """The error comes out of `close`, and nothing half done is left beside the file."""
    write(path, failure("a"))
    file = ResultsFile(path, "resume")
    file.write(answer("a"))
    path.unlink()
    with pytest.raises(FileNotFoundError):
        file.close()
    assert list(path.parent.iterdir()) == []
