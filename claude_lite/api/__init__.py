"""The API's own words: operations and models, a file per page of its documentation.

A dictionary to look things up in: no file here is needed to understand another. Every public
name is importable from `claude_lite`. `Operation.from_dict` finds all operations by their names.
"""

from claude_lite.core import registry


def load_operations() -> None:
    """Import all modules that declare operations."""
    from claude_lite.api import (  # noqa: F401
        batches,
        completions,
        files,
        models,
        organization,
        raw_request,
        reports,
        skills,
        workspaces,
    )
    from claude_lite.api.messages import operations  # noqa: F401


registry.add_loader(load_operations)
