"""What other clients take, and where it is here: for the errors of who comes from one of them."""

from typing import Final

ELSEWHERE: Final = {
    "default_headers": "headers of all requests are `headers`",
    "http_client": "what does the I/O is `transport`",
    "max_retries": "retries are `retry=standard(attempts=...)`, the first attempt included",
    "stream": "streams have a method of their own, `stream`",
    "timeout": "it is an option of clients, as in `client.with_options(timeout=60)`",
}
