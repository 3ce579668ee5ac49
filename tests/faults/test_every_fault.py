"""Whatever a server does, the caller gets the right answer or the right error, in time.

`make test` runs each case over one transport, a third of the cases over each; the others are slow.
"""

import pytest
from cases import CASES
from running import TRANSPORTS, check


def each_case():
    """Give every case with every transport, and mark all but one transport per case as slow."""
    for number, case in enumerate(CASES):
        for place, transport in enumerate(TRANSPORTS):
            chosen = place == number % len(TRANSPORTS)
            marks = () if chosen else pytest.mark.slow
            yield pytest.param(case, transport, marks=marks, id=f"{case.name!a}-{transport}")


@pytest.mark.parametrize(("case", "transport"), list(each_case()))
def test_every_fault(case, transport):
    """A fault has the outcome that the table says, and leaves no socket, task or thread."""
    assert not (wrong := check(case, transport)), "\n".join(wrong)
