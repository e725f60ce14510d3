"""What has to be done: tasks without a record of their key, those asked for again, and those whose files are gone."""

from __future__ import annotations

import secrets
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sunalign.archive._keys import stamps, task_key
from sunalign.archive._manifest import Task
from sunalign.archive._match import References, span_of
from sunalign.archive._store import STATES, Store
from sunalign.archive._task import Job
from sunalign.exceptions import AlignmentError, CoverageError

__all__ = ["Plan", "Settings", "chosen_shard", "plan_tasks", "retried"]


@dataclass(frozen=True)
class Settings:
    """What is the same for all tasks of a run.

    Parameters
    ----------
    inputs : {"mtime", "checksum"}
        How changed inputs are noticed.
    timeout : `float` or `None`
        Seconds for a task.
    corrected, thumbnails, pages : `bool`
        What is written besides the record.
    keywords : `tuple` of `str`
        Cards of the targets' headers to be kept.
    """

    inputs: str = "mtime"
    timeout: float | None = None
    corrected: bool = True
    thumbnails: bool = True
    pages: bool = True
    keywords: tuple[str, ...] = ()


@dataclass(frozen=True)
class Plan:
    """One task, and whether it has to be done.

    Parameters
    ----------
    job : `~sunalign.archive._task.Job`
    state : `str`
        That of its record, ``"interrupted"`` if it was begun and never ended, ``"running"`` if another process does it,
        ``"waiting"`` if nothing is known, or is known no longer since its inputs or options changed.
    reason : `str`
        Why it has to be done; empty if it has not.
    document : mapping
        Its record with the result beside it, if that is of the task as it is now; else empty.
    """

    job: Job
    state: str
    reason: str
    document: Mapping[str, Any]


def retried(retry: str | Collection[str]) -> frozenset[str]:
    """States to be done again, from words separated by commas or a collection of them.

    Parameters
    ----------
    retry : `str` or collection of `str`
    """
    words = retry.split(",") if isinstance(retry, str) else retry
    states = frozenset(word.strip() for word in words if word.strip())
    unknown = sorted(states - set(STATES))
    if unknown:
        raise ValueError(f"'retry' has the state '{unknown[0]}'; choose among {', '.join(STATES)}.")
    return states


def chosen_shard(tasks: Collection[Task], shard: tuple[int, int] | str | None) -> list[Task]:
    """Every n-th task, from the i-th.

    Parameters
    ----------
    tasks : collection of `Task`
    shard : `tuple` of `int`, `str` or `None`
        i and n, counted from 1: ``(3, 64)`` or ``"3/64"``; `None` for all.
    """
    if shard is None:
        return list(tasks)
    try:
        number, count = map(int, shard.split("/")) if isinstance(shard, str) else shard
        if not 1 <= number <= count:
            raise ValueError
    except (TypeError, ValueError):
        raise ValueError(f"'shard' is i/n with i from 1 to n, such as 3/64; got {shard!r}.") from None
    return list(tasks)[number - 1 :: count]


def plan_tasks(
    tasks: Iterable[Task], store: Store, settings: Settings, retry: Collection[str] = (), run: str = ""
) -> Iterator[Plan]:
    """Plan tasks one by one."""
    references, run = References(), run or secrets.token_hex(6)
    cache: dict[str, Any] = {}
    held, there = store.claims(), store.outputs()
    for task in tasks:
        document = store.document(task.id) or {}
        record = document.get("task") or {}
        job = _job(task, store, settings, record, references, cache, run)
        claim = store.claimed(task.id) if task.id in held else None
        same = record.get("key") == job.key
        state = record["state"] if same else "waiting"
        if claim is not None and state not in retry:
            state = "running" if store.is_alive(claim) else "interrupted"
        reason = _reason(job, there, settings, record, state, retry)
        yield Plan(job, state, reason, document if same else {})


