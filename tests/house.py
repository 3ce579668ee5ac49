"""How much code there is: lines that are neither blank, nor comment, nor docstring.

A text that stands alone below a constant or an attribute is a docstring, too.

`make check` runs this file. It prints the size of the library (wire, errors, core, client) and
fails above the bound; `test_imports.py` bounds single modules.
"""

import ast
import io
import sys
import tokenize
from pathlib import Path
from typing import Final

PACKAGE: Final = Path(__file__).parent.parent / "claude_lite"
LIBRARY: Final = ("wire.py", "errors.py", "core", "client")
MOST_OF_THE_LIBRARY: Final = 4300
MOST_OF_A_MODULE: Final = 350

LAYOUT: Final = {
    tokenize.COMMENT,
    tokenize.NL,
    tokenize.NEWLINE,
    tokenize.INDENT,
    tokenize.DEDENT,
    tokenize.ENCODING,
    tokenize.ENDMARKER,
}


def code_lines(source):
    """Count the lines of code in the text of a module."""
    lines = set()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type not in LAYOUT:
            lines.update(range(token.start[0], token.end[0] + 1))
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Expr(value=ast.Constant(value=str())):
                lines.difference_update(range(node.lineno, node.end_lineno + 1))
    return len(lines)


def size(path):
    """Count the lines of code of a file, or of all modules in a folder."""
    files = path.rglob("*.py") if path.is_dir() else [path]
    return sum(code_lines(file.read_text(encoding="utf-8")) for file in files)


def main():
    """Print the size of the library; give the exit code."""
    sizes = {name: size(PACKAGE / name) for name in LIBRARY}
    total = sum(sizes.values())
    parts = ", ".join(f"{name} {lines}" for name, lines in sizes.items())
    sys.stdout.write(f"{total} of at most {MOST_OF_THE_LIBRARY} lines of code: {parts}\n")
    return total > MOST_OF_THE_LIBRARY


if __name__ == "__main__":
    sys.exit(main())
