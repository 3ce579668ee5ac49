"""Benchmarks: what a call costs the client, beside its peers. `make bench` runs them.

`answers` and `server` are the other side; `peers` are the clients compared; `offline` is work
without I/O; `worker` is the process in which one peer is measured; `scenarios` is the table of
what is measured; `run` takes turns among the peers; `report` writes down what came of it.
"""
