"""What a task is made of, as a key: the same inputs, options and version have the same key."""

from __future__ import annotations

import functools
import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

import astropy.units as u

import sunalign
from sunalign.archive._options import align_arguments

__all__ = ["INPUTS", "stamp", "stamps", "task_key"]

#: How changed inputs are noticed.
INPUTS = ("mtime", "checksum")

#: Of what a task does and writes; another number makes every task new.
_LAYOUT = 1


def stamp(path: str, how: str = "mtime", known: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """State of an input file.

    Parameters
    ----------
    path : `str`
    how : {"mtime", "checksum"}
        By size and time of change; or by the headers with their DATASUM cards, for files that are copied about.
        Where there is no DATASUM, size and time decide all the same.
    known : mapping, optional
        An earlier stamp of the file, which need not be made anew where size and time are the same.
    """
    name = _name(path)
    try:
        status = os.stat(path)  # noqa: PTH116  (a Path takes longer to make than the file to be asked)
    except OSError:
        return {"file": name, "size": None}
    found: dict[str, Any] = {"file": name, "size": status.st_size, "mtime": status.st_mtime_ns}
    if how == "checksum":
        same = known is not None and all(known.get(key) == found[key] for key in found) and "sum" in known
        found["sum"] = known["sum"] if same and known is not None else _sum(Path(path))
    return found


def _name(path: str) -> str:
    return os.path.basename(path)  # noqa: PTH119


def _sum(path: Path) -> str | None:
    """Hash of all headers, which hold the DATASUM of all data; `None` where one has none."""
    from sunalign.files.fits_blocks import opened, scan

    try:
        with opened(path) as stream:
            found = scan(stream, path)
    except (OSError, ValueError, EOFError):
        return None
    if any(hdu.size and "DATASUM" not in hdu.header for hdu in found):
        return None
    return hashlib.sha256(b"".join(hdu.header_bytes() for hdu in found)).hexdigest()


def stamps(
    paths: Sequence[str], how: str, known: Sequence[Mapping[str, Any]] = (), cache: dict[str, Any] | None = None
) -> list[dict[str, Any]]:
    """Stamps of several files.

    Parameters
    ----------
    paths : sequence of `str`
    how : `str`
        ``"mtime"`` or ``"checksum"``.
    known : sequence of mapping
        Stamps of an earlier run, for files that have not changed since.
    cache : `dict`, optional
        Spares what many tasks share.
    """
    by_name = {item.get("file"): item for item in known}
    made = []
    for path in paths:
        if cache is None or path not in cache:
            found = stamp(path, how, by_name.get(_name(path)))
            if cache is not None:
                cache[path] = found
        made.append(found if cache is None else cache[path])
    return made


def task_key(inputs: Sequence[Mapping[str, Any]], options: Mapping[str, Any]) -> str:
    """Key of a task.

    Parameters
    ----------
    inputs : sequence of mapping
        Stamps of target and references. Names count, directories do not: an archive may move.
    options : mapping
        Plain values.
    """
    made_of = {
        "inputs": [_identity(item) for item in inputs],
        "options": _canonical(json.dumps(dict(options), sort_keys=True)),
        "version": sunalign.__version__,
        "layout": _LAYOUT,
    }
    return hashlib.sha256(json.dumps(made_of, sort_keys=True).encode()).hexdigest()[:32]


@functools.lru_cache(maxsize=4096)
def _canonical(options: str) -> dict[str, str]:
    """Options as what they mean: ``60arcsec`` and ``1 arcmin`` are the same."""
    return {
        name: _meaning(value)
        for name, value in {**json.loads(options), **align_arguments(json.loads(options))}.items()
        # What a file says is in its stamp.
        if not (name == "start" and isinstance(value, str))
    }


def _meaning(value: Any) -> str:
    if isinstance(value, u.Quantity):
        # To a billionth: the same angle in two units differs in its last digits.
        return f"{np.array2string(np.asarray(value.si.value), formatter={'float': '{:.9e}'.format})} {value.si.unit}"
    if isinstance(value, Mapping):
        return str({name: _meaning(item) for name, item in sorted(value.items())})
    if isinstance(value, (list, tuple)):
        return str([_meaning(item) for item in value])
    return repr(value)


def _identity(item: Mapping[str, Any]) -> list[Any]:
    if item.get("sum"):
        return [item["file"], item["size"], item["sum"]]
    return [item["file"], item["size"], item.get("mtime")]
