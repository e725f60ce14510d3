"""One task: paths in, files out. It runs in a worker, takes a string and returns one."""

from __future__ import annotations

import errno
import functools
import json
import socket
import time
import traceback
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from astropy.time import Time

from sunalign.archive._limits import TaskTimeout, in_worker, watched
from sunalign.archive._options import OUTPUT_OPTIONS, align_arguments
from sunalign.archive._store import FINISHED, Claim, Store
from sunalign.exceptions import SunalignUserWarning

if TYPE_CHECKING:
    from sunalign.result import AlignmentResult

__all__ = ["Job", "interrupted", "killer", "run_task", "timed_out"]

#: Times that a task is begun in one run, by a scheduler that begins it again, before it is held to kill the workers.
_ATTEMPTS = 2

#: What a disk says when it takes no more.
_NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM)


@dataclass(frozen=True)
class Job:
    """All that a worker needs for a task, in plain values.

    Parameters
    ----------
    id, target : `str`
    references : `tuple` of `str`
    missing : `str`
        Why there is no reference; empty where there is one.
    options : mapping
        Plain values.
    out, run, key : `str`
        Directory of the output, the call of `sunalign.align_archive`, and the key of the task.
    inputs : `tuple`
        Stamps of target and references, which go into the record.
    seen : `str`
        Which record there was when the run began.
    span : `tuple` of `float` or `None`
        First and last Unix time of the target, if they were looked up.
    timeout : `float` or `None`
        Seconds.
    corrected, thumbnails, pages : `bool`
        What is to be written.
    keywords : `tuple` of `str`
        Cards of the target's header to be kept.
    """

    id: str
    target: str
    references: tuple[str, ...]
    missing: str
    options: Mapping[str, Any]
    out: str
    run: str
    key: str
    inputs: tuple[Mapping[str, Any], ...]
    seen: str = ""
    span: tuple[float, float] | None = None
    timeout: float | None = None
    corrected: bool = True
    thumbnails: bool = True
    pages: bool = True
    keywords: tuple[str, ...] = ()

    def text(self) -> str:
        """As a string, to travel."""
        return json.dumps(self.__dict__)


class _Full(Exception):
    """The output cannot be written, whatever the task is."""


def run_task(text: str) -> str:
    """Do a task.

    Parameters
    ----------
    text : `str`
        A `Job`.

    Returns
    -------
    `str`
        JSON with ``id``, ``state`` and ``message``. Besides those of records, ``state`` is ``"elsewhere"`` where
        another process does the task, and ``"full"`` where the output cannot be written.
    """
    # A timeout is about the task, and not about the first import in a new worker.
    import sunalign.alignment.align
    import sunalign.archive._outputs  # noqa: F401

    job = Job(**json.loads(text))
    store = Store(job.out)
    if not store.folder("claim").is_dir():
        where = socket.gethostname()
        return _answer(job, "full", f"it is not there for the worker on {where}, which has to see the same directory")
    try:
        with _no_space_is_full():
            deadline = None if job.timeout is None else time.time() + job.timeout
            claim = store.claim(job.id, job.run, deadline)
            if claim is None:
                return _answer(job, "elsewhere", "")
            try:
                return _claimed(job, store, claim)
            except KeyboardInterrupt:
                interrupted(store, job)
                raise
            finally:
                store.release(claim)
    except _Full as error:
        return _answer(job, "full", str(error))


def interrupted(store: Store, job: Job) -> None:
    """Name a task as interrupted that was under way when its run ended."""
    message = "The run ended while it was being done."
    store.write(job.id, _begun(job) | {"state": "interrupted", "message": message})


def timed_out(job: Job) -> dict[str, Any]:
    """Record of a task whose process had to be ended."""
    message = f"It took longer than the timeout of {job.timeout:g} s, and its process was ended."
    return _begun(job) | {"state": "failed", "error": "TimeoutError", "message": message}


def killer(job: Job) -> dict[str, Any]:
    """Record of a task that kills its worker."""
    message = "Its worker died, twice; it is tried again with retry='interrupted'."
    return _begun(job) | {"state": "interrupted", "held": True, "message": message}


def _begun(job: Job) -> dict[str, Any]:
    """What is known of a task before it is done."""
    return {
        "id": job.id,
        "key": job.key,
        "run": job.run,
        "target": job.target,
        "references": list(job.references),
        "inputs": [dict(item) for item in job.inputs],
        "options": dict(job.options),
        "span": job.span,
        "outputs": {},
    }


def _answer(job: Job, state: str, message: str) -> str:
    return json.dumps({"id": job.id, "state": state, "message": message})


