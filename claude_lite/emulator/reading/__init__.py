"""What the emulator accepts: requests are routed, read, and checked against the facts."""
