"""The command `claude-lite`: a file per subcommand, `main.py` has the parser."""
