"""One call, without I/O: request out, response in, retries, streams. No sockets, no event loop.

`operation.py` is a call as a value; `exchange.py` and `stream_exchange.py` run one, as state
machines that a client drives; `model.py` and `structure.py` make JSON into values; `limits.py`
says what a reply may cost.
"""
