"""The emulator's Files API."""

import asyncio
import http.client
import subprocess
import sys
import time
from pathlib import Path
from urllib.parse import urlsplit

import orjson
import pytest
from emulated import API, HEADERS, Api, form, message
from hypothesis import given
from hypothesis import strategies as st

from claude_lite import AsyncClient, Client
from claude_lite.api.files import DeleteFile, DownloadFile, ListFiles, UploadFile
from claude_lite.emulator import Emulator
from claude_lite.emulator.reading.blobs import READ_SIZE, Blob, Spool
from claude_lite.emulator.reading.forms import read_form
from claude_lite.emulator.reading.problems import Problem
from claude_lite.emulator.serving import emulator_server
from claude_lite.emulator.serving.http1 import HELD, RequestReader
from claude_lite.wire import Request

LEGACY = ["files-api-2025-04-14"]
CODE = {"type": "code_execution_20250825", "name": "code_execution"}
MEGABYTES = 1024 * 1024


def upload(api, content=b"hello", filename="notes.txt", kind=None, fields=None, **how):
    """Upload a file and return its metadata."""
    body = form(("file", filename, content, kind), **(fields or {}))
    return api.call("files.upload", body, **how)


def ids(page):
    """List the ids on a page."""
    return [file["id"] for file in page["data"]]


def shown(kind, file_id):
    """Make the content of a message that shows a file."""
    return [{"type": kind, "source": {"type": "file", "file_id": file_id}}]


def test_the_documented_form_is_a_file():
    """The sample of an upload is taken, with its expiry."""
    sample = (API / "samples" / "requests" / "files.upload.multipart.txt").read_bytes()
    boundary = sample.split(b"\r\n")[0][2:].decode()
    kind = {"content-type": f"multipart/form-data; boundary={boundary}"}
    api = Api()
    made = api.call("files.upload", sample, headers=kind)
    assert (made["filename"], made["mime_type"], made["size_bytes"]) == (
        "notes.txt",
        "text/plain",
        5,
    )
    assert made["downloadable"] is False
    assert made["expires_at"] is not None
    assert api.call("files.retrieve_metadata", file_id=made["id"]) == made


@pytest.mark.parametrize(
    ("given_name", "kind", "name"),
    [
        ("a/b/c.pdf", None, "c.pdf"),
        ("naïve ☃.txt", None, "naïve ☃.txt"),
        (None, "image/png", "unnamed.png"),
        (None, "application/x-nobody", "unnamed"),
    ],
)
def test_the_name_of_a_file_is_the_last_component(given_name, kind, name):
    """Without one it is `unnamed`, with what the type is usually called by."""
    lines = [b"--x", b'content-disposition: form-data; name="file"']
    if given_name is not None:
        lines[1] += f'; filename="{given_name}"'.encode()
    if kind:
        lines.append(f"content-type: {kind}".encode())
    body = b"\r\n".join([*lines, b"", b"1", b"--x--", b""])
    made = Api().call(
        "files.upload", body, headers={"content-type": "multipart/form-data; boundary=x"}
    )
    assert made["filename"] == name


@pytest.mark.parametrize("name", ["", "a" * 256, 'a"b', "a|b", "a\\b", "a\x07b", "a:b"])
def test_a_name_that_is_forbidden_is_refused(name):
    """A quote may come as %22, and is no better for it."""
    assert "filename" in Api().refuse("files.upload", 400, form(("file", name, b"1")))[0]


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (form(), "file: Field required"),
        (form(("other", "a", b"1")), "other: Extra inputs"),
        (form(file="text"), "file: Input should be a file"),
        (form(("file", "a", b"1"), expires_in_seconds="3599"), "expires_in_seconds: Input"),
        (form(("file", "a", b"1"), expires_in_seconds="7776001"), "expires_in_seconds: Input"),
        (form(("file", "a", b"1"), expires_in_seconds="soon"), "expires_in_seconds: Input"),
        ({"file": "x"}, "content-type: expected multipart/form-data"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_wrong_form_is_refused_by_the_name_of_the_field(body, words):
    """Fields and files are what the schema says, and no others."""
    assert Api().refuse("files.upload", 400, body)[0].startswith(words)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"--y\r\n",
        b"--x",
        b"--x\r\ncontent",
        b"--x\r\nh: 1\r\n\r\nv\r\n--x--",
        b'--x\r\ncontent-disposition: form-data; name="file"; filename="a"\r\n\r\nv',
        b'--x\r\ncontent-disposition: form-data; name="file"; filename="a"\r\n\r\nv\r\n--x',
        b'--x\r\ncontent-disposition: form-data; name="\xff"\r\n\r\nv\r\n--x--',
    ],
)
def test_a_broken_form_is_refused(body):
    """What does not follow the boundary is a 400, not a file cut short."""
    kind = {"content-type": "multipart/form-data; boundary=x"}
    assert "not a valid form" in Api().refuse("files.upload", 400, body, headers=kind)[0]


