"""Tasks to workers and answers back: by joblib on this machine, or on the cluster that joblib is set to."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import joblib
from joblib.externals.loky.process_executor import BrokenProcessPool
from joblib.parallel import get_active_backend

from sunalign.archive._dask import on_cluster
from sunalign.archive._limits import grace
from sunalign.archive._store import FINISHED, Store
from sunalign.archive._task import Job, killer, run_task, timed_out
from sunalign.exceptions import ArchiveError

__all__ = ["answers"]

#: How often workers may break without a task done in between.
_BARREN = 4

_ENDING = 3.0  # Seconds that joblib takes at most to end the workers that are left.
_LOOK = 0.5  # Seconds between looks at tasks that another process does.


def answers(jobs: Sequence[Job], store: Store, n_jobs: int | None) -> Generator[dict[str, Any]]:
    """Do jobs, and give what `run_task` answers, as they end.

    Every job is answered once, whatever becomes of the workers: those that break are replaced, and what was under way
    is begun again.

    Parameters
    ----------
    jobs : sequence of `Job`
    store : `Store`
    n_jobs : `int` or `None`
        Worker processes; `None` for what `joblib.parallel_config` says, else 1.
    """
    queue = _Queue({job.id: job for job in jobs}, {}, {})
    barren = 0
    while queue.left:
        if not queue.waiting and not queue.suspects:
            yield from _wait(queue, store)
            continue
        group, batch = queue.next()
        before, cause = queue.size, None
        try:
            for answer in _once(batch, n_jobs):
                if answer["state"] == "lost":
                    continue  # It is begun again with the others that are left.
                job = group.pop(answer["id"])
                if answer["state"] == "elsewhere":
                    queue.elsewhere[job.id] = job
                else:
                    yield answer
        except BrokenProcessPool as error:
            before, cause = queue.size, error
            yield from _aftermath(group, [job for job in batch if job.id in group], queue, store)
        barren = 0 if queue.size != before else barren + 1
        if barren >= _BARREN:
            raise ArchiveError(
                f"The workers died {barren} times before they began a task; {sum(queue.size)} tasks are left. Most "
                f"likely there is too little memory: use fewer n_jobs, and run it again to go on."
            ) from cause


@dataclass
class _Queue:
    """Jobs by what is to come of them.

    Parameters
    ----------
    waiting : `dict`
        To be done.
    suspects : `dict`
        Under way when a worker died. Which of them killed it is seen when each is done alone.
    elsewhere : `dict`
        Claimed by other processes.
    """

    waiting: dict[str, Job]
    suspects: dict[str, Job]
    elsewhere: dict[str, Job]

    @property
    def left(self) -> bool:
        return bool(self.waiting or self.suspects or self.elsewhere)

    @property
    def size(self) -> tuple[int, int]:
        """How many wait, and how many are suspects."""
        return len(self.waiting), len(self.suspects)

    def next(self) -> tuple[dict[str, Job], list[Job]]:
        """Where the jobs to be done next are, and which: all that wait, or else one suspect."""
        if self.waiting:
            return self.waiting, list(self.waiting.values())
        return self.suspects, [next(iter(self.suspects.values()))]


def _aftermath(group: dict[str, Job], batch: Sequence[Job], queue: _Queue, store: Store) -> Iterator[dict[str, Any]]:
    """Answers that never came since the workers died; what was under way is put among the suspects."""
    _settle(batch, store)
    for answer in _late_or_done(batch, store):
        del group[answer["id"]]
        yield answer
    for claim in store.claims_of(batch[0].run, [job.id for job in batch if job.id in group]):
        if store.is_alive(claim):
            continue
        job = group.pop(claim.id)
        if group is queue.waiting:
            queue.suspects[job.id] = job
        else:
            record = killer(job)
            store.write(job.id, record)
            store.release(claim)
            yield {"id": job.id, "state": record["state"], "message": record["message"]}


def _settle(batch: Sequence[Job], store: Store) -> None:
    """Wait until the other workers, which are ended too, have ended."""
    end = time.monotonic() + _ENDING
    names = [job.id for job in batch]
    while time.monotonic() < end and any(map(store.is_alive, store.claims_of(batch[0].run, names))):
        time.sleep(0.05)


def _once(jobs: Sequence[Job], n_jobs: int | None) -> Iterator[dict[str, Any]]:
    """Do all jobs with one set of workers."""
    active, _ = get_active_backend()
    if type(active).__name__ == "DaskDistributedBackend":
        yield from on_cluster(jobs, active.client)
        return
    with _backend(jobs, n_jobs) as options:
        pool = joblib.Parallel(return_as="generator_unordered", **options)
        found = pool(joblib.delayed(run_task)(job.text()) for job in jobs)
        try:
            for text in found:
                yield json.loads(text)
        finally:
            found.close()


@contextlib.contextmanager
def _backend(jobs: Sequence[Job], n_jobs: int | None) -> Iterator[dict[str, Any]]:
    """Options of `joblib.Parallel` in the right context."""
    options: dict[str, Any] = {} if n_jobs is None else {"n_jobs": n_jobs}
    active, chosen = get_active_backend()
    if type(active).__name__ != "LokyBackend" or bool(getattr(active, "nesting_level", 0)):
        yield options
        return
    wanted = chosen if n_jobs is None else n_jobs
    if wanted in (None, 1) and any(job.timeout is not None for job in jobs):
        # A process that hangs can only be ended, so it must not be this one. Of two workers one has nothing to do.
        options = {"n_jobs": 2, "pre_dispatch": 1, "batch_size": 1}
    if options.get("n_jobs", wanted) in (None, 1):
        yield options
        return
    with joblib.parallel_config("loky", n_jobs=wanted, inner_max_num_threads=1):
        yield options


def _late_or_done(jobs: Sequence[Job], store: Store) -> Iterator[dict[str, Any]]:
    """Answers that never came: of tasks that were done, and of those that were late and took their worker along."""
    by_id = {job.id: job for job in jobs}
    for claim in store.claims_of(jobs[0].run, by_id):
        if claim.deadline is None or store.is_alive(claim):
            continue
        job = by_id[claim.id]
        if time.time() > claim.deadline + grace(job.timeout or 0.0):
            store.write(job.id, timed_out(job))
            store.release(claim)
        else:
            # It died in time. When it is begun again is another matter, and nothing to count against it.
            store.pardon(claim)
    for job in jobs:
        found = store.read(job.id)
        if found is not None and found.get("run") == job.run and found["key"] == job.key:
            yield {"id": job.id, "state": found["state"], "message": found.get("message", "")}


def _wait(queue: _Queue, store: Store) -> Iterator[dict[str, Any]]:
    """Wait for other processes to do what they have claimed; what they leave is to be done here."""
    while queue.elsewhere and not queue.waiting:
        for name, job in list(queue.elsewhere.items()):
            claim = store.claimed(name)
            if claim is not None and claim.run != job.run and store.is_alive(claim):
                continue
            del queue.elsewhere[name]
            found = store.read(name)
            if found is not None and found["key"] == job.key and found["state"] in FINISHED:
                yield {"id": name, "state": found["state"], "message": found.get("message", "")}
            else:
                queue.waiting[name] = job
        if queue.elsewhere and not queue.waiting:
            time.sleep(_LOOK)
