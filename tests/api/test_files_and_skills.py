"""Files and skills from disk to the API and back: streamed, checked, and whole or not at all."""

import asyncio
import errno
import io
import json
import resource
import signal
import subprocess
import sys
import threading
import zipfile
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from driving import answer, both_modes, client, do

from claude_lite import AsyncClient, Client, Response, never
from claude_lite.api.files import DownloadFile, UploadFile
from claude_lite.api.skills import CreateSkill, CreateSkillVersion, DownloadSkillVersion
from claude_lite.client.arrival import Arrival
from claude_lite.core.config import Config
from claude_lite.emulator import Emulator
from claude_lite.errors import (
    NotFound,
    RequestTooLarge,
    StreamInterrupted,
    UsageError,
)
from claude_lite_transports.emulator import AsyncEmulatorTransport, EmulatorTransport

MEGABYTES = 1024 * 1024
BYTES_TYPE = {"content-type": "application/octet-stream"}
MANIFEST = "---\nname: my-skill\ndescription: Does a thing.\n---\nDo it.\n"


def emulated(mode, emulator=None):
    """Make a client of an emulator."""
    transport = EmulatorTransport if mode == "sync" else AsyncEmulatorTransport
    make = Client if mode == "sync" else AsyncClient
    return make(transport(emulator or Emulator()), api_key="canary")


def sent(operation):
    """Give the body that would be sent, as text."""
    return b"".join(operation.build(Config(api_key="canary").target).body).decode()


def sparse(path, size):
    """Make a file of so many bytes that takes no room on disk."""
    with path.open("wb") as file:
        file.truncate(size)
    return path


@pytest.fixture
def skill(tmp_path):
    """A folder with a skill."""
    folder = tmp_path / "my-skill"
    (folder / "scripts").mkdir(parents=True)
    (folder / "SKILL.md").write_text(MANIFEST)
    (folder / "scripts" / "run.py").write_text("print()\n")
    return folder


# Upload


@both_modes
def test_a_file_is_uploaded_from_a_path_or_bytes(mode, tmp_path):
    """The name and the type come from the path unless they are given."""
    path = tmp_path / "notes.txt"
    path.write_text("some notes")

    async def main():
        upload = emulated(mode).files.upload
        return (
            await do(upload, file=path),
            await do(upload, file=str(path), filename="other.pdf"),
            await do(upload, file=b"abc", filename="c.json", expires_in_seconds=3600),
            await do(upload, file=b"abc", filename="c", content_type="text/x-mine"),
        )

    by_path, renamed, by_bytes, typed = asyncio.run(main())
    assert (by_path.filename, by_path.mime_type, by_path.size_bytes) == (
        "notes.txt",
        "text/plain",
        10,
    )
    assert (renamed.filename, renamed.mime_type) == ("other.pdf", "application/pdf")
    assert (by_bytes.filename, by_bytes.mime_type, by_bytes.size_bytes) == (
        "c.json",
        "application/json",
        3,
    )
    assert by_bytes.expires_at is not None
    assert typed.mime_type == "text/x-mine"


def test_the_form_is_as_the_api_reads_it():
    """Fields come before files; a quote in a name is escaped, other characters are as they are."""
    text = sent(UploadFile(file=b"abc", filename="é a'.txt", expires_in_seconds=3600))
    assert text.index('name="expires_in_seconds"') < text.index('name="file"')
    assert 'name="file"; filename="é a\'.txt"' in text
    assert "content-type: text/plain\r\n\r\nabc\r\n--" in text


def test_the_length_of_the_form_is_known():
    """It is what iterating gives, any number of times."""
    body = UploadFile(file=b"x" * 1000, filename="a").form()
    assert [sum(map(len, body)), sum(map(len, body))] == [body.size] * 2


@pytest.mark.parametrize(
    "name", ["", "a/", "a<b", 'a"b', "a|b", "a\x07", "a\nb", "a\0b", "x" * 256]
)
def test_a_name_that_the_api_refuses_is_refused(name):
    """Before anything is sent."""
    operation = UploadFile(file=b"a", filename=name or "/")
    with pytest.raises(UsageError):
        operation.build(Config(api_key="canary").target)


