"""Check that each request has one result, and that the result is its own answer.

    python examples/check_results.py REQUESTS.jsonl RESULTS.jsonl

The results have to come from the emulator, whose answers contain a hash of the question. If a
request is wrong, this prints which, and exits with 1.
"""

import json
import sys
from collections import Counter
from pathlib import Path
from typing import Any

from claude_lite.emulator import message_hash


def lines(path: str) -> list[Any]:
    """Read JSON lines."""
    with Path(path).open("rb") as file:
        return [json.loads(line) for line in file]


def faults(requests: list[Any], results: list[Any]) -> list[str]:
    """List what is wrong, one line per request."""
    questions = {r["custom_id"]: message_hash(r["params"]["messages"]) for r in requests}
    answers = {r["custom_id"]: r["result"] for r in results}
    counts = Counter(r["custom_id"] for r in results)
    found = [f"{name}: there is no such request" for name in counts if name not in questions]
    for name, question in questions.items():
        if counts[name] != 1:
            found.append(f"{name}: {counts[name]} answers")
        elif answers[name]["type"] != "succeeded":
            found.append(f"{name}: {answers[name]['error']}")
        elif f"Echo {question}" not in json.dumps(answers[name]["message"]["content"]):
            found.append(f"{name}: the answer to another question")
    return found


if __name__ == "__main__":
    asked, answered = lines(sys.argv[1]), lines(sys.argv[2])
    wrong = faults(asked, answered)
    for fault in wrong[:20]:
        print(fault)
    retried = [result for result in answered if result["attempts"] > 1]
    print(
        f"{len(asked)} requests, {len(answered)} results, {len(wrong)} of them wrong; "
        f"{len(retried)} took more than one attempt."
    )
    sys.exit(bool(wrong))
