"""Hints for options of other Claude clients: which option of this client to use.

The errors about an unknown option or field show these hints.
"""

from typing import Final

OPTION_HINTS: Final = {
    "default_headers": "use `headers` in place of `default_headers`",
    "http_client": "use `transport` in place of `http_client`",
    "max_retries": "use `retry=standard(attempts=3)` for `max_retries=2`: the first attempt counts",
    "stream": "use the method `stream` in place of the argument",
    "timeout": "use the client's option, as in `client.with_options(timeout=60)`",
}
