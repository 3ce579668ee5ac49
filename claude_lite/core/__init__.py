"""The logic of a call, without I/O: requests, responses, retries, streams.

`operation.py` declares a call as a value. `exchange.py` and `stream_exchange.py` are the state
machines of a call, which a client drives. `model.py` and `structure.py` turn JSON into values.
`limits.py` has the limits on the size of replies.
"""
