"""Benchmarks: the cost of a call in this client and in other clients. `make bench` runs them.

`answers` and `server` are the server's side; `peers` are the compared clients; `offline` is work
without I/O; `worker` is the process in which one peer is measured; `scenarios` is the table of
the measurements; `run` measures the peers in turn; `report` writes the results.

`fleet` simulates many processes on one rate limit, in virtual time. `make fleet` runs it.

`soak` measures no speed. It makes very many calls, many of them with faults, and checks that
every outcome is right and that no resource grows. `soak_cases` has the calls and their expected
outcomes, `soak_calls` makes the calls, `soak_held` reads the resources, `soak_report` judges.
"""
