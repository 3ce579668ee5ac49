"""A tour of the API with the official SDKs, against whatever serves it: an emulator on a port.

    claude-lite serve --port 8000 &
    python tests/sdk_tour.py http://127.0.0.1:8000 anthropic
    python tests/sdk_tour.py http://127.0.0.1:8000 openai

Each SDK calls every core operation that it has, once at least, and holds the responses to its
own types. An error, or an answer that is not what it should be, ends the tour with status 1.
The SDKs are peers to compare with, not dependencies: the group `peers` in pyproject.toml.
"""

import asyncio
import sys
import tempfile
import time
from pathlib import Path

KEY = "sk-ant-api03-tour"
ADMIN_KEY = "sk-ant-admin01-tour"
MODEL = "claude-sonnet-5-5"
SKILL = "---\nname: greeting\ndescription: Says hello.\n---\nSay hello.\n"
TOOL = {
    "name": "get_weather",
    "description": "Look out of the window.",
    "input_schema": {
        "type": "object",
        "properties": {"city": {"type": "string"}},
        "required": ["city"],
    },
}
SECONDS = 30  # that a batch may take


def user(text):
    """Make a conversation of one turn."""
    return {"model": MODEL, "max_tokens": 512, "messages": [{"role": "user", "content": text}]}


def check(what, truth):
    """End the tour if something is not as it should be."""
    if not truth:
        raise SystemExit(f"not as it should be: {what}")


def tour_anthropic(url):
    """Go through the API with the `anthropic` SDK."""
    import anthropic  # only this tour needs it

    options = {"base_url": url, "max_retries": 0, "_strict_response_validation": True}
    with anthropic.Anthropic(api_key=KEY, **options) as client:
        for space in (client, client.beta):
            _messages(space)
            _batches(space)
            _models(space)
            _files(space)
            _skills(space)
        _betas(client)
        _errors(client, anthropic)
    with anthropic.Anthropic(api_key=ADMIN_KEY, **options) as admin:
        for space in (admin, admin.beta):
            _organization(space.organization)
        _reports(admin)
    asyncio.run(_asynchronously(anthropic, options))


def _messages(space):
    from pydantic import BaseModel  # comes with the SDK

    class Weather(BaseModel):
        city: str
        degrees: int

    messages = space.messages
    message = messages.create(**user("Hello"), system="Be brief.", metadata={"user_id": "u"})
    check("the text of a message", message.content[0].text.startswith("Echo "))
    check(
        "counted tokens",
        messages.count_tokens(model=MODEL, messages=user("a")["messages"]).input_tokens,
    )
    with messages.stream(**user("Hello")) as stream:
        text = "".join(stream.text_stream)
        final = stream.get_final_message()
    check("streamed text", text == final.content[0].text and final.usage.output_tokens)
    kinds = {event.type for event in messages.create(**user("Hello"), stream=True)}
    check("the events of a stream", {"message_start", "message_stop"} <= kinds)
    parsed = messages.parse(**user("Weather?"), output_format=Weather)
    check("a parsed answer", isinstance(parsed.parsed_output, Weather))
    thinking = {"type": "adaptive"}
    with messages.stream(**user("Think"), thinking=thinking) as stream:
        kinds = [block.type for block in stream.get_final_message().content]
    check("streamed thinking", kinds == ["thinking", "text"])
    _tools(messages)


def _tools(messages):
    asked = {**user("[[tool]] And?"), "tools": [TOOL]}
    with messages.stream(**asked) as stream:
        called = stream.get_final_message()
    call = called.content[-1]
    check("a tool call", (call.type, call.name) == ("tool_use", "get_weather"))
    check("its input", set(call.input) == {"city"})
    result = {"type": "tool_result", "tool_use_id": call.id, "content": "sunny"}
    turns = [
        *asked["messages"],
        {"role": "assistant", "content": called.content},
        {"role": "user", "content": [result]},
    ]
    answer = messages.create(**{**asked, "messages": turns})
    check("the answer to a result", "sunny" in answer.content[0].text)


def _batches(space):
    batches = space.messages.batches
    requests = [{"custom_id": f"r{i}", "params": user(f"Hello {i}")} for i in range(3)]
    batch = batches.create(requests=requests)
    check("a listed batch", batch.id in [one.id for one in batches.list(limit=1)])
    until = time.monotonic() + SECONDS
    while batches.retrieve(batch.id).processing_status != "ended":
        check("a batch that ends", time.monotonic() < until)
        time.sleep(0.05)
    results = {one.custom_id: one.result for one in batches.results(batch.id)}
    check("all results", sorted(results) == ["r0", "r1", "r2"])
    check("their messages", results["r1"].message.content[0].text.startswith("Echo "))
    check("a deleted batch", batches.delete(batch.id).id == batch.id)
    canceled = batches.create(requests=requests)
    check("a canceled batch", batches.cancel(canceled.id).cancel_initiated_at is not None)


