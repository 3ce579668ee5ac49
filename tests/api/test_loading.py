"""`Operation.from_dict` finds every operation of the API, whatever a program has imported."""

import subprocess
import sys

CODE = """
import pkgutil
from importlib import import_module
import claude_lite.api
from claude_lite.core import registry
from claude_lite.core.operation import Operation

def names(cls):
    own = {cls.route.name} if "route" in vars(cls) else set()
    return own.union(*map(names, cls.__subclasses__()))

registry.find("no operation has this name")
loaded = names(Operation)
assert "messages.create" in loaded
for module in pkgutil.walk_packages(claude_lite.api.__path__, "claude_lite.api."):
    import_module(module.name)
print(*sorted(names(Operation) - loaded))
"""


def test_the_loader_forgets_no_module():
    """No module of the folder declares an operation that `load_operations` does not load."""
    done = subprocess.run(  # noqa: S603  # this interpreter
        [sys.executable, "-c", CODE], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == []
