"""An archive, top to bottom: manifest, plan, tasks, table, page."""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

from astropy.table import QTable, Table

from sunalign._progress import tracked
from sunalign.archive._engine import answers
from sunalign.archive._keys import INPUTS
from sunalign.archive._manifest import Manifest, Task, read_manifest
from sunalign.archive._outputs import KEYWORDS
from sunalign.archive._plan import Plan, Settings, chosen_shard, plan_tasks, retried
from sunalign.archive._store import Store
from sunalign.archive._table import results_table, write_table
from sunalign.archive._task import Job, interrupted
from sunalign.archive._trend import fit_trend
from sunalign.exceptions import AlignmentError, ArchiveError

__all__ = ["align_archive", "make_report", "planned", "selected"]


def align_archive(
    manifest: str | os.PathLike[str] | Table | Manifest,
    out: str | os.PathLike[str],
    *,
    presets: str | os.PathLike[str] | Mapping[str, Mapping[str, Any]] | None = None,
    n_jobs: int | None = None,
    retry: str | Collection[str] = (),
    shard: tuple[int, int] | str | None = None,
    task: str | Sequence[str] | None = None,
    timeout: float | None = None,
    inputs: str = "mtime",
    corrected: bool = True,
    thumbnails: bool = True,
    pages: bool = True,
    keywords: Sequence[str] = KEYWORDS,
    report: bool = True,
    progress: bool | Callable[..., Any] | None = None,
) -> QTable:
    """Do the tasks of a manifest that are not done yet, and collect what came of all of them.

    A task is done again if a file, an option or the version of sunalign changed. A task that fails does not keep the
    others from being done. Whatever ends the run, what was done stays done, and the next run goes on from there; two
    runs may work on one directory at once.

    Parameters
    ----------
    manifest : path, `~astropy.table.Table` or `~sunalign.archive.Manifest`
        What is aligned with what; see `~sunalign.archive.read_manifest`.
    out : path
        Directory of all output; made if it does not exist.
    presets : path or mapping, optional
        See `~sunalign.archive.read_manifest`.
    n_jobs : `int`, optional
        Tasks at a time, each in a process of its own; -1 for one a core. By default one, or what
        `joblib.parallel_config` says: under ``parallel_config("dask")`` all workers of the cluster.
    retry : `str` or collection of `str`
        States whose tasks are done again although nothing changed: ``"failed,doubtful"``.
    shard : `str` or `tuple` of `int`, optional
        Only every n-th task from the i-th, as ``"3/64"``, for job arrays.
    task : `str` or sequence of `str`, optional
        Only tasks with these ids.
    timeout : `float`, optional
        Seconds that a task may take; after that it has failed, and its worker is ended if need be.
    inputs : {"mtime", "checksum"}
        How changed files are noticed: by size and time of change, or by headers and DATASUM.
    corrected : `bool`
        Whether a corrected copy is written of the targets that are done. A doubtful answer gets none.
    thumbnails, pages : `bool`
        Whether every task gets a small picture and a page.
    keywords : sequence of `str`
        Cards of the targets' headers that go into the table, such as temperatures.
    report : `bool`
        Whether the table, the trend and the page of the archive are written at the end.
    progress : `bool` or callable, optional
        True for a bar on the terminal, or something like `tqdm.tqdm`.

    Returns
    -------
    `~astropy.table.QTable`
        One row a task of the whole manifest, as in ``results.ecsv``: state, date, parameters with their 1-sigma errors,
        signs of quality, and files. States are ``done``, ``doubtful``, ``no-reference``, ``failed`` and
        ``interrupted``; of tasks that were not begun, ``waiting``, and ``running`` where another process does one.

    Raises
    ------
    ~sunalign.exceptions.ManifestError
        The manifest or the presets have faults; nothing was run.
    ~sunalign.exceptions.ArchiveError
        The output can no longer be written, as on a full disk, or the workers died again and again.
    """
    read = manifest if isinstance(manifest, Manifest) else read_manifest(manifest, presets)
    settings = Settings(
        _checked_inputs(inputs), _checked_timeout(timeout), corrected, thumbnails, pages, tuple(keywords)
    )
    again, tasks = retried(retry), selected(read, shard, task)
    store = Store(out)
    with _writable(store):
        store.prepare()
    run = secrets.token_hex(6)
    jobs = [plan.job for plan in plan_tasks(tasks, store, settings, again, run) if plan.reason]
    # Tasks with one reference beside each other, so that a worker has it in memory.
    jobs.sort(key=lambda job: job.references[:1])
    try:
        _do(jobs, store, n_jobs, progress)
    except BaseException:
        _let_go(jobs, store, run)
        if report:
            # On a full disk the report that was there before stays.
            with contextlib.suppress(OSError):
                make_report(read, store, settings)
        raise
    if report:
        return make_report(read, store, settings)
    return results_table(plan_tasks(read, store, settings), settings.keywords)


def _do(jobs: Sequence[Job], store: Store, n_jobs: int | None, progress: Any) -> None:
    if not jobs:
        return
    ended = 0
    found = answers(jobs, store, n_jobs)
    try:
        for answer in tracked(_Sized(found, len(jobs)), progress, "tasks"):
            if answer["state"] == "full":
                raise ArchiveError(
                    f"The output {store.out} cannot be written: {answer['message']}. {ended} tasks were ended, "
                    f"{len(jobs) - ended} are left; make room, and run it again to go on."
                )
            ended += 1
    finally:
        found.close()  # which ends the workers, if they are not done


class _Sized:
    """An iteration of known length, for the bar."""

    def __init__(self, items: Iterator[dict[str, Any]], size: int) -> None:
        self._items, self._size = items, size

    def __len__(self) -> int:
        return self._size

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return self._items


def _let_go(jobs: Sequence[Job], store: Store, run: str) -> None:
    """Name the tasks as interrupted that were under way when the run ended."""
    by_id = {job.id: job for job in jobs}
    with contextlib.suppress(OSError):
        for claim in store.claims_of(run, by_id):
            interrupted(store, by_id[claim.id])
            store.release(claim)


# What a run is about.


def selected(
    manifest: Manifest, shard: tuple[int, int] | str | None = None, task: str | Sequence[str] | None = None
) -> list[Task]:
    """Tasks of a shard, or those with some ids.

    Parameters
    ----------
    manifest : `Manifest`
    shard : `tuple` of `int` or `str`, optional
        As in ``chosen_shard``.
    task : `str` or sequence of `str`, optional
        Ids.
    """
    tasks = chosen_shard(manifest.tasks, shard)
    if task is None:
        return tasks
    wanted = dict.fromkeys([task] if isinstance(task, str) else task)
    unknown = [name for name in wanted if name not in {t.id for t in manifest}]
    if unknown:
        raise ValueError(f"{manifest.path} has no task '{unknown[0]}'; its ids are in the column 'id'.")
    return [t for t in tasks if t.id in wanted]


def planned(
    out: str | os.PathLike[str], settings: Settings, retry: Collection[str], tasks: Iterable[Task]
) -> Iterator[Plan]:
    """What a run would do; nothing is done."""
    return plan_tasks(tasks, Store(out), settings, retry)


def make_report(manifest: Manifest, store: Store, settings: Settings) -> QTable:
    """Write the table, the trend and the page of an archive from its records."""
    from sunalign.archive._page import write_page

    while True:
        # Another run may have written more records meanwhile, and its table before ours.
        before = store.version()
        table = results_table(plan_tasks(manifest, store, settings), settings.keywords)
        write_table(table, store.out / "results.ecsv")
        trend = None
        with contextlib.suppress(AlignmentError):
            trend = fit_trend(table)
            write_table(trend, store.out / "trend.ecsv")
        write_page(table, store.out / "index.html", settings.keywords)
        if store.version() == before:
            return table


def _checked_inputs(inputs: str) -> str:
    if inputs not in INPUTS:
        raise ValueError(f"'inputs' is 'mtime' or 'checksum'; got {inputs!r}.")
    return inputs


def _checked_timeout(timeout: float | None) -> float | None:
    if timeout is None:
        return None
    if isinstance(timeout, bool) or not isinstance(timeout, (int, float)) or not timeout > 0:
        raise ValueError(f"'timeout' is a number of seconds above 0, or None for no limit; got {timeout!r}.")
    return float(timeout)


@contextlib.contextmanager
def _writable(store: Store) -> Iterator[None]:
    try:
        yield
    except (FileExistsError, NotADirectoryError) as error:
        raise AlignmentError(f"{store.out} is, or is below, a file; give a directory for the output.") from error
    except OSError as error:
        raise AlignmentError(f"The output {store.out} cannot be written: {error.strerror}.") from error