def _models(space):
    ids = [model.id for model in space.models.list(limit=3)]
    check("all models", MODEL in ids and len(ids) == len(set(ids)))
    check("a model", space.models.retrieve(MODEL).display_name)


def _files(space):
    files = space.files
    text = files.upload(file=("notes.txt", b"Remember the milk.", "text/plain"))
    check("a listed file", text.id in [one.id for one in files.list(limit=1)])
    check("a file's metadata", files.retrieve_metadata(text.id).filename == "notes.txt")
    document = {"type": "document", "source": {"type": "file", "file_id": text.id}}
    asked = user("")
    asked["messages"][0]["content"] = [document, {"type": "text", "text": "What is it?"}]
    check("a message about a file", space.messages.create(**asked).content)
    code = {"type": "code_execution_20250825", "name": "code_execution"}
    made = space.messages.create(**user("[[file:out.txt,64]]"), tools=[code])
    results = [b for b in made.content if b.type == "bash_code_execution_tool_result"]
    made_id = results[0].content.content[0].file_id
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "out.txt")
        files.download(made_id).write_to_file(path)
        check("a downloaded file", path.stat().st_size == 64)  # as asked
    for file_id in (text.id, made_id):
        check("a deleted file", files.delete(file_id).id == file_id)


def _skills(space):
    skills, document = space.skills, ("greeting/SKILL.md", SKILL.encode())
    skill = skills.create(files=[document], display_name=f"Greeting {time.monotonic()}")
    check("a listed skill", skill.id in [one.id for one in skills.list(limit=1)])
    check("a skill", skills.retrieve(skill.id).id == skill.id)
    versions = skills.versions
    version = versions.create(skill.id, files=[document, ("greeting/notes.md", b"More.")])
    listed = [one.id for one in versions.list(skill.id, limit=1)]
    check("listed versions", version.id in listed and len(listed) > 1)
    check("a version", versions.retrieve(version.id, skill_id=skill.id).id == version.id)
    if hasattr(versions, "download"):
        content = versions.download(version.id, skill_id=skill.id).read()
        check("a downloaded version", content.startswith(b"PK"))
    container = {"skills": [{"type": "custom", "skill_id": skill.id, "version": "latest"}]}
    code = {"type": "code_execution_20250825", "name": "code_execution"}
    said = space.messages.create(**user("Hi"), container=container, tools=[code])
    check("a skill in a container", said.container.skills[0].skill_id == skill.id)
    versions.delete(version.id, skill_id=skill.id)
    check("a deleted skill", skills.delete(skill.id).id == skill.id)


def _betas(client):
    """Use what only the beta namespace has."""
    from anthropic import beta_tool  # only this tour needs it

    @beta_tool
    def look(city: str) -> str:
        """Look out of the window.

        Args:
            city: Where the window is.

        """
        return f"rain in {city[:4]}"

    asked = user("[[tool]] And?")
    betas = ["context-management-2025-06-27"]
    check("a beta", client.beta.messages.create(**asked, betas=betas).content)
    runner = client.beta.messages.tool_runner(**asked, tools=[look], max_iterations=3)
    check("a tool that is run", "rain in" in runner.until_done().content[0].text)


def _errors(client, anthropic):
    """Meet the errors that everyone meets."""
    for error, call in (
        (anthropic.NotFoundError, lambda: client.models.retrieve("claude-nobody")),
        (anthropic.NotFoundError, lambda: client.messages.create(**{**user("a"), "model": "x"})),
        (
            anthropic.BadRequestError,
            lambda: client.messages.create(**{**user("a"), "max_tokens": 0}),
        ),
    ):
        try:
            call()
        except error as found:
            check("the request's id", found.request_id.startswith("req_"))
        else:
            check(f"{error.__name__}", truth=False)