def _claimed(job: Job, store: Store, claim: Claim) -> str:
    old = store.read(job.id) or {}
    if old.get("written", "") != job.seen and old.get("key") == job.key and old.get("state") in FINISHED:
        # Another run, or a worker that died after it had written, was faster.
        return _answer(job, old["state"], old.get("message", ""))
    begun = time.time()
    record = _begun(job) | {"host": claim.host, "began": Time(begun, format="unix").isot}
    result = None

    def late() -> None:
        store.write(job.id, timed_out(job))
        store.release(claim)

    if claim.attempt > _ATTEMPTS:
        record |= killer(job)
    elif job.missing:
        record |= {"state": "no-reference", "message": job.missing}
    else:
        try:
            with watched(job.timeout, lambda: store.beat(claim), late):
                result = _perform(job, store, record)
        except TaskTimeout:
            message = f"It took longer than the timeout of {job.timeout:g} s."
            record |= {"state": "failed", "error": "TimeoutError", "message": message}
        except KeyboardInterrupt:
            if not in_worker():
                raise  # The run is over, and says so itself.
            record |= {"state": "interrupted", "message": "It was interrupted."}
        except _Full:
            raise
        except BaseException as error:  # noqa: BLE001  (one bad task never ends the run; SystemExit is a plugin's doing)
            record |= _failure(error)
    record["seconds"] = time.time() - begun
    if not store.holds(claim):
        # It took so long to beat that another process took over; the last word is its.
        return _answer(job, "elsewhere", "")
    if record["state"] == "failed" and old.get("key") == job.key:
        _keep_corrected(old, record)
    # In this order: were it killed in between, the old record would lack its files and the task be done again.
    _remove_stale(store, old.get("outputs") or {}, record["outputs"])
    store.write(job.id, record, result)
    return _answer(job, record["state"], record["message"])


def _failure(error: BaseException) -> dict[str, Any]:
    text = " ".join(str(error).split()) or type(error).__name__
    return {
        "state": "failed",
        "error": type(error).__name__,
        "message": text if len(text) <= 1000 else f"{text[:1000]}...",
        "traceback": traceback.format_exc(limit=-8)[-6000:],
    }


def _perform(job: Job, store: Store, record: dict[str, Any]) -> AlignmentResult:
    import sunalign
    from sunalign.archive._outputs import context_of, write_outputs

    with _recorded(record):
        result = sunalign.align(
            job.target, _references(job.references), on_doubt="ignore", n_jobs=1, **align_arguments(job.options)
        )
        record |= {
            "state": "done" if result.success else "doubtful",
            "message": result.message,
            **context_of(result.target, Path(job.target), job.keywords),
        }
        with _no_space_is_full():
            outputs = {name: job.options[name] for name in OUTPUT_OPTIONS if name in job.options}
            record["outputs"] = write_outputs(job, store, result, record, outputs)
            record["sizes"] = {kind: (store.out / path).stat().st_size for kind, path in record["outputs"].items()}
    return result


@contextmanager
def _recorded(record: dict[str, Any]) -> Iterator[None]:
    """Keep our own warnings; what the libraries say about odd headers would be said ten thousand times."""
    from sunpy import log

    level = log.level
    if in_worker():
        log.setLevel("WARNING")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            yield
        finally:
            record["warnings"] = [str(w.message) for w in caught if issubclass(w.category, SunalignUserWarning)]
            log.setLevel(level)


@contextmanager
def _no_space_is_full() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in _NO_SPACE:
            raise _Full(f"{error.strerror} ({error.filename})" if error.filename else str(error.strerror)) from error
        raise


def _keep_corrected(old: Mapping[str, Any], record: dict[str, Any]) -> None:
    """Leave the copy of a task that was done before, of the same file with the same options, and fails this time."""
    copy = (old.get("outputs") or {}).get("corrected")
    if copy is None:
        return
    record["outputs"] = {"corrected": copy}
    record["sizes"] = {kind: size for kind, size in (old.get("sizes") or {}).items() if kind == "corrected"}
    record["message"] += " The corrected copy of before is still there."


def _remove_stale(store: Store, old: Mapping[str, str], new: Mapping[str, str]) -> None:
    """Remove what an earlier state of the task left and this one does not have: a file that is doubtful now."""
    for path in set(old.values()) - set(new.values()):
        (store.out / path).unlink(missing_ok=True)


# References that many tasks share.


def _references(paths: tuple[str, ...]) -> Any:
    if len(paths) > 1:
        # A builder of many reads only the part of each that it needs.
        return list(paths)
    try:
        status = Path(paths[0]).stat()
    except OSError:
        return paths[0]  # What is wrong, and whether the target is there, is for the alignment to say.
    return _image(paths[0], status.st_size, status.st_mtime_ns)


@functools.lru_cache(maxsize=2)
def _image(path: str, size: int, changed: int) -> Any:
    """Image of a file; size and time make it anew."""
    from sunalign.images import to_image

    return to_image(path)
