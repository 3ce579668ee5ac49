"""Messages: https://docs.claude.com/en/api/messages.

`operations.py` has the operations; `message.py`, `content.py` and `events.py` have the models;
`decoder.py` and `draft.py` turn a stream of events into a message.
"""
