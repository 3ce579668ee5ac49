"""Dialects: the requests of the API in the form that another platform accepts.

    client = Client(dialect=Bedrock(region="eu-west-1"))

A dialect is a frozen value, and operations do not know about dialects. A built request passes
through `adapt` once, and through `sign` once per attempt (`claude_lite.wire.Dialect`). So
retries, streams, logs and recording work as they do with the API.

botocore and google-auth are extras. The first request that needs a credential from one of them
imports it. To find or refresh a credential they may read files and ask a server over the
network, and they block the calling thread while they do. With `auth_token=` they are not used.
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
