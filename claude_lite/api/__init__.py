"""The API's own words: operations and models, a file per page of its documentation.

A dictionary to look things up in: no file here is needed to understand another. Every public
name is importable from `claude_lite`.
"""