@given(
    st.lists(st.tuples(st.text("ab☃ ", min_size=1), st.binary(max_size=99)), min_size=1),
    st.integers(0, 2**20),
)
def test_a_form_is_read_as_it_was_written(files, padding):
    """Names and contents survive, whatever is in them."""
    files = [*files, ("last", b"\r\n--" * padding)]
    body = form(*(("f", name, content) for name, content in files), field="text")
    headers = {"content-type": body.content_type}
    field, *parts = read_form(headers, body, files={"f"}, fields={"field"})
    assert (field.name, field.text()) == ("field", "text")
    assert [(part.filename, part.body.read()) for part in parts] == files


class Endless:
    """A body of zeros, which takes no room."""

    def __init__(self, size, head=b""):
        self.size = size
        self._head = head

    def __iter__(self):
        """Yield the head, then zeros."""
        yield self._head
        for start in range(len(self._head), self.size, READ_SIZE):
            yield bytes(min(READ_SIZE, self.size - start))


@pytest.mark.slow
def test_over_500_megabytes_is_too_large():
    """The size is known before anything is read: a 413."""
    body = Endless(502 * MEGABYTES)
    api = Api()
    request = Request("POST", "https://x/v1/files", HEADERS, body)
    assert api.emulator.handle(request).status == 413


def test_lists_have_a_cursor_that_survives_changes():
    """A page goes on where the one before it ended, whatever came and went meanwhile."""
    api = Api()
    made = [upload(api, filename=f"{i}.txt")["id"] for i in range(5)]
    first = api.call("files.list", query={"limit": 2})
    assert ids(first) == made[:2:-1]
    api.call("files.delete", file_id=made[3])
    upload(api)
    second = api.call("files.list", query={"limit": 2, "page": first["next_page"]})
    assert ids(second) == [made[2], made[1]]
    last = api.call("files.list", query={"limit": 2, "page": second["next_page"]})
    assert (ids(last), last["next_page"]) == ([made[0]], None)
    assert ids(api.call("files.list", query={"ids": [made[0], "nobody"]})) == [made[0]]
    assert api.refuse("files.list", 400, query={"page": "x"})[0].startswith("page: ")


def test_the_older_beta_has_its_own_shape_and_pages():
    """Under files-api-2025-04-14 there is no expiry, and ids are the cursors."""
    api = Api()
    body = form(("file", "a.txt", b"1"))
    made = [api.call("beta.files.upload", body, betas=LEGACY, legacy=True) for _ in range(3)]
    assert "expires_at" not in made[0]
    first = api.call("beta.files.list", query={"limit": 2}, betas=LEGACY, legacy=True)
    assert (ids(first), first["has_more"]) == ([made[2]["id"], made[1]["id"]], True)
    rest = api.call(
        "beta.files.list", query={"after_id": first["last_id"]}, betas=LEGACY, legacy=True
    )
    assert (ids(rest), rest["has_more"]) == ([made[0]["id"]], False)
    which = {"file_id": made[0]["id"], "betas": LEGACY, "legacy": True}
    api.call("beta.files.retrieve_metadata", **which)
    api.call("beta.files.delete", **which)


