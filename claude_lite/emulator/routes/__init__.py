"""What the emulator does for each request: a file per group of operations."""
