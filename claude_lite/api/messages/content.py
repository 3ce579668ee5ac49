"""Content blocks, and the citations in them: https://docs.claude.com/en/api/messages.

A block or a citation whose `type` this version does not know becomes an `UnknownBlock` or an
`UnknownCitation`, never a known class with fields missing.
"""

from typing import TYPE_CHECKING, Any, Final

from claude_lite.api.unknown import Unknown
from claude_lite.core.model import Model, model

__all__ = [
    "CharLocation",
    "Citation",
    "CompactionBlock",
    "ContainerUploadBlock",
    "ContentBlock",
    "ContentBlockLocation",
    "FallbackBlock",
    "MCPToolListingBlock",
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
    """The source of a text block. The subclasses differ by `type`."""


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
    """A range of blocks of a search result that was in the request."""

    TAGS = ("search_result_location",)
    cited_text: str
    source: str
    search_result_index: int
    start_block_index: int
    end_block_index: int
    title: str | None = None
    type: str = "search_result_location"


@model
class UnknownCitation(Unknown, Citation):
    """A citation whose type this version does not know, or that does not fit its class."""


# Content blocks


@model
class ContentBlock(Model):
    """One piece of the content of a message. The subclasses differ by `type`."""


@model
class TextBlock(ContentBlock):
    """Text, with citations if the request asked for them."""

    TAGS = ("text",)
    text: str
    citations: list[Citation] | None = None
    type: str = "text"


@model
class ThinkingBlock(ContentBlock):
    """Reasoning before the answer."""

    TAGS = ("thinking",)
    thinking: str
    signature: str = ""
    """Send it back unchanged, byte for byte, in the next request."""
    type: str = "thinking"


@model
class RedactedThinkingBlock(ContentBlock):
    """Reasoning that is not shown."""

    TAGS = ("redacted_thinking",)
    data: str
    """Send it back unchanged, byte for byte, in the next request."""
    type: str = "redacted_thinking"


INVALID_JSON: Final = "INVALID_JSON"
"""The only key of an `input` that is not a JSON object; its value is the text of the model.

The API's documentation asks for this form when such an input is sent back:
https://docs.claude.com/en/docs/agents-and-tools/tool-use/fine-grained-tool-streaming
"""


class _ToolCall:
    """What the blocks of all tool calls have in common."""

    if TYPE_CHECKING:
        input: dict[str, Any]

    @property
    def input_unreadable(self) -> bool:
        """Whether `input` is not what the model meant: then do not call the tool.

        The model wrote a text that is not a JSON object, or the stream ended within the text
        (`max_tokens`). `input` is then `{"INVALID_JSON": text}`, and `to_param` sends it back so.
        """
        return self.partial_json is not None

    @property
    def partial_json(self) -> str | None:
        """The text of an unreadable `input`, as far as it arrived; None if `input` was read."""
        is_only_key = self.input.keys() == {INVALID_JSON}
        return self.input[INVALID_JSON] if is_only_key else None


@model
class ToolUseBlock(_ToolCall, ContentBlock):
    """A call of one of your tools. Answer with a `tool_result` block that names `id`."""

    TAGS = ("tool_use",)
    id: str
    name: str
    input: dict[str, Any]
    """The parsed JSON; `{"INVALID_JSON": text}` if the text is not a JSON object (see
    `input_unreadable`)."""
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


TOOL_USES: Final = (ToolUseBlock, ServerToolUseBlock, MCPToolUseBlock)


@model
class MCPToolResultBlock(ContentBlock):
    """The answer of a tool on an MCP server (beta): text, or a list of blocks."""

    TAGS = ("mcp_tool_result",)
    tool_use_id: str
    content: Any
    is_error: bool = False
    type: str = "mcp_tool_result"


@model
class MCPToolListingBlock(ContentBlock):
    """The tools that an MCP server offers (beta)."""

    TAGS = ("mcp_tool_listing",)
    mcp_server_name: str
    tools: list[Any]
    type: str = "mcp_tool_listing"


@model
class ServerToolResultBlock(ContentBlock):
    """The result of a tool that the API ran."""

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
    """JSON in the shape of the tool; after a failure, an object with an `error_code`."""
    caller: dict[str, Any] | None = None


@model
class ContainerUploadBlock(ContentBlock):
    """A file that was put into the code execution container."""

    TAGS = ("container_upload",)
    file_id: str
    type: str = "container_upload"


@model
class CompactionBlock(ContentBlock):
    """A summary that replaces the conversation so far (beta)."""

    TAGS = ("compaction",)
    content: str | None = None
    encrypted_content: str | None = None
    signature: str | None = None
    tool_changes: list[Any] | None = None
    type: str = "compaction"


@model
class FallbackBlock(ContentBlock):
    """The point from which another model, `to["model"]`, answered (beta)."""

    TAGS = ("fallback",)
    to: dict[str, Any]
    trigger: dict[str, Any]
    type: str = "fallback"

    @property
    def from_(self) -> dict[str, Any]:
        """The model before this point, as `from_["model"]`. In JSON the key is `from`."""
        value = self.__dict__.get("from")
        return value if isinstance(value, dict) else {}


@model
class UnknownBlock(Unknown, ContentBlock):
    """A block whose type this version does not know, or that does not fit its class."""
