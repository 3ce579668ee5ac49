"""What messages are made of: content blocks, and the citations in them.

What has an unknown `type` becomes the `Unknown…` member of its family, never a known one with
holes. Field meanings: https://docs.claude.com/en/api/messages
"""

from typing import Any

from claude_lite.core.model import Model, model

__all__ = [
    "CharLocation",
    "Citation",
    "CompactionBlock",
    "ContainerUploadBlock",
    "ContentBlock",
    "ContentBlockLocation",
    "FallbackBlock",
    "MCPToolResultBlock",
    "MCPToolUseBlock",
    "PageLocation",
    "RedactedThinkingBlock",
    "SearchResultLocation",
    "ServerToolResultBlock",
    "ServerToolUseBlock",
    "TextBlock",
    "ThinkingBlock",
    "ToolUseBlock",
    "UnknownBlock",
    "UnknownCitation",
    "WebSearchResultLocation",
]

# Citations


@model
class Citation(Model):
    """Where a text block's words come from; the members differ by `type`."""


@model
class CharLocation(Citation):
    """A span of characters of a plain text document."""

    TAGS = ("char_location",)
    cited_text: str
    document_index: int
    start_char_index: int
    end_char_index: int
    document_title: str | None = None
    file_id: str | None = None
    type: str = "char_location"


@model
class PageLocation(Citation):
    """A range of pages of a PDF."""

    TAGS = ("page_location",)
    cited_text: str
    document_index: int
    start_page_number: int
    end_page_number: int
    document_title: str | None = None
    file_id: str | None = None
    type: str = "page_location"


@model
class ContentBlockLocation(Citation):
    """A range of blocks of a custom content document."""

    TAGS = ("content_block_location",)
    cited_text: str
    document_index: int
    start_block_index: int
    end_block_index: int
    document_title: str | None = None
    file_id: str | None = None
    type: str = "content_block_location"


@model
class WebSearchResultLocation(Citation):
    """A page that the web search tool found."""

    TAGS = ("web_search_result_location",)
    cited_text: str
    url: str
    encrypted_index: str
    title: str | None = None
    type: str = "web_search_result_location"


@model
class SearchResultLocation(Citation):
    """A range of blocks of a search result that the request brought along."""

    TAGS = ("search_result_location",)
    cited_text: str
    source: str
    search_result_index: int
    start_block_index: int
    end_block_index: int
    title: str | None = None
    type: str = "search_result_location"


@model
class UnknownCitation(Citation):
    """A citation of a kind that this version does not know; its fields are attributes."""

    type: str


# Content blocks


@model
class ContentBlock(Model):
    """One piece of a message's content; the members differ by `type`."""


@model
class TextBlock(ContentBlock):
    """Text, with citations where they were asked for."""

    TAGS = ("text",)
    text: str
    citations: list[Citation] | None = None
    type: str = "text"


@model
class ThinkingBlock(ContentBlock):
    """Reasoning before the answer; `signature` must go back byte for byte."""

    TAGS = ("thinking",)
    thinking: str
    signature: str = ""
    type: str = "thinking"


@model
class RedactedThinkingBlock(ContentBlock):
    """Reasoning that is not shown; `data` must go back byte for byte."""

    TAGS = ("redacted_thinking",)
    data: str
    type: str = "redacted_thinking"


class _ToolCall:
    """What the calls of all kinds of tools have in common."""

    OURS = frozenset({"_partial_json"})

    @property
    def partial_json(self) -> str | None:
        """Where a stream was cut inside `input` (`max_tokens`): the JSON text that came."""
        return self.__dict__.get("_partial_json")


@model
class ToolUseBlock(_ToolCall, ContentBlock):
    """A call of one of your tools; answer with a `tool_result` block that names `id`.

    `input` is the parsed JSON; empty where `partial_json` says that it was cut short.
    """

    TAGS = ("tool_use",)
    id: str
    name: str
    input: dict[str, Any]
    caller: dict[str, Any] | None = None
    toolset_name: str | None = None
    type: str = "tool_use"


@model
class ServerToolUseBlock(_ToolCall, ContentBlock):
    """A call of a tool that the API runs itself, such as `web_search`."""

    TAGS = ("server_tool_use",)
    id: str
    name: str
    input: dict[str, Any]
    caller: dict[str, Any] | None = None
    type: str = "server_tool_use"


@model
class MCPToolUseBlock(_ToolCall, ContentBlock):
    """A call of a tool on an MCP server (beta)."""

    TAGS = ("mcp_tool_use",)
    id: str
    name: str
    input: dict[str, Any]
    server_name: str
    type: str = "mcp_tool_use"


@model
class MCPToolResultBlock(ContentBlock):
    """What a tool on an MCP server answered (beta): text, or a list of blocks."""

    TAGS = ("mcp_tool_result",)
    tool_use_id: str
    content: Any
    is_error: bool = False
    type: str = "mcp_tool_result"


@model
class ServerToolResultBlock(ContentBlock):
    """What a tool that the API ran came to; `content` is JSON in the shape of that tool.

    A failure is a result, too: `content` is then an object with an `error_code`.
    """

    TAGS = (
        "web_search_tool_result",
        "web_fetch_tool_result",
        "code_execution_tool_result",
        "bash_code_execution_tool_result",
        "text_editor_code_execution_tool_result",
        "tool_search_tool_result",
        "advisor_tool_result",
    )
    type: str
    tool_use_id: str
    content: Any
    caller: dict[str, Any] | None = None


@model
class ContainerUploadBlock(ContentBlock):
    """A file that was put into the code execution container."""

    TAGS = ("container_upload",)
    file_id: str
    type: str = "container_upload"


@model
class CompactionBlock(ContentBlock):
    """The summary that stands for the conversation so far (beta)."""

    TAGS = ("compaction",)
    content: str | None = None
    encrypted_content: str | None = None
    signature: str | None = None
    tool_changes: list[Any] | None = None
    type: str = "compaction"


@model
class FallbackBlock(ContentBlock):
    """From here on another model answered: `to["model"]` (beta)."""

    TAGS = ("fallback",)
    to: dict[str, Any]
    trigger: dict[str, Any]
    type: str = "fallback"


@model
class UnknownBlock(ContentBlock):
    """A block of a kind that this version does not know; its fields are attributes."""

    type: str