def _organization(organization):
    check("the organization", organization.retrieve().name)
    email = f"guest-{time.monotonic()}@example.com"
    invite = organization.invites.create(email=email, role="user")
    check("a listed invite", invite.id in [one.id for one in organization.invites.list(limit=1)])
    check("an invite", organization.invites.retrieve(invite.id).status == "pending")
    check("a deleted invite", organization.invites.delete(invite.id).type == "invite_deleted")
    users = [one for one in organization.users.list(limit=2) if one.role != "admin"]
    check("users", len(users) > 1)
    someone = organization.users.retrieve(users[0].id)
    organization.users.update(someone.id, role="developer")
    workspaces = organization.workspaces
    workspace = workspaces.create(name="Tour", tags={"team": "tour"})
    check("a listed workspace", workspace.id in [one.id for one in workspaces.list(limit=1)])
    workspaces.update(workspace.id, name="Grand tour")
    check("a renamed workspace", workspaces.retrieve(workspace.id).name == "Grand tour")
    members, known = workspaces.members, {"workspace_id": workspace.id}
    members.add(workspace.id, user_id=someone.id, workspace_role="workspace_user")
    members.update(someone.id, workspace_role="workspace_admin", **known)
    check("a member", members.retrieve(someone.id, **known).workspace_role == "workspace_admin")
    check("members", [one.user_id for one in members.list(workspace.id)] == [someone.id])
    members.remove(someone.id, **known)
    check("an archived workspace", workspaces.archive(workspace.id).archived_at)
    check("a removed user", organization.users.remove(someone.id).id == someone.id)
    keys = list(organization.api_keys.list(limit=2, status="active"))
    key = organization.api_keys.retrieve(keys[0].id)
    check("a key's scope", key.scope.type in ("workspace", "organization"))
    changed = organization.api_keys.update(key.id, name="toured")
    check("a renamed key", changed.name == "toured")


def _reports(client):
    """Read the reports, for which the SDK has no methods, by its plain `get`."""
    for path in ("usage_report/messages", "cost_report", "usage_report/claude_code"):
        query = {"starting_at": "2026-02-03", "limit": 2}
        options = {"params": query}
        page = client.get(f"/v1/organizations/{path}", cast_to=dict[str, object], options=options)
        check(path, page["data"] and "has_more" in page)


async def _asynchronously(anthropic, options):
    async with anthropic.AsyncAnthropic(api_key=KEY, **options) as client:
        message = await client.messages.create(**user("Hello"))
        async with client.messages.stream(**user("Hello")) as stream:
            text = "".join([piece async for piece in stream.text_stream])
        check("the same text", text == message.content[0].text)
        check("models", [model.id async for model in client.models.list(limit=5)])


def tour_openai(url):
    """Go through the chat completions with the `openai` SDK."""
    import openai  # only this tour needs it

    options = {"base_url": f"{url}/v1", "max_retries": 0, "_strict_response_validation": True}
    function = {"name": TOOL["name"], "parameters": TOOL["input_schema"]}
    tools = [{"type": "function", "function": function}]
    with openai.OpenAI(api_key=KEY, **options) as client:
        chat = client.chat.completions
        turns = [{"role": "system", "content": "Be brief."}, *user("Hello")["messages"]]
        raw = chat.with_raw_response.create(model=MODEL, messages=turns, n=1, seed=7)
        check("the rate limits", raw.headers["x-ratelimit-limit-requests"])
        whole = raw.parse()
        check("usage", whole.usage.total_tokens)
        text = whole.choices[0].message.content
        check("text", text.startswith("Echo "))
        more = {"stream_options": {"include_usage": True}}
        chunks = list(chat.create(model=MODEL, messages=turns, stream=True, **more))
        pieces = [one.delta.content or "" for chunk in chunks for one in chunk.choices]
        check("streamed text", "".join(pieces) == text)
        check("streamed usage", chunks[-1].usage == whole.usage)
        asked = {"model": MODEL, "messages": user("[[tool]] And?")["messages"], "tools": tools}
        with chat.stream(**asked) as stream:
            message = stream.get_final_completion().choices[0].message
        (call,) = message.tool_calls
        check("a tool call", call.function.name == "get_weather")
        result = {"role": "tool", "tool_call_id": call.id, "content": "sunny"}
        said = {"role": "assistant", "content": message.content}
        said["tool_calls"] = [call.model_dump(exclude={"function": {"parsed_arguments"}})]
        turns = [*asked["messages"], said, result]
        answer = chat.create(**{**asked, "messages": turns})
        check("the answer to a result", "sunny" in answer.choices[0].message.content)
        for error, wrong in (
            (openai.NotFoundError, {"model": "gpt-x"}),
            (openai.BadRequestError, {"n": 2}),
        ):
            try:
                chat.create(**{**asked, **wrong})
            except error as found:
                check("an error's message", found.body["message"])
            else:
                check(error.__name__, truth=False)


if __name__ == "__main__":
    {"anthropic": tour_anthropic, "openai": tour_openai}[sys.argv[2]](sys.argv[1])
