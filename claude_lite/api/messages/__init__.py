"""Messages: https://docs.claude.com/en/api/messages.

`operations.py` has the calls; `message.py`, `content.py` and `events.py` the models;
`decoder.py` and `draft.py` turn a stream of events into a message.
"""
