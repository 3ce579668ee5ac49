"""Whatever a server does, the caller gets the right answer or the right error, in time."""

import pytest
from cases import CASES
from running import TRANSPORTS, check


@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize("case", CASES, ids=lambda case: ascii(case.name))
def test_every_fault(case, transport):
    """A fault has the outcome that the table says, and leaves no socket, task or thread."""
    assert not (wrong := check(case, transport)), "\n".join(wrong)
