"""State of an archive in files: a record a task, and claims of the tasks that are being done.

A record is one JSON that is whole or not there. A claim says which process does a task: it is made by whoever comes
first, beats while its owner lives, and goes when the record is written. One that is left behind tells of a task
that was interrupted.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import socket
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sunalign.files.io import plain_values_of
from sunalign.files.output import atomic_write

__all__ = ["FINISHED", "STATES", "Claim", "Store"]

#: From good to bad.
STATES = ("done", "doubtful", "no-reference", "failed", "interrupted")

#: States that stay until inputs or options change, or they are asked for by ``retry``.
FINISHED = ("done", "doubtful", "no-reference", "failed")

#: Seconds between two beats of a claim, and after which one of another machine is taken for dead.
BEAT = 20.0
_SILENCE = 300.0

_FOLDERS = {"record": "tasks", "claim": "claims", "corrected": "corrected", "thumbnail": "thumbnails", "page": "pages"}


@dataclass(frozen=True)
class Claim:
    """Who does a task.

    Parameters
    ----------
    id : `str`
        Of the task.
    run : `str`
        Of the call of `sunalign.align_archive`.
    token : `str`
        Of this one claim.
    host, pid, born
        Process, and what tells it from a later one of the same number.
    attempt : `int`
        How often the task was begun in this run.
    deadline : `float` or `None`
        Unix time by which it should have ended.
    """

    id: str
    run: str
    token: str
    host: str
    pid: int
    born: str
    attempt: int = 1
    deadline: float | None = None

    @property
    def lives(self) -> bool | None:
        """Whether its process is there; `None` where that cannot be told from here."""
        if self.host != socket.gethostname() or os.name == "nt":
            return None
        return bool(self.born) and _born(self.pid) == self.born


class Store:
    """Files of an archive.

    Parameters
    ----------
    out : path
        Directory of all output.
    """

    def __init__(self, out: str | os.PathLike[str]) -> None:
        self.out = Path(out)
        self._folders = {kind: self.out / name for kind, name in _FOLDERS.items()}

    def folder(self, kind: str) -> Path:
        """Directory of the files of one kind."""
        return self._folders[kind]

    @property
    def folders(self) -> tuple[Path, ...]:
        """Directories of the files of tasks."""
        return tuple(self._folders.values())

    def prepare(self) -> None:
        """Make the directories."""
        for folder in self.folders:
            folder.mkdir(parents=True, exist_ok=True)

    def path(self, kind: str, task: str, suffix: str) -> Path:
        """Where a task's file of some kind goes.

        Parameters
        ----------
        kind : `str`
            Such as ``"record"`` or ``"corrected"``.
        task : `str`
            Id.
        suffix : `str`
            Ending of the name, with its point.
        """
        return self._folders[kind] / f"{task}{suffix}"

    def outputs(self) -> frozenset[str]:
        """All files that belong to tasks besides their records, as seen from the directory of the output."""
        kinds = ("corrected", "thumbnail", "page")
        return frozenset(f"{_FOLDERS[kind]}/{name}" for kind in kinds for name in _names(self._folders[kind]))

    # Records.

    def read(self, task: str) -> dict[str, Any] | None:
        """Record of a task; `None` where there is none that can be read.

        Parameters
        ----------
        task : `str`
            Id.
        """
        document = self.document(task)
        return None if document is None else document["task"]

    def document(self, task: str) -> dict[str, Any] | None:
        """Record with the correction and the result beside it.

        Parameters
        ----------
        task : `str`
            Id.
        """
        try:
            document = json.loads(self.path("record", task, ".json").read_bytes())
        except (OSError, ValueError):
            return None
        return document if _is_whole(document) else None

    def write(self, task: str, record: Mapping[str, Any], result: Any = None) -> None:
        """Write a record; with a result it is also a correction that `sunalign.files.io.load_correction` reads.

        Parameters
        ----------
        task : `str`
            Id.
        record : mapping
            Plain values.
        result : `~sunalign.AlignmentResult`, optional
            Where there is one.
        """
        document: dict[str, Any] = {"format": "sunalign archive task", "version": 1}
        if result is not None:
            document = {
                "format": "sunalign correction",
                "version": 1,
                "correction": result.correction.to_dict(),
                "extra": {key: value for key, value in result.to_dict().items() if key != "correction"},
            }
        document["task"] = {**record, "written": secrets.token_hex(8)}
        text = json.dumps(plain_values_of(document), allow_nan=False)
        with atomic_write(self.path("record", task, ".json"), overwrite=True) as temporary:
            temporary.write_text(text + "\n", encoding="utf-8")

    def records(self) -> set[str]:
        """Tasks that have a record, whether or not the manifest still has them."""
        names = _names(self._folders["record"])
        return {name.removesuffix(".json") for name in names if name.endswith(".json") and not name.startswith(".")}

    def version(self) -> tuple[int, int]:
        """Something that changes with every record: their number and the newest."""
        newest = count = 0
        with os.scandir(self._folders["record"]) as entries:
            for entry in entries:
                if entry.name.endswith(".json") and not entry.name.startswith("."):
                    with contextlib.suppress(OSError):
                        count, newest = count + 1, max(newest, entry.stat().st_mtime_ns)
        return count, newest

    # Claims.

    def claim(self, task: str, run: str, deadline: float | None = None) -> Claim | None:
        """Take a task; `None` where another process has it.

        Parameters
        ----------
        task : `str`
            Id.
        run : `str`
            That it is taken for.
        deadline : `float`, optional
            Seconds of Unix after which its process may be ended.
        """
        path = self.path("claim", task, "")
        attempt = 1
        for _ in range(3):
            mine = Claim(
                task,
                run,
                secrets.token_hex(8),
                socket.gethostname(),
                os.getpid(),
                _born(os.getpid()),
                attempt,
                deadline,
            )
            if _create(path, json.dumps(mine.__dict__)):
                return mine
            other = self.claimed(task)
            if other is None and not path.exists():
                continue
            if other is not None and other.run != run and self.is_alive(other):
                return None
            if other is None and _age(path) < 5:
                return None  # It is being written this moment.
            attempt = 1 if other is None or other.run != run else other.attempt + 1
            _take_away(path)
        return None

    def claimed(self, task: str) -> Claim | None:
        """Claim of a task, if there is one.

        Parameters
        ----------
        task : `str`
            Id.
        """
        try:
            return Claim(**json.loads(self.path("claim", task, "").read_bytes()))
        except (OSError, ValueError, TypeError):
            return None

    def is_alive(self, claim: Claim) -> bool:
        """Whether somebody works at a task."""
        if claim.lives is not None:
            return claim.lives
        return _age(self.path("claim", claim.id, "")) < _SILENCE

    def holds(self, claim: Claim) -> bool:
        """Whether a claim is still the one that counts."""
        found = self.claimed(claim.id)
        return found is not None and found.token == claim.token

    def pardon(self, claim: Claim) -> None:
        """Take the deadline off the claim of a process that died; how often the task was begun stays counted."""
        with contextlib.suppress(OSError), atomic_write(self.path("claim", claim.id, ""), overwrite=True) as temporary:
            temporary.write_text(json.dumps(claim.__dict__ | {"deadline": None}), encoding="utf-8")

    def beat(self, claim: Claim) -> None:
        """Show that the owner lives."""
        with contextlib.suppress(OSError):
            os.utime(self.path("claim", claim.id, ""))

    def release(self, claim: Claim) -> None:
        """Give a task back."""
        if self.holds(claim):
            self.path("claim", claim.id, "").unlink(missing_ok=True)

    def claims(self) -> set[str]:
        """Tasks that have a claim."""
        return {name for name in _names(self._folders["claim"]) if not name.startswith(".")}

    def is_at_work(self) -> bool:
        """Whether anybody does a task."""
        found = (self.claimed(task) for task in self.claims())
        return any(claim is not None and self.is_alive(claim) for claim in found)

    def claims_of(self, run: str, tasks: Iterable[str]) -> list[Claim]:
        """Claims that a run has among tasks.

        Parameters
        ----------
        run : `str`
        tasks : iterable of `str`
            Ids.
        """
        held = self.claims()
        found = (self.claimed(task) for task in tasks if task in held)
        return [claim for claim in found if claim is not None and claim.run == run]


def _is_whole(document: Any) -> bool:
    """Whether a document is a record as `Store.write` writes it: files can be edited, and be of a later version."""
    if not isinstance(document, dict) or not isinstance(document.get("task"), dict):
        return False
    record = document["task"]
    mappings = [document.get("correction"), document.get("extra"), record.get("outputs"), record.get("sizes")]
    return (
        isinstance(record.get("key"), str)
        and record.get("state") in STATES
        and isinstance(record.get("inputs", []), list)
        and all(item is None or isinstance(item, dict) for item in mappings)
    )


def _names(folder: Path) -> list[str]:
    try:
        return os.listdir(folder)  # noqa: PTH208  (names are all that is wanted of ten thousand files)
    except OSError:
        return []


def _create(path: Path, text: str) -> bool:
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
    except FileExistsError:
        return False
    try:
        with os.fdopen(descriptor, "w") as file:
            file.write(text)
    except OSError:
        path.unlink(missing_ok=True)
        raise
    return True


def _take_away(path: Path) -> None:
    # Of two that find a dead claim, only one can rename it.
    aside = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    with contextlib.suppress(FileNotFoundError):
        path.rename(aside)
        aside.unlink()


def _age(path: Path) -> float:
    """Seconds since the last beat, by the clock of the file system, which other machines share.

    A beat that is ahead of the clock is from before it was set back, and as long ago as it seems to be to come.
    """
    probe = path.with_name(f".now.{secrets.token_hex(4)}")
    try:
        probe.touch()
        return abs(probe.stat().st_mtime - path.stat().st_mtime)
    except OSError:
        return float("inf") if not path.exists() else abs(time.time() - path.stat().st_mtime)
    finally:
        probe.unlink(missing_ok=True)


def _born(pid: int) -> str:
    """When a process began, as the kernel counts it; its number alone where there is no /proc, '' where it is gone."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return str(pid) if not Path("/proc/self/stat").exists() and _exists(pid) else ""
    # A zombie works at nothing.
    return "" if fields[0] in "ZX" else fields[19]


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True
