"""`client.messages.batches`, the group of methods for batches."""

from claude_lite.api.batches import (
    BatchResults,
    CancelBatch,
    CreateBatch,
    DeleteBatch,
    ListBatches,
    RetrieveBatch,
)
from claude_lite.batching.running import matched, matched_async, run_batch, run_batch_async
from claude_lite.batching.waiting import wait, wait_async
from claude_lite.client.endpoints import (
    C_co,
    Endpoint,
    ItemsEndpoint,
    Namespace,
    StreamEndpoint,
    SyncOrAsync,
)


class Batches(Namespace[C_co]):
    """Message batches."""

    create = Endpoint(CreateBatch)
    retrieve = Endpoint(RetrieveBatch)
    list = Endpoint(ListBatches)
    items = ItemsEndpoint(ListBatches)
    cancel = Endpoint(CancelBatch)
    delete = Endpoint(DeleteBatch)
    results = StreamEndpoint(BatchResults)
    wait = SyncOrAsync(wait, wait_async)
    matched = SyncOrAsync(matched, matched_async)
    run = SyncOrAsync(run_batch, run_batch_async)