def test_a_file_that_is_not_there_is_a_usage_error(tmp_path):
    """It names the file."""
    with pytest.raises(UsageError, match=r"nothing\.txt"):
        UploadFile(file=tmp_path / "nothing.txt").build(Config(api_key="canary").target)


def test_an_open_file_cannot_be_uploaded():
    """A retry could not read it again."""
    with pytest.raises(UsageError, match="path or bytes"):
        UploadFile(file=io.BytesIO(b"a")).build(Config(api_key="canary").target)


@both_modes
@pytest.mark.parametrize("change", [b"longer than it was", b""])
def test_a_file_that_changes_while_it_is_sent_is_an_error(mode, change, tmp_path):
    """Not a request of the wrong length."""
    path = tmp_path / "a.txt"
    path.write_bytes(b"as it was")

    def upload(request):
        path.write_bytes(change)
        return answer({"sent": len(b"".join(request.body))})

    made = client(mode, upload, retry=never())
    with pytest.raises(UsageError, match="changed"):
        asyncio.run(do(made.files.upload, file=path))


def test_a_file_that_goes_before_it_is_sent_is_an_error(tmp_path):
    """The error names it, as where it had never been."""
    path = tmp_path / "a.txt"
    path.write_bytes(b"as it was")
    body = UploadFile(file=path).build(Config(api_key="canary").target).body
    path.unlink()
    with pytest.raises(UsageError, match=r"a\.txt cannot be read"):
        list(body)


@both_modes
def test_past_500_megabytes_nothing_is_sent(mode, tmp_path):
    """The error is that of the API's 413."""
    path = sparse(tmp_path / "large", 500 * MEGABYTES + 1)
    made = client(mode, answer())
    with pytest.raises(RequestTooLarge):
        asyncio.run(do(made.files.upload, file=path))
    assert made.transport.requests == []


@both_modes
@pytest.mark.parametrize("method", ["create", "versions.create"])
def test_past_30_megabytes_no_skill_is_sent(mode, method, skill):
    """Its files are counted together."""
    for name in ("a", "b"):
        sparse(skill / name, 15 * MEGABYTES)
    made = client(mode, answer())
    create = made.skills.create if method == "create" else made.skills.versions.create
    which = {} if method == "create" else {"skill_id": "skill_1"}
    with pytest.raises(RequestTooLarge):
        asyncio.run(do(create, files=skill, **which))
    assert made.transport.requests == []


# Download


def stored(mode, content):
    """Make a client of an emulator that has a file with this content, and the file's id."""
    emulator = Emulator()
    return emulated(mode, emulator), emulator.add_file("a.bin", content)


@both_modes
def test_a_download_to_disk_is_the_file(mode, tmp_path):
    """It returns the size, and leaves nothing else in the folder."""
    content = bytes(range(256)) * 4000
    made, file_id = stored(mode, content)
    path = tmp_path / "a.bin"
    size = asyncio.run(do(made.download, DownloadFile(file_id=file_id), path))
    assert (size, path.read_bytes(), list(tmp_path.iterdir())) == (len(content), content, [path])


@both_modes
def test_a_download_in_memory_is_the_file(mode):
    """Sent as a whole, the operation gives bytes."""
    content = bytes(range(256)) * 4000
    made, file_id = stored(mode, content)
    assert asyncio.run(do(made.send, DownloadFile(file_id=file_id))) == content


@both_modes
def test_an_empty_file_can_be_downloaded(mode, tmp_path):
    """It is there afterwards, with nothing in it."""
    made = client(mode, [Response(200, BYTES_TYPE)])
    path = tmp_path / "a.bin"
    assert asyncio.run(do(made.download, DownloadFile(file_id="file_1"), path)) == 0
    assert path.read_bytes() == b""


