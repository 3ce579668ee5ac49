"""Base URLs, header lines and beta flags, as people write them."""

import re
from typing import Final
from urllib.parse import unquote

_BASE_URL: Final = re.compile(
    r"(https?)://(\[[0-9a-f:.]+\]|[\w-]+(?:\.[\w-]+)*)\.?(:[0-9]{1,5})?(/[\w.~%!$&'()*+,;=:@/-]*)?",
    re.ASCII | re.IGNORECASE,
)


def clean_url(text: str) -> str | None:
    """Return a base URL with a lower-case host, without blanks, quotes and a slash around it.

    Args:
        text: The URL as it was given.

    Returns:
        The URL; None if *text* is not `http(s)://host[:port][/path]` in ASCII.

    """
    found = _BASE_URL.fullmatch(text.strip(" \t\r\n\"'"))
    if found is None:
        return None
    scheme, host, port, path = found.groups(default="")
    return f"{scheme}://{host}".lower() + port + path.rstrip("/")


def has_password(url: str) -> bool:
    """Tell whether the URL of a Redis may have a password: before the host, or as an option.

    Args:
        url: The URL as it was given.

    """
    return "@" in url or "password" in unquote(url).lower()


def is_ambiguous(url: str) -> bool:
    """Tell whether two readers may see another host, or another password, in the URL of a Redis.

    Args:
        url: The URL as it was given. Line breaks, which some drop, and a password with "?" or "#"
            as it is make it ambiguous.

    """
    return not url.strip().isprintable() or "@" in "".join(re.split("[?#]", url, maxsplit=1)[1:])


def header_lines(text: str) -> dict[str, str] | None:
    """Return the headers of a text with a line `Name: value` per header.

    Args:
        text: The lines. Empty lines are skipped.

    Returns:
        The headers, as they are written; None if a line has no colon.

    """
    lines = [line.partition(":") for line in text.split("\n") if line.strip()]
    if not all(colon for _, colon, _ in lines):
        return None
    return {name.strip(): value.strip() for name, _, value in lines}


def union_of_betas(*given: str) -> tuple[str, ...]:
    """Return each beta flag of *given* once, in order.

    Args:
        *given: Texts with a flag, or with several flags, as in "a,b".

    """
    flags = (flag.strip() for text in given for flag in text.split(","))
    return tuple(dict.fromkeys(filter(None, flags)))