def _job(
    task: Task,
    store: Store,
    settings: Settings,
    record: dict[str, Any],
    references: References,
    cache: dict[str, Any],
    run: str,
) -> Job:
    known = record.get("inputs") or []
    (target,) = stamps([task.target], settings.inputs, known)
    found, missing, span = task.references, "", None
    if task.directory is not None:
        found, missing, span = _found(task, references, record, target)
    stamped = stamps(found, settings.inputs, known, cache)
    gone = [path for path, item in zip(found, stamped, strict=True) if item["size"] is None]
    if gone and target["size"] is not None:
        missing = f"There is no file {gone[0]}" + (f", nor {len(gone) - 1} more." if len(gone) > 1 else ".")
    start = task.options.get("start")
    if isinstance(start, str) and "=" not in start:
        stamped += stamps([start], settings.inputs, known, cache)
    inputs = (target, *stamped)
    return Job(
        id=task.id,
        target=task.target,
        references=tuple(found),
        missing=missing,
        options=task.options,
        out=str(store.out),
        run=run,
        key=task_key(inputs, dict(task.options)),
        inputs=inputs,
        seen=str(record.get("written", "")),
        span=span,
        timeout=settings.timeout,
        corrected=settings.corrected,
        thumbnails=settings.thumbnails,
        pages=settings.pages,
        keywords=settings.keywords,
    )


def _found(
    task: Task, references: References, record: dict[str, Any], target: dict[str, Any]
) -> tuple[tuple[str, ...], str, tuple[float, float] | None]:
    """References by time, why there is none, and the target's span."""
    from sunalign._command_line import read_duration

    assert task.directory is not None
    span = record.get("span") if [target] == (record.get("inputs") or [])[:1] else None
    try:
        span = span_of(task.target) if span is None else tuple(span)
    except (AlignmentError, OSError):
        return (), "", None  # Nothing can be sought for it; the task will say what is wrong with it.
    # A builder that takes one image gets the one nearest in time.
    nearest = True if task.options.get("reference_builder") == "image" else None
    gap = None if task.max_gap is None else read_duration(task.max_gap)
    try:
        paths = references.find(task.directory, task.detector, span, nearest, gap, Path(task.target))
    except CoverageError as error:
        return (), str(error), span
    return tuple(map(str, paths)), "", span


def _reason(
    job: Job, there: frozenset[str], settings: Settings, record: dict[str, Any], state: str, retry: Collection[str]
) -> str:
    if not record and state == "waiting":
        return "new"
    if state in ("interrupted", "running"):
        held = record.get("held") and record.get("key") == job.key
        return "" if held and "interrupted" not in retry else "interrupted" if state == "interrupted" else "running"
    if record.get("key") != job.key:
        return _change(job, record)
    if state in retry:
        return f"retry {state}"
    out = Path(job.out)
    wanted = {
        "corrected": settings.corrected and state == "done",
        "thumbnail": settings.thumbnails,
        "page": settings.pages,
    }
    if state in ("done", "doubtful"):
        outputs = record.get("outputs") or {}
        gone = [kind for kind, asked in wanted.items() if asked and outputs.get(kind) not in there]
        if gone:
            return f"{gone[0]} is missing"
        sizes = record.get("sizes") or {}
        damaged = [kind for kind, asked in wanted.items() if asked and _damaged(out, outputs[kind], sizes.get(kind))]
        if damaged:
            return f"{damaged[0]} is damaged"
    return ""


def _damaged(out: Path, output: str, size: int | None) -> bool:
    """Whether a file is not as long as it was written; records of earlier versions do not say how long that was."""
    try:
        return size is not None and (out / output).stat().st_size != size
    except OSError:
        return True


def _change(job: Job, record: dict[str, Any]) -> str:
    """What is no longer as it was."""
    old = {item["file"]: item for item in record.get("inputs") or []}
    changed = [item["file"] for item in job.inputs if old.get(item["file"]) != dict(item)]
    if changed or len(old) != len({item["file"] for item in job.inputs}):
        return f"changed: {changed[0]}" if changed else "changed: references"
    return "changed: options" if record.get("options") != dict(job.options) else "changed: version"
