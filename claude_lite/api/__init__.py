"""The operations and models of the API: one file per page of its documentation.

This folder is a dictionary: read the file that you need, and skip the others. Every public name
is importable from `claude_lite`. `load_operations` is how `Operation.from_dict` finds the class
of an operation by its name.
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