@both_modes
@pytest.mark.parametrize("before", [None, b"what was there"])
def test_an_interrupted_download_leaves_no_file(mode, before, tmp_path):
    """And what was there before stays as it was."""
    path = tmp_path / "a.bin"
    if before is not None:
        path.write_bytes(before)
    broken = [Response(200, BYTES_TYPE), b"some", b"more", StreamInterrupted("cut")]
    made = client(mode, broken)
    with pytest.raises(StreamInterrupted):
        asyncio.run(do(made.download, DownloadFile(file_id="file_1"), path, overwrite=True))
    left = {one.name: one.read_bytes() for one in tmp_path.iterdir()}
    assert left == ({} if before is None else {"a.bin": before})


@both_modes
def test_a_refused_download_leaves_no_file(mode, tmp_path):
    """The error is the API's."""
    made = emulated(mode)
    with pytest.raises(NotFound):
        asyncio.run(do(made.download, DownloadFile(file_id="file_none"), tmp_path / "a"))
    assert list(tmp_path.iterdir()) == []


@both_modes
def test_a_download_to_nowhere_is_a_usage_error(mode, tmp_path):
    """The path is named, and nothing of the file is lost on the way."""
    made, file_id = stored(mode, b"abc")
    with pytest.raises(UsageError, match="none"):
        asyncio.run(do(made.download, DownloadFile(file_id=file_id), tmp_path / "none" / "a"))


@both_modes
def test_a_folder_is_not_replaced_by_a_download(mode, tmp_path):
    """The error names the path, and the part that had come is removed."""
    made, file_id = stored(mode, b"abc")
    path = tmp_path / "folder"
    path.mkdir()
    with pytest.raises(UsageError, match="folder"):
        asyncio.run(do(made.download, DownloadFile(file_id=file_id), path))
    assert list(tmp_path.iterdir()) == [path]


def test_a_path_that_cannot_be_one_is_a_usage_error(tmp_path):
    """No file has NUL in its name."""
    with pytest.raises(UsageError, match="cannot be the path"), Arrival(tmp_path / "a\0b"):
        pass


def test_a_download_below_a_file_is_a_usage_error(tmp_path):
    """The error says what is wrong with the path, and the file stays."""
    path = tmp_path / "file"
    path.write_bytes(b"abc")
    with pytest.raises(UsageError, match="Not a directory"), Arrival(path / "a"):
        pass
    assert path.read_bytes() == b"abc"


def test_a_folder_is_not_overwritten_either(tmp_path):
    """What cannot be put in its place is removed, and the error is typed."""
    path = tmp_path / "folder"
    path.mkdir()
    with (
        pytest.raises(UsageError, match="folder cannot be written"),
        Arrival(path, overwrite=True),
    ):
        pass
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_that_appears_meanwhile_is_kept(tmp_path):
    """Of two downloads to one path the first to end keeps it; the other is a `UsageError`."""
    path = tmp_path / "a"
    second = Arrival(path).__enter__()
    second.write(b"second")
    with Arrival(path) as first:
        first.write(b"first")
    with pytest.raises(UsageError, match="exists: set overwrite=True"):
        second.__exit__(None, None, None)
    assert (path.read_bytes(), list(tmp_path.iterdir())) == (b"first", [path])


class WithoutLinks(type(Path())):
    """A path on a file system that has no hard links."""

    def hardlink_to(self, target):
        """Refuse, as such a file system does."""
        raise OSError(errno.EPERM, "Operation not permitted", target)


