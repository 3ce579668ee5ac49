"""Many requests at a time, bounded and resumable: `run` takes items and yields outcomes.

`requests_file.py` reads requests from JSON lines, `results_file.py` keeps outcomes,
`pace.py` meets rate limits together. `claude-lite run` puts them together.
"""

from claude_lite.bulk.run import Item, Outcome, Tally, run

__all__ = ["Item", "Outcome", "Tally", "run"]