def test_another_beta_has_todays_shape_and_a_scope():
    """Only its own header brings the older shape back."""
    api = Api()
    betas = ["any-2026-01-01"]
    made = api.call("beta.files.upload", form(("file", "a", b"1")), betas=betas)
    assert made["scope"] is None
    assert ids(api.call("beta.files.list", betas=betas)) == [made["id"]]
    scoped = api.call("beta.files.list", betas=betas, query={"scope_id": "session_1"})
    assert ids(scoped) == []


def test_what_is_uploaded_is_not_downloaded():
    """Only files that tools made can be downloaded."""
    api = Api()
    _, details = api.refuse("files.download", 400, file_id=upload(api)["id"])
    assert details == {"error_code": "file_not_downloadable"}


def test_a_deleted_file_is_gone():
    """It is not found by any of the operations, or by a message."""
    api = Api()
    file_id = upload(api)["id"]
    assert api.call("files.delete", file_id=file_id) == {"id": file_id, "type": "file_deleted"}
    for name in ("files.retrieve_metadata", "files.download", "files.delete"):
        api.refuse(name, 404, file_id=file_id)
    assert ids(api.call("files.list")) == []
    api.refuse("messages.create", 404, message(shown("document", file_id)))


def test_an_expired_file_leaves_its_metadata_for_30_days():
    """Its content is gone at once, with a code that says why."""
    api = Api()
    mine = upload(api, fields={"expires_in_seconds": "3600"})["id"]
    made = api.emulator.add_file("a.txt", b"1", expires_in=3600)
    assert api.call("files.download", file_id=made) == b"1"
    api.clock.now = 3601
    _, details = api.refuse("files.download", 404, file_id=made)
    assert details == {"error_code": "file_expired"}
    api.refuse("messages.create", 404, message(shown("document", mine)))
    assert api.call("files.retrieve_metadata", file_id=mine)["expires_at"] is not None
    api.clock.now = 3601 + 30 * 86400
    api.refuse("files.retrieve_metadata", 404, file_id=mine)
    assert ids(api.call("files.list")) == []


def test_files_are_of_a_workspace():
    """Another workspace does not see them."""
    api = Api()
    other = {"anthropic-workspace-id": "wrkspc_other"}
    file_id = upload(api, headers=other)["id"]
    assert ids(api.call("files.list")) == []
    assert ids(api.call("files.list", headers=other)) == [file_id]
    api.refuse("files.retrieve_metadata", 404, file_id=file_id)
    api.refuse("messages.create", 404, message(shown("document", file_id)))
    api.call("messages.create", message(shown("document", file_id)), headers=other)


def test_a_message_can_show_a_file_of_the_right_type():
    """A document is a PDF or text, an image an image; in tool results, too."""
    api = Api()
    text = upload(api)["id"]
    image = upload(api, filename="a.png")["id"]
    api.call("messages.create", message(shown("document", text) + shown("image", image)))
    counted = message(shown("image", image))
    del counted["max_tokens"]
    api.call("messages.count_tokens", counted)
    wrong = api.refuse("messages.create", 400, message(shown("image", text)))
    assert wrong[0].startswith("messages.0.content.0.image.source.file_id: ")
    call = {"type": "tool_use", "id": "toolu_1", "name": "t", "input": {}}
    result = {"type": "tool_result", "tool_use_id": "toolu_1", "content": shown("image", text)}
    turns = [
        {"role": "user", "content": "Hello"},
        {"role": "assistant", "content": [call]},
        {"role": "user", "content": [result]},
    ]
    nested = api.refuse("messages.create", 400, message(messages=turns))
    assert nested[0].startswith("messages.2.content.0.tool_result.content.0.image")
    upload_block = [{"type": "container_upload", "file_id": image}]
    api.call("messages.create", message(upload_block, tools=[CODE]))
    unknown = [{"type": "container_upload", "file_id": "file_none"}]
    api.refuse("messages.create", 404, message(unknown, tools=[CODE]))


