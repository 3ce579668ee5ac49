"""The routes of the Message Batches API.

The emulator keeps the body of a batch, on disk if it is large, and a byte per request for the
outcome. Answers are made when the results are read.
"""

from typing import Any, Final

from attrs import evolve

from claude_lite.emulator.reading.blobs import Blob
from claude_lite.emulator.reading.checks import mapping
from claude_lite.emulator.reading.json_array import Elements, find_elements
from claude_lite.emulator.reading.paging import id_page, read_query
from claude_lite.emulator.reading.problems import Problem, fail
from claude_lite.emulator.reading.routing import MEBIBYTE, Answer, Call, ServedRoute
from claude_lite.emulator.routes.batch_requests import BatchRequests, parse_piece
from claude_lite.emulator.routes.messages import MessageRoutes
from claude_lite.emulator.state.batch_runs import BatchPace, StoredBatch
from claude_lite.emulator.state.rate_limits import timestamp
from claude_lite.emulator.state.shelves import Shelf
from claude_lite.emulator.state.world import World

MOST_REQUESTS: Final = 100_000
BATCHES_PATH: Final = "/v1/messages/batches"


class BatchRoutes:
    """Answers `/v1/messages/batches` and the paths below it."""

    def __init__(self, world: World, messages: MessageRoutes, pace: BatchPace) -> None:
        self._world = world
        self._requests = BatchRequests(world, messages)
        self._pace = pace
        self._shelf: Shelf[StoredBatch] = Shelf("Message batch")

    def routes(self) -> tuple[ServedRoute, ...]:
        """List the routes."""
        one = f"{BATCHES_PATH}/{{message_batch_id}}"
        return (
            ServedRoute("POST", BATCHES_PATH, self.create, most=256 * MEBIBYTE),
            ServedRoute("GET", BATCHES_PATH, self.list),
            ServedRoute("GET", one, self.retrieve),
            ServedRoute("DELETE", one, self.delete),
            ServedRoute("POST", f"{one}/cancel", self.cancel),
            ServedRoute("GET", f"{one}/results", self.results),
        )

    def create(self, call: Call) -> Answer:
        """Create a batch."""
        body = Blob.of(call.body)
        found = find_elements(body, "requests", MOST_REQUESTS)
        if len(found.stops) > MOST_REQUESTS:
            raise Problem(413, f"requests: List should have at most {MOST_REQUESTS} items")
        _check_rest(found, body)
        batch = StoredBatch(
            id=self._world.new_id("msgbatch_01", call.number),
            serial=self._shelf.serial(),
            call=evolve(call, body=b"", headers={}),
            pace=self._pace,
            created_at=self._world.now(),
            body=body,
            starts=found.starts,
            stops=found.stops,
            outcomes=bytearray(len(found.stops)),
        )
        self._requests.read(batch)
        return Answer.json(self._shown(self._shelf.put(call.workspace_id, batch), call))

    def list(self, call: Call) -> Answer:
        """List batches, the newest first."""
        batches = [
            batch
            for batch in self._shelf.newest_first(call.workspace_id)
            if self._has_appeared(batch)
        ]
        query = read_query(call.query)
        return Answer.json(id_page(batches, query, lambda batch: self._shown(batch, call)))

    def retrieve(self, call: Call) -> Answer:
        """Show one batch."""
        return Answer.json(self._shown(self._batch(call), call))

    def cancel(self, call: Call) -> Answer:
        """Cancel a batch."""
        batch, now = self._batch(call), self._world.now()
        if batch.status(now) == "ended":
            raise Problem(400, f"Batch {batch.id} has ended and cannot be canceled.")
        if batch.canceled_at is None:
            batch.canceled_at = now
        return Answer.json(self._shown(batch, call))

    def delete(self, call: Call) -> Answer:
        """Delete a batch that has ended."""
        batch = self._batch(call)
        if batch.status(self._world.now()) != "ended":
            raise Problem(400, f"Batch {batch.id} has not ended: cancel it before it is deleted.")
        self._shelf.remove(call.workspace_id, batch.id)
        return Answer.json({"id": batch.id, "type": "message_batch_deleted"})

    def results(self, call: Call) -> Answer:
        """Send the results of a batch that has ended, line by line."""
        batch, now = self._batch(call), self._world.now()
        if batch.status(now) != "ended" or now >= batch.archived_at:
            raise Problem(404, f"There are no results of batch {batch.id}.")
        return Answer(
            self._requests.results(batch), headers={"content-type": "application/x-jsonl"}
        )

    def _batch(self, call: Call) -> StoredBatch:
        batch_id = call.params["message_batch_id"]
        batch = self._shelf.get(call.workspace_id, batch_id)
        if not self._has_appeared(batch):
            raise self._shelf.missing(batch_id)
        return batch

    def _has_appeared(self, batch: StoredBatch) -> bool:
        return self._world.now() >= batch.created_at + batch.pace.appears_after

    def _shown(self, batch: StoredBatch, call: Call) -> dict[str, Any]:
        now = self._world.now()
        ended = batch.status(now) == "ended"
        archived = now >= batch.archived_at
        canceled_at = batch.canceled_at
        return {
            "id": batch.id,
            "type": "message_batch",
            "processing_status": batch.status(now),
            "request_counts": batch.counts(now),
            "created_at": timestamp(int(batch.created_at)),
            "expires_at": timestamp(int(batch.expires_at)),
            "ended_at": timestamp(int(batch.ends_at)) if ended else None,
            "archived_at": timestamp(int(batch.archived_at)) if archived else None,
            "cancel_initiated_at": timestamp(int(canceled_at)) if canceled_at else None,
            "results_url": (
                f"{call.origin}{BATCHES_PATH}/{batch.id}/results"
                if ended and not archived
                else None
            ),
        }


def _check_rest(found: Elements, body: Blob) -> None:
    """Check the document around the requests."""
    if len(found.stops) == 1:
        start, stop = found.starts[0], found.stops[0]
        if not body.read(start, stop - start).strip():  # nothing between the brackets
            found.starts.pop()
            found.stops.pop()
    rest = parse_piece(bytes(found.rest))
    mapping(rest, "requests")
    for name in rest:
        if name != "requests":
            fail(name, "Extra inputs are not permitted")
    if "requests" not in rest:
        fail("requests", "Field required")
    if rest["requests"] != []:
        fail("requests", "Input should be a valid list")
    if not found.stops:
        fail("requests", "List should have at least 1 item after validation, not 0")
