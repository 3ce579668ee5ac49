"""A small, fast Claude API client."""
