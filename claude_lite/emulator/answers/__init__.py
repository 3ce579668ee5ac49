"""Compose the answers to messages: their blocks, events and token counts.

`answers` makes the blocks from a prompt, `events` writes them as a stream, `tokens` counts
their tokens. Nothing here keeps state.
"""
