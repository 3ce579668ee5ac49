"""Benchmarks: what a call costs the client, beside its peers. `make bench` runs them.

`answers` and `server` are the other side; `peers` are the clients compared; `offline` is work
without I/O; `worker` is the process in which one peer is measured; `scenarios` is the table of
what is measured; `run` takes turns among the peers; `report` writes down what came of it.

`soak` measures nothing: it makes a great many calls, in which much goes wrong, and looks whether
every outcome is right and nothing grows. `soak_cases` says what is called and what has to come
of it, `soak_calls` calls, `soak_held` looks, `soak_report` judges.
"""
