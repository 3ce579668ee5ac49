"""What the emulator keeps: credentials, rate limits, files, skills, batches, the organization."""
