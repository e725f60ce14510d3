"""What a run reads is kept apart from what it writes."""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import lru_cache

from sunalign.archive._manifest import Manifest, Row, Task, in_words
from sunalign.archive._store import Store
from sunalign.exceptions import ManifestError

__all__ = ["check_apart"]

#: Files of the output besides those of tasks.
_REPORT = ("index.html", "results.ecsv", "trend.ecsv")


def check_apart(manifest: Manifest, store: Store) -> None:
    """Refuse inputs that the run itself would write: it would change them, and they would never be as they were.

    Raises
    ------
    ~sunalign.exceptions.ManifestError
        The manifest, a target, a reference or a table to start from is a file of the output.
    """
    out = os.path.realpath(store.out)
    written = {os.path.join(out, name) for name in _REPORT}  # noqa: PTH118  (ten thousand of them)
    folders = {os.path.realpath(folder) for folder in store.folders}
    if os.path.realpath(manifest.path) in written:
        name = os.path.basename(manifest.path)  # noqa: PTH119
        raise ManifestError(manifest.path, [f"It is in {store.out}, where the run writes its own {name}; move it."])
    faults: dict[str, list[Row]] = {}
    for task in manifest:
        for what, path in _inputs(task):
            folder, name = os.path.split(path)
            place = _real(folder)
            if place in folders or (place == out and name in _REPORT):
                line = f"The {what} {path} is written by the run itself; choose another directory for the output."
                faults.setdefault(line, []).append(Row(task.row, task.id))
    if faults:
        raise ManifestError(manifest.path, [f"{in_words(rows)}: {line}" for line, rows in faults.items()])


def _inputs(task: Task) -> Iterator[tuple[str, str]]:
    yield "target", task.target
    for path in task.references:
        yield "reference", path
    start = task.options.get("start")
    if isinstance(start, str) and "=" not in start:
        yield "start", start


@lru_cache(maxsize=1024)
def _real(folder: str) -> str:
    return os.path.realpath(folder)
