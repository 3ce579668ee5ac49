"""Some words are not used here: readers whose first language is another one stumble over them."""

import re
from pathlib import Path

import pytest
from places import ROOT

import claude_lite
import claude_lite_transports

# Each word is written with a "|" in it, so that this file does not refuse itself.
REFUSED = [
    word.replace("|", "")
    for word in (
        *("de|ar", "he|ed", "he|eds", "col|our", "col|ours", "as sa|id", "as ab|ove", "like|wise"),
        *("mi|nt", "mi|nts", "mi|nted", "mi|nting", "sel|dom", "le|st", "when|ce"),
    )
]
# A word of an identifier counts, too: letters end at an underscore.
WRONG = re.compile(
    r"(?<![a-z])(" + "|".join(REFUSED).replace(" ", r"\s+") + r")(?![a-z])", re.IGNORECASE
)
REAL = ("examples/make_requests.py", "cli/")  # these are about what can be seen
DATA = {"data", "corpus", "results", "__pycache__"}

PACKAGES = [Path(package.__file__).parent for package in (claude_lite, claude_lite_transports)]
PLACES = {
    **{folder.name: folder for folder in PACKAGES},
    **{
        name: ROOT / name
        for name in (
            *("tests", "docs", "benchmarks", "examples"),
            *("README.md", "CHANGELOG.md", "SECURITY.md"),
        )
    },
}


def texts(place):
    """Give the files below a place that are written by hand."""
    found = [place] if place.is_file() else sorted(place.rglob("*"))
    return [
        path
        for path in found
        if path.suffix in {".py", ".md"} and not DATA & set(path.relative_to(place.parent).parts)
    ]


def refused(path):
    """List the refused words of a file, with their lines."""
    text = path.read_text(encoding="utf-8")
    found = [
        (text.count("\n", 0, match.start()) + 1, " ".join(match[0].lower().split()))
        for match in WRONG.finditer(text)
    ]
    if any(place in path.as_posix() for place in REAL):
        found = [(line, word) for line, word in found if not word.startswith(REFUSED[3])]
    return [f"{path}:{line}: {word}" for line, word in found]


@pytest.mark.parametrize("name", PLACES)
def test_no_refused_word_is_used(name):
    """No source, test or page uses a word of the list."""
    if not PLACES[name].exists():
        pytest.skip(f"{name} is not part of what is installed")
    found = [line for path in texts(PLACES[name]) for line in refused(path)]
    assert not found, "\n".join(found)


@pytest.mark.parametrize("word", REFUSED)
def test_refused_words_are_found(word, tmp_path):
    """A refused word is found in text, at a line's end, in capitals and within an identifier."""
    for text in (f"is {word}.", word.replace(" ", "\n"), f"# {word.upper()}", f"a_{word}_b = 1"):
        path = tmp_path / "page.md"
        path.write_text(f"\n{text}\n")
        assert refused(path) == [f"{path}:2: {word}"]
    path.write_text(f"{word}r x{word}")
    assert not refused(path)
