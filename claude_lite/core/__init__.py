"""One call, without I/O: request out, response in, retries, streams. No sockets, no event loop.

`operation.py` declares a call as a value. `exchange.py` and `stream_exchange.py` are the state
machines of a call, which a client drives. `model.py` and `structure.py` turn JSON into values.
`limits.py` says what a reply may cost.
"""
