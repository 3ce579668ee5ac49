"""Many requests at a time, bounded and resumable.

`read_requests` reads requests from JSON lines, `run` makes them and hands over each `Outcome`,
`ResultsFile` keeps outcomes on disk, and `pace.py` slows down all requests together when the API
answers with a rate limit. The command `claude-lite run` puts these together.
"""

from claude_lite.bulk.requests_file import read_requests
from claude_lite.bulk.results_file import ResultsFile

# The function takes the place of the module as the attribute `run` of this package: write
# `from claude_lite.bulk.run import ...` for the rest of the module.
from claude_lite.bulk.run import Item, Outcome, Tally, run

__all__ = ["Item", "Outcome", "ResultsFile", "Tally", "read_requests", "run"]
