"""Tasks to the workers of a dask cluster, and answers back.

joblib's own way to dask gives nothing back of a task that the scheduler gives up, and waits for it without end. The
scheduler gives up whatever it had sent to workers that died, four of them in a row, whichever task killed them.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Sequence
from typing import Any

from sunalign.archive._task import Job, run_task
from sunalign.exceptions import ArchiveError

__all__ = ["on_cluster"]

#: Tasks handed to a cluster at a time: more than it has workers, also when some join later.
_AHEAD = 1000


def on_cluster(jobs: Sequence[Job], client: Any) -> Iterator[dict[str, Any]]:
    """Do all jobs with the workers of a cluster.

    Parameters
    ----------
    jobs : sequence of `Job`
    client : `distributed.Client`

    Yields
    ------
    `dict`
        What `run_task` answers. Besides, ``state`` is ``"lost"`` where the scheduler gave a task up.
    """
    import distributed

    left, names = iter(jobs), {}
    dask: Any = distributed  # which is not typed
    ended = dask.as_completed()

    def hand_over(count: int) -> None:
        for job in itertools.islice(left, count):
            # A string, whatever is in it: arrays and objects would be scattered or pickled with care.
            future = client.submit(run_task, job.text(), pure=False)
            names[future] = job.id
            ended.add(future)

    try:
        hand_over(_AHEAD)
        for future in ended:
            name = names.pop(future)
            if future.status == "finished":
                yield json.loads(future.result())
            elif client.status != "running":
                raise ArchiveError("The dask scheduler is gone. What was done stays done; run it again to go on.")
            else:
                yield {"id": name, "state": "lost", "message": ""}
            hand_over(1)
    finally:
        client.cancel(list(names))
