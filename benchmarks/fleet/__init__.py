"""A fleet of processes on one rate limit, in virtual time, with the governor's own functions.

`python -m benchmarks.fleet` runs all scenarios in less than a minute and prints a table: what was
reached, and the goal. `server` is the API's side, `model` has the processes and Redis, `scenarios`
the table of scenarios, `report` writes the table and the chart. No clock and no network: a run with
the same seed gives the same figures on every machine.
"""