@pytest.mark.parametrize("tool", ["code_execution_20250522", "code_execution_20260521"])
def test_the_code_execution_tool_writes_a_file(tool):
    """`[[file:name,bytes]]` makes a file that can be downloaded, whole or streamed alike."""
    api = Api()
    tools = [{"type": tool, "name": "code_execution"}]
    answer = api.call("messages.create", message("[[file:a.csv,300000]]", tools=tools))
    call, result, text = answer["content"]
    assert call["type"] == "server_tool_use"
    assert result["tool_use_id"] == call["id"]
    assert text["text"].startswith("Echo ")
    assert answer["stop_reason"] == "end_turn"
    assert answer["container"]["id"].startswith("container_")
    (output,) = result["content"]["content"]
    metadata = api.call("files.retrieve_metadata", file_id=output["file_id"])
    assert (metadata["filename"], metadata["downloadable"]) == ("a.csv", True)
    content = api.call("files.download", file_id=output["file_id"])
    assert len(content) == metadata["size_bytes"] == 300_000
    streamed = api.respond("messages.create", message("[[file:a.csv]]", tools=tools, stream=True))
    assert f'"type":"{result["type"]}"'.encode() in streamed.body
    assert b'"file_id":"file_01' in streamed.body


def test_without_the_tool_no_file_is_written():
    """The control is for a tool that is there."""
    api = Api()
    answer = api.call("messages.create", message("[[file:a.csv]]"))
    assert [block["type"] for block in answer["content"]] == ["text"]
    assert ids(api.call("files.list")) == []


def test_a_file_can_be_put_there_by_a_test():
    """`add_file` takes bytes, or a source that is read when it is downloaded."""
    api = Api()
    file_id = api.emulator.add_file("a.bin", Endless(1_000_000), mime_type="image/png")
    response = api.respond("files.download", file_id=file_id)
    assert response.body == bytes(1_000_000)
    assert response.headers["content-type"] == "image/png"
    assert "a.bin" in response.headers["content-disposition"]
    assert api.emulator.add_file("b", b"1", file_id="file_mine", downloadable=False) == "file_mine"
    api.refuse("files.download", 400, file_id="file_mine")


def test_a_download_is_not_made_before_it_is_wanted():
    """The body of the reply comes in pieces, with its length in the head."""
    emulator = Emulator()
    file_id = emulator.add_file("a", Endless(10 * MEGABYTES))
    reply = emulator.reply(Request("GET", f"https://x/v1/files/{file_id}/content", HEADERS))
    assert (reply.at_once, reply.size) == (False, 10 * MEGABYTES)
    assert max(len(step) for step in reply.steps) == READ_SIZE


@given(st.lists(st.binary(max_size=2000), max_size=9), st.integers(0, 4000), st.data())
def test_a_blob_reads_what_was_spooled(pieces, kept, data):
    """In memory or on disk, whole, cut or searched, it is the same bytes."""
    spool = Spool(kept)
    for piece in pieces:
        spool.write(piece)
    whole, blob = b"".join(pieces), spool.blob()
    assert (blob.size, b"".join(blob), blob.read()) == (len(whole), whole, whole)
    start = data.draw(st.integers(0, len(whole)))
    stop = data.draw(st.integers(start, len(whole)))
    cut = blob.cut(start, stop)
    assert (cut.read(), cut.read(2, 3)) == (whole[start:stop], whole[start:stop][2:5])
    needle = whole[stop : stop + 5] or b"none"
    assert blob.find(needle, start) == whole.find(needle, start)


def test_a_needle_across_two_pieces_is_found():
    """A boundary may lie anywhere."""
    blob = Blob.of(bytes(READ_SIZE - 2) + b"needle" + bytes(READ_SIZE))
    assert blob.find(b"needle") == READ_SIZE - 2


