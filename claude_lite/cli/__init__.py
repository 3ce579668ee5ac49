"""The command `claude-lite`: a file per subcommand; the parser is in `main.py`."""
