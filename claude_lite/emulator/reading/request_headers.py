"""What the headers of any request say: version, betas, workspace. A `Problem` if they are wrong."""

from collections.abc import Mapping

from claude_lite.emulator.reading.catalogue import VERSIONS
from claude_lite.emulator.reading.problems import Problem


def read_workspace(headers: Mapping[str, str], default: str) -> str:
    """Say which workspace is meant; a credential here is good for any."""
    wanted = headers.get("anthropic-workspace-id", default)
    if not wanted.startswith("wrkspc_"):
        raise Problem(400, f'anthropic-workspace-id: "{wanted}" is not a workspace id')
    return wanted


def read_version(headers: Mapping[str, str], default: str | None) -> str:
    """Say which version of the API is meant; where there is a *default*, none need be."""
    version = headers.get("anthropic-version", default)
    if version is None:
        raise Problem(400, "anthropic-version: header is required")
    if version not in VERSIONS:
        raise Problem(400, f'anthropic-version: "{version}" is not a valid version')
    return version


def read_betas(headers: Mapping[str, str]) -> tuple[str, ...]:
    """List the betas that are asked for."""
    flags = (flag.strip() for flag in headers.get("anthropic-beta", "").split(","))
    return tuple(flag for flag in flags if flag)