@pytest.mark.parametrize("chunked", [False, True])
def test_a_large_body_is_spooled_as_it_arrives(chunked):
    """What is above the limit of memory becomes a source; what is above it all is dropped."""
    size = HELD + 3 * READ_SIZE
    reader = RequestReader(HELD + READ_SIZE)
    framing = b"transfer-encoding: chunked" if chunked else b"content-length: %d" % size
    reader.receive(b"POST / HTTP/1.1\r\nhost: x\r\n" + framing + b"\r\n\r\n")
    for _ in range(size // READ_SIZE):
        piece = b"z" * READ_SIZE
        reader.receive(b"%x\r\n%b\r\n" % (READ_SIZE, piece) if chunked else piece)
        if reader._requests.gi_frame is not None:
            received = reader.next()
    if chunked:
        reader.receive(b"0\r\n\r\n")
        received = reader.next()
    assert received.body.size == HELD + READ_SIZE + 1
    assert b"".join(received.body) == b"z" * (HELD + READ_SIZE + 1)


def test_a_problem_of_a_long_field_is_one_of_the_field():
    """A text in a form is not a way to send a file."""
    body = form(("f", "a", b""), field="x" * 100_000)
    field, _ = read_form({"content-type": body.content_type}, body, files={"f"}, fields={"field"})
    with pytest.raises(Problem, match="field: "):
        field.text()


def test_a_large_upload_on_a_port_can_be_too_large_and_still_be_answered():
    """The server reads it to its end and keeps none of it above the limit."""
    with emulator_server() as url:
        connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=30)
        size = 40 * MEGABYTES
        body = Endless(size)
        headers = {**HEADERS, "content-length": str(size)}
        connection.request("POST", "/v1/messages", iter(body), headers)
        response = connection.getresponse()
        assert (response.status, orjson.loads(response.read())["error"]["type"]) == (
            413,
            "request_too_large",
        )
        connection.close()


def high_water(pid):
    """Tell the most memory that a process has had, in bytes."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))


SERVE = (
    "from claude_lite.emulator.serving import run_server; "
    "run_server(announce=lambda u: print(u, flush=True))"
)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="it looks into /proc")
def test_400_megabytes_up_and_down_are_not_held_in_memory(tmp_path):
    """A server on a port needs less than 60 MB more for a file of 400 MB, in either direction."""
    size = 400 * MEGABYTES
    path = tmp_path / "large.txt"
    with path.open("wb") as file:
        file.truncate(size)
    with subprocess.Popen(  # noqa: S603  # our own code
        [sys.executable, "-c", SERVE], stdout=subprocess.PIPE, text=True
    ) as server:
        try:
            client = Client(base_url=server.stdout.readline().strip(), api_key="canary")
            client.send(ListFiles())
            idle = high_water(server.pid)
            made = client.send(UploadFile(file=path))
            assert made.size_bytes == size
            prompt = f"[[file:large.bin,{size}]]"
            answer = client.messages.create(**message(prompt, tools=[CODE]))
            file_id = answer.content[1].content["content"][0]["file_id"]
            with client.stream(DownloadFile(file_id=file_id)) as download:
                assert sum(len(piece) for piece in download) == size
            client.send(DeleteFile(file_id=made.id))
            assert high_water(server.pid) - idle < 60 * MEGABYTES
        finally:
            server.terminate()


def test_a_sender_that_leaves_at_once_leaves_nothing_behind():
    """The reply that was being found for it is closed."""
    emulator = Emulator()
    body = form(("file", "a", bytes(2 * HELD)))
    with emulator_server(emulator) as url:
        for _ in range(3):
            connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=30)
            headers = {**HEADERS, "content-type": body.content_type}
            headers["content-length"] = str(body.size)
            connection.request("POST", "/v1/files", iter(body), headers)
            connection.close()
        deadline = time.monotonic() + 10
        while emulator.requests.total < 3 or emulator.in_flight:
            assert time.monotonic() < deadline
            time.sleep(0.01)


def test_others_are_served_while_a_large_body_is_read():
    """An upload is read on a thread of its own."""

    async def main():
        with emulator_server() as url:
            async with AsyncClient(base_url=url, api_key="canary") as client:
                upload_ = asyncio.create_task(client.send(UploadFile(file=bytes(64 * MEGABYTES))))
                answers = 0
                while not upload_.done():
                    await client.send(ListFiles())
                    answers += 1
                return (await upload_).size_bytes, answers

    size, answers = asyncio.run(main())
    assert size == 64 * MEGABYTES
    assert answers > 1
