"""What the emulator says: answers to messages, their blocks, events and token counts."""
