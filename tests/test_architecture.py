"""The page on the architecture shows the house as it stands."""

import re
from pathlib import Path

from test_imports import BEYOND, FLOORS, PACKAGES, modules

PAGE = Path(__file__).parents[1] / "docs" / "architecture.md"
FACE = "face"


def arrows(kind):
    """List the arrows of a kind in the picture of the floors."""
    (picture,) = re.findall(r"^```mermaid\n(.*?)^```$", PAGE.read_text(), re.DOTALL | re.MULTILINE)
    return {
        (a, b) for a, b in re.findall(rf"^ +(\w+) {re.escape(kind)} (\w+)$", picture, re.MULTILINE)
    }


def test_the_picture_shows_the_floors():
    """Each arrow is an import that the table of floors allows, and none is missing."""
    assert arrows("-->") == {(a or FACE, b) for a, found in FLOORS.items() for b in found}


def test_the_picture_shows_the_exceptions():
    """Each dotted arrow is an exception of the transports, and none is missing."""
    floor = {tuple(name.partition(".")[0] for name in one) for one in BEYOND}
    assert arrows("-.->") == floor


def test_the_files_that_the_page_names_exist():
    """A file or folder that is named in backticks is there."""
    named = set(re.findall(r"`([\w/]+(?:\.py|/))`", PAGE.read_text()))
    package, transports = PACKAGES["claude_lite"], PACKAGES["claude_lite_transports"]
    places = (PAGE.parents[1], package, package.parent, transports.parent)
    missing = {
        name
        for name in named
        if not any((place / name.removeprefix("transports/")).exists() for place in places)
    }
    assert len(named) > len(modules()) / 10
    assert missing == set()
