"""Read an uploaded skill: a folder with a SKILL.md, file by file or as one .zip.

The folder is checked as the API checks it, and kept as a .zip in both cases.
"""

import re
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from io import BytesIO
from typing import Final

from attrs import frozen

from claude_lite.emulator.reading.blobs import Blob, Spool
from claude_lite.emulator.reading.forms import ReceivedPart
from claude_lite.emulator.reading.problems import Problem, fail

LARGEST_SKILL: Final = 30 * 1024 * 1024  # bytes, unpacked
MANIFEST: Final = "SKILL.md"
SKILL_NAME: Final = re.compile(r"[a-z0-9-]{1,64}\Z")
LONGEST_DESCRIPTION: Final = 1024  # characters
LONGEST_MANIFEST: Final = 1024 * 1024  # bytes
ZIP_DATE: Final = (
    1980,
    1,
    1,
    0,
    0,
    0,
)  # of every file, so that equal folders are packed into equal bytes


@frozen
class Folder:
    """A skill folder that passed the checks; `archive` is the .zip."""

    name: str
    description: str
    directory: str
    archive: Blob


def read_folder(files: Sequence[ReceivedPart]) -> Folder:
    """Check the files of a form; raises `Problem` (400, or 413 for size) if they are no skill."""
    if not files:
        fail("files", "Field required")
    if len(files) == 1 and (files[0].filename or "").lower().endswith(".zip"):
        sizes, manifest, archive = _zipped(files[0].body)
    else:
        contents = {part.filename or "": part.body for part in files}
        if len(contents) < len(files):
            fail("files", "the same path occurs twice")
        sizes = {path: blob.size for path, blob in contents.items()}
        _check_size(sizes)
        manifest = contents.get(_manifest_path(sizes), Blob.of(b"")).read(0, LONGEST_MANIFEST)
        archive = _pack(contents)
    directory = _directory(sizes)
    if f"{directory}/{MANIFEST}" not in sizes:
        fail("files", f"{MANIFEST} must be in the top-level folder")
    name, description = _frontmatter(manifest)
    return Folder(name, description, directory, archive)


def make_folder(name: str, description: str) -> Folder:
    """Make a skill whose only file is SKILL.md."""
    text = f"---\nname: {name}\ndescription: {description}\n---\n"
    archive = _pack({f"{name}/{MANIFEST}": Blob.of(text.encode())})
    return Folder(name, description, name, archive)


def _zipped(body: Blob) -> tuple[dict[str, int], bytes, Blob]:
    if body.size > LARGEST_SKILL:
        raise Problem(413, f"Skill exceeds the maximum size of {LARGEST_SKILL} bytes")
    try:
        with zipfile.ZipFile(BytesIO(body.read())) as opened:
            entries = {entry.filename: entry for entry in opened.infolist() if not entry.is_dir()}
            sizes = {path: entry.file_size for path, entry in entries.items()}
            _check_size(sizes)
            manifest = entries.get(_manifest_path(sizes))
            text = b""
            if manifest is not None:
                with opened.open(manifest) as file:
                    text = file.read(LONGEST_MANIFEST)
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError, OSError):
        fail("files", "not a valid .zip file")
    return sizes, text, body


def _pack(contents: Mapping[str, Blob]) -> Blob:
    spool = Spool()
    with zipfile.ZipFile(spool, "w") as packed:
        for path in sorted(contents):
            entry = zipfile.ZipInfo(path, ZIP_DATE)
            entry.compress_type = zipfile.ZIP_DEFLATED
            with packed.open(entry, "w", force_zip64=False) as file:
                for piece in contents[path]:
                    file.write(piece)
    return spool.blob()


def _check_size(sizes: Mapping[str, int]) -> None:
    if sum(sizes.values()) > LARGEST_SKILL:
        raise Problem(413, f"Skill exceeds the maximum size of {LARGEST_SKILL} bytes")


def _manifest_path(paths: Mapping[str, int]) -> str:
    return f"{next(iter(paths)).partition('/')[0]}/{MANIFEST}" if paths else ""


def _directory(paths: Mapping[str, int]) -> str:
    """Return the one top-level folder of all files."""
    tops = set()
    for path in paths:
        names = path.split("/")
        if "\\" in path or any(name in ("", ".", "..") for name in names):
            fail("files", f"invalid path: {path!r}")
        if len(names) == 1:
            fail("files", f"all files must be in one top-level folder, and {path!r} is in none")
        tops.add(names[0])
    if len(tops) != 1:
        fail("files", "all files must be in one top-level folder")
    return tops.pop()


def _frontmatter(manifest: bytes) -> tuple[str, str]:
    """Read the name and the description from the frontmatter of a SKILL.md."""
    try:
        lines = manifest.decode("utf-8-sig").splitlines()
    except UnicodeDecodeError:
        fail("files", f"{MANIFEST} must be UTF-8")
    ends = [number for number, line in enumerate(lines) if line.rstrip() == "---"]
    if len(ends) < 2 or ends[0] != 0:  # noqa: PLR2004  # a start and an end
        fail("files", f"{MANIFEST} must start with YAML frontmatter (---)")
    fields = dict(_fields(lines[1 : ends[1]]))
    name, description = fields.get("name", ""), fields.get("description", "")
    if not SKILL_NAME.match(name):
        fail("files", f"{MANIFEST}: name must be 1 to 64 of a-z, 0-9 and '-'")
    if not 1 <= len(description) <= LONGEST_DESCRIPTION:
        fail("files", f"{MANIFEST}: description must have 1 to {LONGEST_DESCRIPTION} characters")
    return name, description


def _fields(lines: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Read the texts in a block of YAML; an indented line continues the text before it."""
    name, words = "", [""]
    for line in [*lines, "end:"]:
        if line[:1].isspace() or not line.strip():
            words.append(line.strip())
            continue
        if name:
            yield name, _text(words)
        name, _, first = line.partition(":")
        words = [first.strip()]


def _text(words: list[str]) -> str:
    if words[0].rstrip("+-") in (">", "|"):
        words = words[1:]
    text = " ".join(filter(None, words))
    quoted = len(text) > 1 and text[0] == text[-1] and text[0] in "\"'"
    return text[1:-1] if quoted else text
