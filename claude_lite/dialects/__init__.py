"""Claude on other platforms: what they want instead of the API's own requests.

    client = Client(dialect=Bedrock(region="eu-west-1"))

A dialect is a frozen value; an operation does not know of it. The built request passes
through `adapt` once and through `sign` for each attempt (`claude_lite.wire.Dialect`), so
retries, streams, logs and recording are those of the API. botocore and google-auth are
extras, loaded by the first request that needs them to find or use a credential. They may
read files, ask a metadata server, or refresh a token over the network while they do, and
block meanwhile; `auth_token=` with a function of your own goes before them.
"""

from claude_lite.dialects.bedrock import Bedrock, BedrockMantle, ClaudeOnAWS
from claude_lite.dialects.foundry import Foundry
from claude_lite.dialects.sigv4 import AWSKeys
from claude_lite.dialects.vertex import ClaudeOnGoogleCloud, Vertex
from claude_lite.wire import Dialect

__all__ = [
    "AWSKeys",
    "Bedrock",
    "BedrockMantle",
    "ClaudeOnAWS",
    "ClaudeOnGoogleCloud",
    "Dialect",
    "Foundry",
    "Vertex",
]
