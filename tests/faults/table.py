"""Prints every fault and what callers get for it, measured, as Markdown.

python tests/faults/table.py
"""

import sys

from cases import CASES
from running import FORMS, TRANSPORTS, run

sys.stdout.write("| what the server does | form | " + " | ".join(TRANSPORTS) + " |\n")
sys.stdout.write("|---" * (2 + len(TRANSPORTS)) + "|\n")
for case in CASES:
    for kind, forms in FORMS.items():
        if getattr(case, kind) is None:
            continue
        row = []
        for transport in TRANSPORTS:
            with case.serve() as (url, _):
                (*_, last) = run(case, transport, forms[0], url)
            phase = f" ({last.error.phase})" if hasattr(last.error, "phase") else ""
            row.append(f"{last.name}{phase}, {last.took:.2f} s")
        name = case.name.encode("unicode_escape").decode().replace("|", "\\|")
        sys.stdout.write(f"| {name} | {kind} | " + " | ".join(row) + " |\n")