@pytest.mark.parametrize("kind", [Path, WithoutLinks])
def test_only_one_of_two_at_once_gets_the_path(kind, tmp_path):
    """Whoever loses is told so, also where there are no hard links; no file is replaced."""
    names, start, won = range(400), threading.Barrier(2), []

    def download(tag):
        for name in names:
            start.wait(30)
            with suppress(UsageError):
                with Arrival(tmp_path / f"{name}") as file:
                    file.path = kind(file.path)
                    file.write(tag)
                    start.wait(30)
                won.append((name, tag))

    threads = [threading.Thread(target=download, args=(tag,)) for tag in (b"A", b"B")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(name for name, _ in won) == list(names)
    assert all((tmp_path / f"{name}").read_bytes() == tag for name, tag in won)
    assert len(list(tmp_path.iterdir())) == len(names)


@contextmanager
def full_disk():
    """Let no file of this process grow."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)


@pytest.mark.parametrize(
    ("error", "wanted", "said"),
    [(None, UsageError, "too large"), (StreamInterrupted("cut"), StreamInterrupted, "cut")],
)
def test_a_disk_that_is_full_at_the_end_leaves_no_file(error, wanted, said, tmp_path):
    """It is a `UsageError`, unless the download had failed before: then that is what is told."""
    with pytest.raises(wanted, match=said), full_disk(), Arrival(tmp_path / "a") as file:
        arrive(file, error)
    assert list(tmp_path.iterdir()) == []


@both_modes
def test_a_disk_that_is_full_meanwhile_leaves_no_file(mode, tmp_path):
    """It is the same `UsageError` when a piece cannot be written, and the call has ended."""
    made, file_id = stored(mode, bytes(1000) * 4000)
    with pytest.raises(UsageError, match="a cannot be written: File too large"), full_disk():
        asyncio.run(do(made.download, DownloadFile(file_id=file_id), tmp_path / "a"))
    assert list(tmp_path.iterdir()) == []


def arrive(file, error):
    """Write a byte, and fail if there is an error."""
    file.write(b"x")
    if error is not None:
        raise error


# Skills


@both_modes
def test_a_skill_is_made_of_a_folder(mode, skill, tmp_path):
    """Its files are sent under the folder's name, and come back in the version's .zip."""

    async def main():
        made = emulated(mode)
        created = await do(made.skills.create, files=skill, display_name="Mine")
        version = created.latest_version_id
        path = tmp_path / "back.zip"
        which = DownloadSkillVersion(skill_id=created.id, version=version)
        await do(made.download, which, path)
        return created, path

    created, path = asyncio.run(main())
    assert created.display_name == "Mine"
    with zipfile.ZipFile(path) as archive:
        found = {name: archive.read(name).decode() for name in archive.namelist()}
    assert found == {"my-skill/SKILL.md": MANIFEST, "my-skill/scripts/run.py": "print()\n"}


def test_a_zip_counts_as_it_unpacks(tmp_path):
    """A small .zip of a skill past 30 MB is refused before anything is sent, and so is no .zip."""
    path = tmp_path / "skill.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("my-skill/SKILL.md", MANIFEST)
        archive.writestr("my-skill/data.bin", bytes(31 * MEGABYTES))
    with pytest.raises(RequestTooLarge, match="unpacked"):
        CreateSkill(files=path).build(Config(api_key="canary").target)
    path.write_bytes(b"no archive")
    with pytest.raises(UsageError, match=r"cannot be read as a \.zip"):
        CreateSkillVersion(skill_id="skill_1", files=path).build(Config(api_key="canary").target)


@both_modes
def test_a_skill_is_made_of_a_zip(mode, tmp_path):
    """It is sent as it is; a further version may be one, too."""
    path = tmp_path / "s.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("my-skill/SKILL.md", MANIFEST)

    async def main():
        skills = emulated(mode).skills
        created = await do(skills.create, files=path)
        return created, await do(skills.versions.create, skill_id=created.id, files=path)

    created, version = asyncio.run(main())
    assert (version.skill_id, version.name) == (created.id, "my-skill")
    assert version.id != created.latest_version_id


def test_the_parts_of_a_skill_are_its_files(skill):
    """Each is a part `files[]` with a path under the folder's name; empty folders are none."""
    (skill / "empty").mkdir()
    for operation in (CreateSkill(files=skill), CreateSkillVersion(skill_id="s", files=skill)):
        text = sent(operation)
        assert text.count('name="files[]"') == 2
        assert 'name="files[]"; filename="my-skill/SKILL.md"' in text
        assert 'name="files[]"; filename="my-skill/scripts/run.py"' in text


def test_a_folder_given_by_its_own_dot_has_its_name(skill, monkeypatch):
    """`.` is sent as the folder's name."""
    monkeypatch.chdir(skill)
    assert 'filename="my-skill/SKILL.md"' in sent(CreateSkill(files="."))


@pytest.mark.parametrize("target", ["secret", ".", "nothing", "../my-skill/scripts"])
def test_a_link_that_leads_elsewhere_is_refused(target, skill, tmp_path):
    """Out of the folder, to nothing, or to a folder: it is neither sent nor left out in silence."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret").write_text("secret")
    (skill / "link").symlink_to(outside / target)
    with pytest.raises(UsageError, match="link"):
        CreateSkill(files=skill).build(Config(api_key="canary").target)


def test_a_link_within_the_folder_is_followed(skill):
    """It is a file of the skill like any other."""
    (skill / "link.md").symlink_to(skill / "SKILL.md")
    assert 'filename="my-skill/link.md"' in sent(CreateSkill(files=skill))


def test_a_folder_without_skill_md_is_no_skill(tmp_path):
    """It is refused before anything is sent."""
    with pytest.raises(UsageError, match=r"SKILL\.md"):
        CreateSkill(files=tmp_path).build(Config(api_key="canary").target)


def test_a_skill_is_a_path():
    """Files in memory are refused: their names would be lost."""
    with pytest.raises(UsageError, match="has to be the path of a folder or "):
        CreateSkill(files=[b"content"]).build(Config(api_key="canary").target)


# Large files

SERVE = (
    "from claude_lite.emulator.serving import run_server; "
    "run_server(announce=lambda u: print(u, flush=True))"
)
TRANSFER = """
import asyncio, json, sys
from pathlib import Path
from claude_lite import AsyncClient, Client
from claude_lite.api.files import DeleteFile, DownloadFile, ListFiles, UploadFile

def high_water():
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM"):
            return int(line.split()[1]) * 1024

async def do(call, *args, **kwargs):
    result = call(*args, **kwargs)
    return await result if asyncio.iscoroutine(result) else result

async def main(url, transport, path, back):
    make = Client if transport == "urllib" else AsyncClient
    client = make(transport, base_url=url, api_key="canary")
    size = Path(path).stat().st_size
    await do(client.send, ListFiles())
    small = await do(client.send, UploadFile(file=b"x" * 100000, filename="small.txt"))
    tool = {"type": "code_execution_20250825", "name": "code_execution"}
    prompt = {"role": "user", "content": f"[[file:large.bin,{size}]]"}
    message = await do(client.messages.create, model="claude-sonnet-5-5", max_tokens=1024,
                       messages=[prompt], tools=[tool])
    file_id = next(b for b in message.to_dict()["content"] if "content" in b)
    file_id = file_id["content"]["content"][0]["file_id"]
    idle = high_water()
    made = await do(client.send, UploadFile(file=path))
    up = high_water() - idle
    got = await do(client.download, DownloadFile(file_id=file_id), back)
    down = high_water() - idle
    await do(client.send, DeleteFile(file_id=made.id))
    await do(client.close)
    print(json.dumps({"sizes": [made.size_bytes, got], "up": up, "down": down}))

asyncio.run(main(*sys.argv[1:]))
"""


@pytest.fixture
def server():
    """An emulator in a process of its own, and its URL."""
    with subprocess.Popen(  # noqa: S603  # our own code
        [sys.executable, "-c", SERVE], stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            yield process.stdout.readline().strip()
        finally:
            process.terminate()


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="it looks into /proc")
@pytest.mark.parametrize("transport", ["urllib", "aiohttp"])
def test_400_megabytes_up_and_down_are_not_held(transport, server, tmp_path):
    """Neither transport needs 60 MB more than when idle."""
    size = 400 * MEGABYTES
    path, back = sparse(tmp_path / "large.bin", size), tmp_path / "back.bin"
    done = subprocess.run(  # noqa: S603  # our own code
        [sys.executable, "-c", TRANSFER, server, transport, str(path), str(back)],
        capture_output=True,
        text=True,
        check=True,
    )
    found = json.loads(done.stdout)
    assert found["sizes"] == [size, size]
    assert max(found["up"], found["down"]) < 60 * MEGABYTES, found
    assert back.stat().st_size == size
    back.unlink()
