"""All results as one table, made anew from the records."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

import astropy.units as u
from astropy.table import QTable
from astropy.time import Time

from sunalign.archive._plan import Plan
from sunalign.correction import PARAMETERS, UNITS
from sunalign.exceptions import AlignmentError
from sunalign.files.output import atomic_write

__all__ = ["read_results", "results_table", "write_table"]

_QUALITY = ("peak_significance", "peak_ratio", "split_half", "movement", "overlap")
_WHOLE = ("options", "references", "version")  # As a plan names what changed, if it is no file.
_TEXTS = (
    "id",
    "state",
    "fit",
    "at_bound",
    "target",
    "references",
    "corrected",
    "thumbnail",
    "page",
    "error",
    "message",
)


def results_table(plans: Iterable[Plan], keywords: Sequence[str] = ()) -> QTable:
    """Table of all tasks, one row each, in the order of the manifest.

    Parameters
    ----------
    plans : iterable of ``Plan``
    keywords : sequence of `str`
        Cards of the targets to make columns of.
    """
    rows = [_row(plan, keywords) for plan in plans]
    columns: dict[str, Any] = {name: [row[name] for row in rows] for name in _columns(keywords)}
    units = {name: _unit(name) for name in columns} | {key: _common_unit(columns[key]) for key in keywords}
    columns |= {key: [value for value, _ in columns[key]] for key in keywords}
    table = QTable()
    for name in ("id", "state"):
        table[name] = columns.pop(name)
    dates = np.ma.masked_values(columns.pop("date"), np.nan) if rows else np.zeros(0)
    table["date"] = _times(np.asarray(dates, float))
    for name, values in columns.items():
        unit = units[name]
        if name in _TEXTS:
            table[name] = np.array(values, dtype=str)
        else:
            table[name] = np.array(values, float) if unit is None else np.array(values, float) * unit
    table.meta = {"description": "Results of an archive of alignments; shifts are added to the targets' coordinates."}
    return table


def _times(seconds: np.ndarray) -> Time:
    unknown = ~np.isfinite(seconds)
    times = Time(np.where(unknown, 0.0, seconds), format="unix")
    times.format = "isot"
    if unknown.any():
        times[unknown] = np.ma.masked
    return times


def _columns(keywords: Sequence[str]) -> list[str]:
    parameters = [f"{name}{ending}" for name in PARAMETERS for ending in ("", "_error")]
    middle = ["score", "initial_score", *_QUALITY, "distance", *keywords, "seconds"]
    return [*_TEXTS[:2], "date", *parameters, *middle, *_TEXTS[2:]]


def _unit(name: str) -> u.UnitBase | None:
    parameter = name.removesuffix("_error")
    if parameter in UNITS:
        return None if UNITS[parameter] == u.dimensionless_unscaled else UNITS[parameter]
    return {"distance": u.AU, "seconds": u.s}.get(name)


def _common_unit(values: Sequence[tuple[float, str]]) -> u.UnitBase | None:
    """Unit of a card, if all that have the card agree on it."""
    units = {unit for value, unit in values if np.isfinite(value)}
    return u.Unit(units.pop()) if len(units) == 1 and units != {""} else None


def _row(plan: Plan, keywords: Sequence[str]) -> dict[str, Any]:
    document: Mapping[str, Any] = plan.document
    record = document.get("task") or {}
    correction, extra = document.get("correction") or {}, document.get("extra") or {}
    quality, outputs = extra.get("quality") or {}, record.get("outputs") or {}
    date = record.get("date")
    errors = correction.get("errors") or {}
    row: dict[str, Any] = {
        "id": plan.job.id,
        "state": plan.state,
        "date": np.nan if date is None else _unix(date),
        "score": _number(extra.get("score")),
        "initial_score": _number(extra.get("initial_score")),
        "distance": _number(record.get("distance")),
        "seconds": _number(record.get("seconds")),
        "fit": ",".join(extra.get("fit") or ()),
        "at_bound": ",".join(quality.get("at_bound") or ()),
        "target": plan.job.target,
        "references": ";".join(plan.job.references),
        "error": record.get("error", ""),
        "message": record.get("message", "") or _why_waiting(plan),
    }
    row |= {name: _number(correction.get(name)) for name in PARAMETERS}
    row |= {f"{name}_error": _number(errors.get(name)) for name in PARAMETERS}
    row |= {name: _number(quality.get(name)) for name in _QUALITY}
    row |= {key: ((record.get("keywords") or {}).get(key) or (np.nan, "")) for key in keywords}
    row |= {kind: outputs.get(kind, "") for kind in ("corrected", "thumbnail", "page")}
    return row


def _why_waiting(plan: Plan) -> str:
    if plan.state != "waiting" or not plan.reason.startswith("changed: "):
        return ""
    what = plan.reason.removeprefix("changed: ")
    return f"What there is of it was done with another state of its {what if what in _WHOLE else f'file {what}'}."


def _unix(date: str) -> float:
    # A record has an ISO date of UTC. Time is a hundred times slower than NumPy, and there are ten thousand records.
    return float(np.datetime64(date, "us").astype("int64")) / 1e6


def _number(value: Any) -> float:
    return np.nan if value is None else float(value)


def write_table(table: QTable, path: Path) -> None:
    """Write a table as ECSV; it is whole or not there.

    Parameters
    ----------
    table : `~astropy.table.QTable`
    path : `~pathlib.Path`
    """
    with atomic_write(path, overwrite=True) as temporary:
        table.write(temporary, format="ascii.ecsv", overwrite=True)


def read_results(out: str | os.PathLike[str]) -> QTable:
    """Read the results of an archive.

    Parameters
    ----------
    out : path
        Directory that was given to `align_archive`.

    Returns
    -------
    `~astropy.table.QTable`
        As `align_archive` returns it.
    """
    path = Path(out) / "results.ecsv"
    if not path.is_file():
        raise AlignmentError(f"There is no file {path}; it is written by align_archive() or 'sunalign archive'.")
    return QTable.read(path, format="ascii.ecsv")
